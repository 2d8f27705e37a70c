from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wardround.combining.secure.groups import LEAST, SIZE, Party, combined, groups_of, parties, trimmed
from wardround.study.canonical import digest
from wardround.study.layout import Layout, Term

PROTOCOL = digest(b"protocol")
NAMES = st.integers(15, 60).flatmap(lambda count: st.permutations([f"site{number:02d}" for number in range(count)]))


def named(count: int) -> list[str]:
    return [f"site{number:02d}" for number in range(count)]


GOLDEN = (
    ("site00", "site03", "site04", "site08", "site10"),
    ("site01", "site05", "site06", "site11", "site12", "site15"),
    ("site02", "site07", "site09", "site13", "site14", "site16"),
)


# who is with whom


@given(NAMES, st.binary(max_size=4))
def test_every_site_is_in_one_group_of_five_to_seven(names: list[str], text: bytes) -> None:
    groups = groups_of(digest(text), names)
    assert sorted(site for group in groups for site in group) == sorted(names)
    assert len(groups) == len(names) // SIZE >= LEAST
    sizes = {len(group) for group in groups}
    assert min(sizes) >= SIZE
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= 7


@given(NAMES)
def test_the_order_in_which_sites_are_named_changes_nothing(names: list[str]) -> None:
    assert groups_of(PROTOCOL, names) == groups_of(PROTOCOL, sorted(names))


def test_groups_follow_from_protocol_and_sites() -> None:
    names = named(20)
    assert groups_of(PROTOCOL, names) == groups_of(PROTOCOL, names)
    assert groups_of(digest(b"another"), names) != groups_of(PROTOCOL, names)
    assert groups_of(PROTOCOL, names[1:]) != groups_of(PROTOCOL, names)


def test_the_golden_groups() -> None:
    assert groups_of(PROTOCOL, named(17)) == GOLDEN, "every release and every machine must divide sites alike"


def test_any_two_sites_may_come_together() -> None:
    protocols = [digest(bytes([number])) for number in range(60)]
    met = {(one, two) for protocol in protocols for group in groups_of(protocol, named(15)) for one in group for two in group}
    assert len(met) == 15 * 15


@pytest.mark.parametrize("count", [0, 1, 14])
def test_fewer_than_fifteen_sites_make_no_groups(count: int) -> None:
    with pytest.raises(ValueError, match="fewer than 3 groups of 5"):
        groups_of(PROTOCOL, named(count))


@given(NAMES)
def test_a_party_needs_more_than_two_thirds_of_its_group(names: list[str]) -> None:
    groups = groups_of(PROTOCOL, names)
    assert parties(groups) == tuple(Party(frozenset(one), 2 * len(one) // 3 + 1, number) for number, one in enumerate(groups))
    assert all(3 * party.quorum > 2 * len(party.sites) for party in parties(groups))


# the rule

VALUES = hnp.arrays(np.float64, (4,), elements=st.floats(-1e6, 1e6)).map(lambda one: one + 0.0)  # integers have no negative nought


@given(st.lists(VALUES, min_size=2, max_size=12), VALUES.map(lambda one: one * 1e9), st.integers(0, 12))
def test_one_group_moves_the_rule_no_further_than_the_others_reach(honest: list[np.ndarray], hostile: np.ndarray, place: int) -> None:
    values = [*honest[:place], hostile, *honest[place:]]
    found, slack = trimmed(values), 1e-9 * (1 + np.max(np.abs(honest)))
    assert np.all(found <= np.max(honest, axis=0) + slack)
    assert np.all(found >= np.min(honest, axis=0) - slack)


@given(st.lists(VALUES, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_groups_changes_no_bit(values: list[np.ndarray], dice: random.Random) -> None:
    shuffled = list(values)
    dice.shuffle(shuffled)
    assert trimmed(shuffled).tobytes() == trimmed(values).tobytes()


@given(st.integers(3, 20), st.data())
def test_a_quarter_of_hostile_groups_is_borne(count: int, data: st.DataObject) -> None:
    bad = max(1, count // 4)
    ends = data.draw(st.lists(st.sampled_from([-1e30, 1e30]), min_size=bad, max_size=bad))
    found = trimmed([np.array([one]) for one in [*ends, *np.linspace(1, 2, count - bad)]])
    assert 1 <= float(found[0]) <= 2


def test_one_or_two_values_are_not_trimmed() -> None:
    assert float(trimmed([np.array(4.0)])) == 4
    assert float(trimmed([np.array(1.0), np.array(2.0)])) == 1.5


LAYOUT: Layout = (
    Term.count("examples", (), 100, 20),
    Term.sized("update/w", (2,), 100.0, 20, per="examples"),
    Term.sized("loss", (), 100.0, 20, bits=64),
)


def sums(examples: float, mean: list[float], loss: float) -> dict[str, np.ndarray]:
    return {"examples": np.asarray(examples), "update/w": examples * np.array(mean), "loss": np.asarray(loss)}


def test_means_follow_the_rule_and_everything_else_is_added() -> None:
    found = combined(LAYOUT, [sums(10, [1, -9], 1), sums(30, [2, 1], 2), sums(20, [99, 2], 4)])
    assert float(found["examples"]) == 60
    assert float(found["loss"]) == 7
    np.testing.assert_array_equal(found["update/w"] / 60, [2, 1])


def test_a_group_without_examples_has_no_say_in_a_mean() -> None:
    found = combined(LAYOUT, [sums(0, [0, 0], 0), sums(10, [1, 1], 0), sums(10, [3, 3], 0)])
    np.testing.assert_array_equal(found["update/w"] / 20, [2, 2])
    nothing = combined(LAYOUT, [sums(0, [0, 0], 0)] * 3)
    np.testing.assert_array_equal(nothing["update/w"], [0, 0])


@given(st.lists(st.tuples(st.integers(1, 100), VALUES), min_size=3, max_size=8), st.data())
def test_no_group_bends_a_mean_beyond_the_others_whatever_examples_it_claims(
    groups: list[tuple[int, np.ndarray]], data: st.DataObject
) -> None:
    """What a hostile group claims in examples weighs nothing: each group counts once."""
    totals = [sums(count, list(mean[:2]), 0) for count, mean in groups]
    which = data.draw(st.integers(0, len(groups) - 1))
    others = [mean[:2] for number, (_, mean) in enumerate(groups) if number != which]
    totals[which] = sums(data.draw(st.integers(1, 10_000)), [1e15, -1e15], 0)
    found = combined(LAYOUT, totals)
    mean, slack = found["update/w"] / float(found["examples"]), 1e-6 * (1 + np.max(np.abs(others)))
    assert np.all(mean <= np.max(others, axis=0) + slack)
    assert np.all(mean >= np.min(others, axis=0) - slack)
