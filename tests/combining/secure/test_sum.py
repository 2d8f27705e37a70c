from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.combining.secure.exchange import Exchange
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import STAGES
from wardround.study.threshold import LEAST

Gone = Mapping[str, Collection[str]]
KINDS = (np.int8, np.int16, np.int32, np.int64)


def named(count: int) -> tuple[str, ...]:
    return tuple(f"site{number:02d}" for number in range(count))


def sums(names: Collection[str], kind: type[np.signedinteger], seed: int) -> dict[str, np.ndarray]:
    """Return integers of the whole range, the extremes among them: totals wrap, and wrap back."""
    rng, info = np.random.default_rng(seed), np.iinfo(kind)
    edges = np.array([info.min, info.min + 1, -1, 0, 1, info.max], kind)
    return {site: np.concatenate([rng.choice(edges, 6), rng.integers(info.min, info.max, 5, kind, endpoint=True)]) for site in names}


def enough(names: Collection[str], quorum: int, gone: Gone) -> bool:
    """Say whether at every stage as many sites are left as must be: more than two thirds of those that gave keys, the quorum, three."""
    left, least = set(names), 0
    for stage in STAGES:
        left -= set(gone.get(stage, ()))
        if stage == "keys":
            least = max(len(left) * 2 // 3 + 1, quorum, LEAST)
        if len(left) < least:
            return False
    return True


def hold(names: tuple[str, ...], quorum: int, gone: Gone, kind: type[np.signedinteger], seed: int) -> None:
    """Hold the outcome of one attempt against what it must be: the plain sum of the survivors, or a clean end."""
    values = sums(names, kind, seed)
    exchange = Exchange(names, quorum)
    if enough(names, quorum, gone):
        total = exchange.total(values, gone)
        lost = {site for stage in ("keys", "shares", "answer") for site in gone.get(stage, ())}
        assert total.dtype == kind
        np.testing.assert_array_equal(total, np.sum([values[site] for site in names if site not in lost], axis=0, dtype=kind))
    else:
        with pytest.raises(Broken, match=rf"^secure sum, ({'|'.join(STAGES)}): ") as found:
            exchange.total(values, gone)
        assert found.value.remedy
        assert not any(site in found.value.message for site in names), "all are honest, so nobody is to blame"


@st.composite
def attempts(draw: st.DrawFn, fewest: int, most: int) -> tuple[tuple[str, ...], int, Gone]:
    names = named(draw(st.integers(fewest, most)))
    quorum = draw(st.integers(2, len(names)))
    leaving = draw(st.permutations(names))[: draw(st.one_of(st.integers(0, len(names) // 3), st.integers(0, len(names))))]
    stages = draw(st.lists(st.sampled_from(STAGES), min_size=len(leaving), max_size=len(leaving)))
    gone: Gone = {stage: [site for site, when in zip(leaving, stages, strict=True) if when == stage] for stage in STAGES}
    return names, quorum, gone


@settings(max_examples=70)
@given(attempts(3, 9), st.sampled_from(KINDS), st.integers(0, 2**32))
def test_the_total_is_the_plain_sum_or_there_is_none(
    attempt: tuple[tuple[str, ...], int, Gone], kind: type[np.signedinteger], seed: int
) -> None:
    hold(*attempt, kind, seed)


@settings(max_examples=4)
@example(
    (named(50), 34, {"keys": named(50)[:2], "answer": named(50)[9:20], "agree": named(50)[20:23], "open": named(50)[48:]}), np.int32, 1
)
@given(attempts(10, 40), st.sampled_from(KINDS), st.integers(0, 2**32))
def test_so_it_is_with_many_sites(attempt: tuple[tuple[str, ...], int, Gone], kind: type[np.signedinteger], seed: int) -> None:
    hold(*attempt, kind, seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edge", ["min", "max"])
def test_totals_wrap_as_plain_integers_do(kind: type[np.signedinteger], edge: str) -> None:
    names = named(3)
    values = {site: np.full(2, getattr(np.iinfo(kind), edge), kind) for site in names}
    total = Exchange(names).total(values, {})
    np.testing.assert_array_equal(total, np.sum(list(values.values()), axis=0, dtype=kind))


def test_a_sum_that_fits_comes_back_though_its_parts_overflow_on_the_way() -> None:
    values = {"a": np.array([2**31 - 1], "i4"), "b": np.array([2**31 - 1], "i4"), "c": np.array([-(2**31)], "i4")}
    assert Exchange(("a", "b", "c")).total(values, {}).tolist() == [2**31 - 2]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("count", "quorum", "most"), [(3, 2, 0), (4, 2, 1), (5, 3, 1), (6, 2, 1), (7, 2, 2), (7, 6, 1), (10, 2, 3)])
def test_just_enough_is_enough_and_one_less_is_not(stage: str, count: int, quorum: int, most: int) -> None:
    names = named(count)
    if stage == "keys":  # who never gave keys only counts against the quorum and the least of three
        most = count - max(quorum, LEAST)
    hold(names, quorum, {stage: names[:most]}, np.int32, 0)
    assert enough(names, quorum, {stage: names[:most]})
    hold(names, quorum, {stage: names[: most + 1]}, np.int32, 0)
    assert not enough(names, quorum, {stage: names[: most + 1]})


def test_nobody_sees_a_sum_before_the_total() -> None:
    names = named(5)
    exchange = Exchange(names)
    exchange.play()
    zeros = [exchange.masked(site, np.zeros(50_000, "i4")) for site in names]
    for count in range(1, 5):
        part = np.sum(zeros[:count], axis=0, dtype="u4")
        assert abs(np.unpackbits(part.view("u1")).mean() - 0.5) < 0.002


def test_a_second_attempt_hides_afresh() -> None:
    hidden = []
    for attempt in (0, 1):
        exchange = Exchange(named(3), task={"attempt": attempt}, fixed=True)
        exchange.play()
        hidden.append(exchange.masked("site00", np.zeros(8, "i4")))
    assert not np.any(hidden[0] == hidden[1])
