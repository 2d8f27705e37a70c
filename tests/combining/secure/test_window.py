"""A sum of one message: equal to the plain one, whoever comes, and hidden from all but two helpers together with the coordinator."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.combining.secure.exchange import task
from tests.combining.secure.one_message import HELPING, LAYOUT, NAMES, Sum
from wardround.combining.secure import window
from wardround.combining.secure.masks import add
from wardround.combining.secure.window import HELPERS, Window, classes_of, commitments, passed_on
from wardround.combining.secure.wording import Broken


def changed(made: Sum, change: str) -> None:
    """Alter the keys of the helpers that are passed on."""
    first = dict(made.helpers[0])
    match change:
        case "left out":
            made.helpers = made.helpers[1:]
        case "another's name":
            made.helpers[0] = {**first, "site": "davos"}
        case "unsigned":
            made.helpers[0] = {**first, "channel": "11" * 32}
        case "no point":
            made.helpers[0] = {**first, "channel": "00" * 32}
        case "one twice":
            made.helpers[0] = made.helpers[1]
        case "another attempt":
            other = window.begin(task("aarau", attempt=1), HELPING, 3, made.keys["aarau"])[1]
            made.helpers[0] = json.loads(other)["helpers"][0]


def values(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"x": rng.integers(-(2**29), 2**29, 7, dtype=np.int32), "n": np.asarray(rng.integers(0, 2**40), dtype=np.int64)}


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(NAMES), min_size=3), st.tuples(*(st.booleans() for _ in range(HELPERS))))
def test_the_total_is_the_plain_one_whoever_comes_and_whichever_helper_reveals(there: set[str], other: tuple[bool, ...]) -> None:
    made = Sum()
    own = {site: values(len(site) + ord(site[0])) for site in there}
    hidden = [made.answer(site, own[site]) for site in sorted(there)]
    for helper in HELPING:
        made.agree(helper)
    for term in LAYOUT:
        total = hidden[0][term.name].copy()
        for one in hidden[1:]:
            total += one[term.name]
        for number in range(HELPERS):
            holders = [at for at in range(HELPERS) if number in classes_of(at)]
            total -= made.open(HELPING[holders[other[number]]], number)[term.name]
        plain = sum(int(own[site]["n"]) for site in there) if term.name == "n" else sum(own[site]["x"].astype(np.int64) for site in there)
        assert np.array_equal(total.view(f"int{term.bits}"), np.asarray(plain).astype(f"int{term.bits}"))


def test_what_travels_and_what_one_helper_holds_does_not_show_a_site() -> None:
    made = Sum()
    own = {site: values(number) for number, site in enumerate(NAMES)}
    hidden = {site: made.answer(site, own[site]) for site in NAMES}
    for helper in HELPING:
        made.agree(helper)
    assert not np.array_equal(hidden["davos"]["x"].view(np.int32), own["davos"]["x"])
    held = made.sessions["aarau"].held["davos"]
    assert sorted(held) == ["1", "2"]
    seen = hidden["davos"]["x"].copy()
    only = Window(made.sessions["aarau"].bond, "davos", HELPING, 3, "answer", seeds=tuple(held.values()))
    add([type(mask)(mask.key, -1) for mask in only.masks()], 0, seen)
    assert not np.array_equal(seen.view(np.int32), own["davos"]["x"])


def test_a_helper_agrees_to_one_total_and_to_none_of_too_few() -> None:
    made = Sum()
    for site in NAMES:
        made.answer(site, values(1))
    made.agree("basel")
    with pytest.raises(Broken, match="agree"):
        made.agree("basel")
    few = Sum(quorum=4)
    for site in NAMES[:3]:
        few.answer(site, values(1))
    with pytest.raises(Broken, match="agree"):
        few.agree("basel")


def test_a_helper_reveals_nothing_without_all_three_agreeing_to_its_own_total() -> None:
    made = Sum()
    for site in NAMES:
        made.answer(site, values(1))
    for helper in HELPING:
        made.agree(helper)
    less = Sum()
    less.sessions, less.helpers = dict(made.sessions), made.helpers
    good = dict(made.agreed)
    for signatures in ({}, {name: good[name] for name in HELPING[:2]}, {**good, "chur": good["basel"]}, {**good, "chur": "0" * 128}):
        with pytest.raises(Broken, match="open"):
            made.open("aarau", 1, signatures)
    with pytest.raises(Broken, match="open"):
        made.open("aarau", 0)
    with pytest.raises(Broken, match="not well formed"):
        made.open("aarau", True)
    made.open("aarau", 1)


def test_helpers_that_were_told_of_different_sets_open_neither() -> None:
    made = Sum()
    for site in NAMES:
        made.answer(site, values(1))
    for helper in HELPING[:2]:
        made.agree(helper)
    del made.parcels["davos"]
    made.agree("chur")
    for helper in HELPING:
        for number in classes_of(HELPING.index(helper)):
            with pytest.raises(Broken, match="did not agree"):
                made.open(helper, number)


@pytest.mark.parametrize("place", [0, 32, 64, 96, 128, 160, 224, 250])
def test_an_altered_parcel_is_found_by_the_helper(place: int) -> None:
    made = Sum()
    for site in NAMES:
        made.answer(site, values(1))
    parcel = bytearray(bytes.fromhex(passed_on(made.parcels["davos"], 0)))
    parcel[place] ^= 1
    with pytest.raises(Broken, match="davos"):
        made.agree("aarau", davos=bytes(parcel).hex())


CHANGES = ["left out", "another's name", "unsigned", "no point", "one twice", "another attempt"]


@pytest.mark.parametrize("change", [one for one in CHANGES if one != "no point"])
def test_a_helper_agrees_only_beside_the_three_helpers_of_the_protocol(change: str) -> None:
    made = Sum()
    for site in NAMES:
        made.answer(site, values(1))
    changed(made, change)
    with pytest.raises(Broken, match="agree"):
        made.agree("basel")


@pytest.mark.parametrize("change", CHANGES)
def test_a_site_seals_for_nobody_but_the_three_helpers_of_the_protocol(change: str) -> None:
    made = Sum()
    changed(made, change)
    with pytest.raises(Broken, match="answer"):
        made.answer("davos", values(1))


def test_who_is_no_helper_neither_begins_nor_agrees() -> None:
    with pytest.raises(Broken, match="no helper"):
        window.begin(task("davos"), HELPING, 3, Sum().keys["davos"])
    made = Sum()
    made.answer("davos", values(1))
    with pytest.raises(Broken, match="no helper"):
        window.agree(made.sessions["davos"], made.parcelled({}), made.keys["davos"])


def test_what_a_helper_knows_of_two_identities_for_one_name_is_refused() -> None:
    made = Sum()
    for site in NAMES:
        made.answer(site, values(1))
    parcels = {site: passed_on(one, 0) for site, one in made.parcels.items()}
    assert window.identities(made.parcelled(parcels)) == made.known
    with pytest.raises(Broken, match="helper basel has two identities"):
        window.identities(made.parcelled({**parcels, "basel": parcels["davos"]}))


def test_an_attempt_that_ended_keeps_no_secret() -> None:
    made = Sum()
    made.answer("aarau", values(1))
    ended = made.sessions["aarau"].ended()
    assert (ended.stage, ended.channel, ended.seeds, ended.parcel, ended.held, ended.listed) == ("over", "", (), "", {}, "")


def test_commitments_are_the_same_in_what_each_helper_is_told() -> None:
    made = Sum()
    made.answer("davos", values(1))
    parcel = made.parcels["davos"]
    assert len({commitments(passed_on(parcel, at)) for at in range(HELPERS)} | {commitments(parcel.hex())}) == 1
