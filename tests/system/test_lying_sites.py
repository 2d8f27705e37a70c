"""A site says something else than its gate let out, with its own key: it is left out or named, and the total is of what it should be of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.engines.losing import Change, Loss, Lying, digests, lose
from tests.support import Small, small
from tests.system.secure_studies import SECOND, SEVEN, TINY, agreed, named, patients, ran, shorts
from tests.system.test_bucketed_study import groups
from tests.system.test_bucketed_study import made as in_groups
from wardround.combining.fixedpoint import packed
from wardround.combining.secure import keys
from wardround.combining.secure.words import bond_of, read_adverts
from wardround.site import release
from wardround.study.arrays import Arrays, from_bytes, to_bytes
from wardround.study.canonical import canonical
from wardround.study.errors import QuorumNotMet
from wardround.study.layout import Layout
from wardround.study.task import Task

LIAR = "site1"


def edited(*path: str, value: Callable[[str], object]) -> Change:
    """Change one value in a message."""

    def change(body: bytes) -> bytes:
        found = json.loads(body)
        inner = found
        for name in path[:-1]:
            inner = inner[int(name)] if isinstance(inner, list) else inner[name]
        inner[path[-1]] = value(inner[path[-1]])
        return canonical(found)

    return change


def flipped(digits: str) -> str:
    """Return hex digits of which one was changed."""
    return f"{digits[:-1]}{int(digits[-1], 16) ^ 1:x}"


def left_out(body: bytes) -> bytes:
    """Leave the first share out."""
    shares = dict(sorted(json.loads(body)["shares"].items())[1:])
    return canonical({"shares": shares})


LEFT_OUT: dict[str, tuple[str, Change, str]] = {
    "no message": ("keys", lambda body: b"{", "what was said is not well formed"),
    "a key that is no point": ("keys", edited("adverts", "0", "mask", value=lambda key: "77"), "what was said is not well formed"),
    "keys of another": ("keys", edited("adverts", "0", "site", value=lambda name: "site2"), "gives other keys than its own"),
    "keys twice": ("keys", lambda body: canonical({"adverts": json.loads(body)["adverts"] * 2}), "is named twice"),
    "keys that it did not sign": ("keys", edited("adverts", "0", "mask", value=flipped), "are not signed by it for this attempt"),
    "a malformed share": (
        "shares",
        edited("shares", "site2", "text", value=lambda text: str(text)[2:]),
        "what was said is not well formed",
    ),
    "a share too few": ("shares", left_out, "does not share with each site"),
    "other arrays": ("answer", lambda body: to_bytes({"seal": np.zeros(6, np.uint64)}), "not of the names, types and shapes"),
    "no arrays": ("answer", lambda body: body[:-1], ""),
}
"""What a site says, at which exchange, and why it is left out; the round closes without it."""

TOLD: dict[str, tuple[str, Change, str]] = {
    "no signature of the total": ("agree", edited("signature", LIAR, value=flipped), "did not sign the total that stands"),
    "a false share revealed": ("open", edited("seed", "site2", value=flipped), "its share of site2 is not the one that was sealed"),
    "a share too large": ("open", edited("seed", "site2", value=lambda share: "f" * len(str(share))), "larger than any share can be"),
    "no shares": ("open", lambda body: b"{}", "what was said is not well formed"),
}
"""What is found when the masked sums are in: the site is in the total, and people are told."""


def lied(folder: Path, stage: str, change: Change) -> tuple[dict[str, str], Small]:
    folder.mkdir()
    made = small(folder, agreed(phases=TINY), patients(), following=True)
    made.engine = Lying(made.engine, LIAR, made.places[LIAR].site.keys.signing, SECOND, stage, change)
    return digests(made.run()), made


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_site_that_says_something_else_is_left_out_by_name(case: str, tmp_path: Path) -> None:
    stage, change, reason = LEFT_OUT[case]
    done, made = lied(tmp_path / "secure", stage, change)
    assert named(made) == {(*SECOND, LIAR)}
    assert reason in made.refused[0].reason and made.refused[0].where == "admit"
    assert not shorts(made)
    assert done == ran(tmp_path / "plain", "plain", Loss([LIAR], "answer", SECOND), phases=TINY)[0]


@pytest.mark.parametrize("case", TOLD)
def test_a_site_that_breaks_the_opening_is_told_of_and_the_others_open(case: str, tmp_path: Path, tiny: Mapping[str, str]) -> None:
    stage, change, reason = TOLD[case]
    done, made = lied(tmp_path / "secure", stage, change)
    assert [(one.phase, one.round, one.site, one.where) for one in made.refused] == [(*SECOND, LIAR, "admit")]
    assert reason in made.refused[0].reason
    assert not shorts(made)
    assert done == tiny
    assert not [one for one in made.book.log.entries() if one["t"] == "refusal"], "its sums are in the total"


@pytest.mark.parametrize("case", TOLD)
def test_it_is_not_heard_twice_where_others_are_waited_for(case: str, tmp_path: Path, tiny: Mapping[str, str]) -> None:
    stage, change, _ = TOLD[case]
    made = small(tmp_path, agreed(phases=TINY), patients(), wrap=lose(Loss(SEVEN[2:5], "open", SECOND)), following=True)
    made.engine = Lying(made.engine, LIAR, made.places[LIAR].site.keys.signing, SECOND, stage, change)
    assert digests(made.run()) == tiny
    assert shorts(made) == [SECOND]
    heard = [one["entry"] for one in made.book.log.entries() if one["t"] == "ingress"]
    assert len(heard) == len(set(heard))


def falsified(liar: str) -> Change:
    """Seal false shares for all others."""

    def change(body: bytes) -> bytes:
        found = json.loads(body)["shares"]
        return canonical({"shares": {name: {**one, "text": flipped(one["text"])} if name != liar else one for name, one in found.items()}})

    return change


def test_who_is_left_out_for_false_shares_stays_so_after_a_restart(tmp_path: Path) -> None:
    """Else a study with one attempt a round would end at each start."""
    plan = agreed(phases=TINY, rounds={"attempts": 1})
    for time in range(2):
        made = small(tmp_path, plan, patients(), following=True)
        for attempt in range(3):
            made.engine = Lying(made.engine, LIAR, made.places[LIAR].site.keys.signing, SECOND, "shares", falsified(LIAR), attempt=attempt)
        if time:
            made.run()
            assert not [one for one in made.refused if one.site == LIAR], "it is not asked"
        else:
            with pytest.raises(QuorumNotMet):
                made.run()
            made.store.close()


def test_one_of_a_group_whose_shares_the_others_find_false_does_not_stop_the_study(tmp_path: Path) -> None:
    made = in_groups(tmp_path, 15)
    first = groups(made)[0]
    for attempt in range(3):
        key = made.places[first[0]].site.keys.signing
        made.engine = Lying(made.engine, first[0], key, ("moments", 0), "shares", falsified(first[0]), attempt=attempt)
    made.run()
    closing = made.book.closings[0]
    assert closing.attempt == 1 and first[0] not in closing.survivors and set(first[1:]) <= set(closing.survivors)


def signed_by_another(body: bytes, about: Task, site: str) -> bytes:
    """Return keys that a second identity has signed."""
    other = Ed25519PrivateKey.generate()
    advert = replace(read_adverts("keys", body)[site], identity=other.public_key().public_bytes_raw().hex())
    return canonical({"adverts": [asdict(replace(advert, signature=keys.sign(other, advert.signed_part(bond_of(about)))))]})


@pytest.mark.parametrize("turn", [("moments", 0), SECOND])
def test_keys_that_are_signed_by_another_identity_leave_their_site_out(turn: tuple[str, int], tmp_path: Path) -> None:
    """Every other gate would refuse the whole list for it, in every attempt."""
    asked: list[Task] = []

    class Asked(Lying):
        def send(self, tasks: Sequence[Task]) -> None:
            asked[:] = tasks
            super().send(tasks)

    made = small(tmp_path, agreed(phases=TINY), patients(), following=True)
    signing = made.places[LIAR].site.keys.signing
    made.engine = Asked(made.engine, LIAR, signing, turn, "keys", lambda body: signed_by_another(body, asked[0], LIAR))
    made.run()
    told = [(one.phase, one.round, one.site, one.reason) for one in made.refused]
    assert told == [(*turn, LIAR, "secure sum, keys: its keys are signed by another identity than it joined with")]
    assert not shorts(made)


def test_a_site_whose_shares_most_others_find_false_is_left_out_of_the_rest_of_the_phase(tmp_path: Path) -> None:
    done, made = lied(tmp_path / "secure", "shares", falsified(LIAR))
    assert shorts(made) == [SECOND]
    told = {(one.site, one.reason) for one in made.refused if one.site == LIAR}
    assert told == {(LIAR, "6 sites found its shares false")}
    closing = next(one for one in made.book.closings if (one.phase, one.round) == SECOND)
    assert closing.attempt == 1 and set(closing.survivors) == {*SEVEN} - {LIAR}
    rest = [Loss([LIAR], "answer", turn) for turn in (SECOND, ("train", 2))]
    assert done == ran(tmp_path / "plain", "plain", *rest, phases=TINY)[0]


def test_a_false_share_is_told_of_by_the_site_that_it_was_sealed_for(tmp_path: Path) -> None:
    """The victim cannot go on; the others can, and the record says whose share it was."""
    done, made = lied(tmp_path / "secure", "shares", edited("shares", "site2", "text", value=flipped))
    told = f"secure sum, answer: the shares of site {LIAR} are not what it sealed for this site in this attempt"
    assert [(one.phase, one.round, one.site, one.reason) for one in made.refused] == [(*SECOND, "site2", told)]
    assert not shorts(made)
    assert done == ran(tmp_path / "plain", "plain", Loss(["site2"], "answer", SECOND), phases=TINY)[0]


def test_a_key_that_is_no_key_leaves_its_site_out(tmp_path: Path) -> None:
    """A point of small order, signed by the site that gives it: nobody could seal anything for it."""

    asked: list[Task] = []

    class Asked(Lying):
        def send(self, tasks: Sequence[Task]) -> None:
            asked[:] = tasks
            super().send(tasks)

    def smallest(body: bytes) -> bytes:
        advert = replace(read_adverts("keys", body)[LIAR], mask="00" * 32)
        signature = keys.sign(signing, advert.signed_part(bond_of(asked[0])))
        return canonical({"adverts": [asdict(replace(advert, signature=signature))]})

    (tmp_path / "secure").mkdir()
    made = small(tmp_path / "secure", agreed(phases=TINY), patients(), following=True)
    signing = made.places[LIAR].site.keys.signing
    made.engine = Asked(made.engine, LIAR, signing, SECOND, "keys", smallest)
    done = digests(made.run())
    told = [(one.phase, one.round, one.site, one.reason) for one in made.refused]
    assert told == [(*SECOND, LIAR, "secure sum, keys: its key is no key")]
    assert not shorts(made)
    assert done == ran(tmp_path / "plain", "plain", Loss([LIAR], "answer", SECOND), phases=TINY)[0]


def test_the_keys_of_an_earlier_attempt_are_not_taken_again(tmp_path: Path) -> None:
    first: list[bytes] = []

    def kept(body: bytes) -> bytes:
        first.append(body)
        return body

    made = small(tmp_path, agreed(phases=TINY), patients(), wrap=lose(Loss(SEVEN[2:5], "shares", SECOND)), following=True)
    key = made.places[LIAR].site.keys.signing
    made.engine = Lying(made.engine, LIAR, key, SECOND, "keys", kept)
    made.engine = Lying(made.engine, LIAR, key, SECOND, "keys", lambda body: first[0], attempt=1)
    made.run()
    assert shorts(made) == [SECOND]
    again = [one for one in made.refused if one.site == LIAR]
    assert [one.reason for one in again if one.where == "admit"] == [
        f"secure sum, shares: the keys of site {LIAR} are not signed by it for this attempt"
    ]
    assert LIAR not in next(one for one in made.book.closings if (one.phase, one.round) == SECOND).survivors


def test_a_total_out_of_range_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile gate masks more than it may send; nobody can tell whose it is, so nothing is believed."""
    made = small(tmp_path, agreed(phases=TINY), patients(), following=True)
    honest, calls = packed, iter(range(10**6))

    def beyond(layout: Layout, sums: Arrays, room: Path | None = None, *more: Any) -> Any:
        body = honest(layout, sums, room, *more)
        name = next((term.name for term in layout if term.per), "")
        if not name or next(calls) != len(SEVEN):  # the second round of training, its first site
            return body
        integers = {key: np.array(value) for key, value in from_bytes(body).items()}
        integers[name].reshape(-1)[0] = np.iinfo(integers[name].dtype).max // 2
        return to_bytes(integers)

    monkeypatch.setattr(release, "packed", beyond)
    with pytest.raises(QuorumNotMet) as found:
        made.run()
    assert "is beyond what 7 sites may send together" in found.value.message
    assert [(one.phase, one.round) for one in made.book.closings] == [("moments", 0), ("train", 0)]
    assert not made.refused
