"""A patient flow equals counting by hand, and what is shown of it gives no small count away to one who adds and subtracts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from tests.learning.statistics.studies import HEAD, Rows, codes, column, rows, run
from wardround.learning.statistics.feasibility import Feasibility, Open, shown
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.streams import Stream
from wardround.study.task import Ask

CRITERIA = (
    '{ name = "old enough", field = "age", at_least = 55 }',
    '{ field = "weight", at_least = 60, below = 90 }',
    '{ field = "ward", one_of = ["a", "b"] }',
    '{ field = "sex", one_of = ["f"] }',
)
LEAST = 10


def text(combine: str, least: int, criteria: Sequence[str] = CRITERIA, label: str = "died", more: str = "") -> str:
    listed = ",\n".join(criteria)
    phase = f'[[phases]]\nname = "flow"\nkind = "feasibility"\nlabel = "{label}"\ncriteria = [\n{listed},\n]\n'
    return f'{HEAD}{phase}{more}[rounds]\nquorum = 3\ncombine = "{combine}"\n[privacy]\ncounts = true\nsmallest_count = {least}\n'


def plan(*args: Any, **more: Any) -> Protocol:
    return read_protocol(text(*args, **more), "study.toml")


def by_hand(made: Rows) -> list[np.ndarray]:
    """Return which rows meet each criterion."""
    weight = column(made, "weight")
    with np.errstate(invalid="ignore"):
        heavy = (weight >= 60) & (weight < 90)
    return [column(made, "age") >= 55, heavy, np.isin(codes(made, "ward"), ["a", "b"]), codes(made, "sex") == "f"]


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_a_flow_is_that_of_all_rows_in_one_place(combine: str, tmp_path: Path) -> None:
    made = rows()
    table = run(tmp_path, plan(combine, 1), made)["statistics"]["flow"]
    met, left = by_hand(made), np.ones(len(column(made, "age")), dtype=bool)
    assert table["start"] == {"count": len(left)}
    assert [one["name"] for one in table["steps"]][:2] == ["old enough", "weight >= 60 kg and weight < 90 kg"]
    missing = int(np.isnan(column(made, "weight")).sum())
    assert table["criteria"][1]["missing"] == {"count": missing}
    for one, alone, step in zip(met, table["criteria"], table["steps"], strict=True):
        assert alone["meets"]["count"] == int(one.sum())
        assert alone["fails"]["count"] == int((~one).sum()) - alone["missing"]["count"]
        assert step["excluded"]["count"] == int((left & ~one).sum())
        left &= one
        assert step["remaining"]["count"] == int(left.sum())
    died = codes(made, "died") == "yes"
    yes = next(one for one in table["label"]["cells"] if one["code"] == "yes")
    assert yes == {"code": "yes", "count": int((left & died).sum()), "share": pytest.approx(died[left].mean())}


def test_a_missing_value_may_be_included(tmp_path: Path) -> None:
    made = rows()
    criteria = ['{ field = "weight", at_least = 60, missing = "included" }']
    table = run(tmp_path, plan("plain", 1, criteria, ""), made)["statistics"]["flow"]
    assert table["steps"][0]["remaining"]["count"] == int((~(column(made, "weight") < 60)).sum())
    assert table["label"] is None


def numbers(found: Any) -> list[int]:
    """Return every count in a table."""
    if isinstance(found, dict):
        return [one for key, value in found.items() if key not in ("held_back_at", "of_sites") for one in numbers(value)]
    return [one for value in found for one in numbers(value)] if isinstance(found, list) else [found] if type(found) is int else []


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_no_count_under_k_is_told(combine: str, tmp_path: Path) -> None:
    made = rows({"north": 60, "south": 40, "east": 15})
    result = run(tmp_path, plan(combine, LEAST), made)
    found = numbers(result["statistics"]["flow"])
    assert not [one for one in found if 0 < one < LEAST]
    assert len([one for one in found if one >= LEAST]) >= 3, json.dumps(result["statistics"]["flow"])


def test_where_sites_hold_back_a_flow_says_how_many_are_left_at_least(tmp_path: Path) -> None:
    made = rows()
    table = run(tmp_path, plan("plain", LEAST), made)["statistics"]["flow"]
    left = np.cumprod(by_hand(made), axis=0).sum(axis=1)
    found = [one["remaining"] for one in table["steps"]]
    assert any("held_back_at" in one for one in found) and not all("held_back_at" in one for one in found)
    for one, true in zip(found, left, strict=True):
        assert 0.9 * true <= one["count"] <= true
        assert "held_back_at" in one or one["count"] == true
    told = [table["start"]["count"], *(one["count"] for one in found)]
    assert told == sorted(told, reverse=True)


def test_a_step_that_takes_out_nobody_is_hidden_where_another_is() -> None:
    """Of 500, 11, 11 and 1 left: that the second step is shown told that none takes out 1 to 9, so that the last left one patient."""
    alone = np.array([[11, 489, 0], [500, 0, 0], [490, 10, 0]])
    open_ = shown(500.0, np.array([489.0, 0.0, 10.0]), alone, (False,) * 3, LEAST)
    assert open_.left == (True, False, False) and open_.out == (True, False, False) and open_.alone == (True, False, False)
    whole = shown(500.0, np.array([489.0, 0.0, 0.0]), alone, (False,) * 3, LEAST)
    assert whole.left == (True, True, True)


# What an attacker finds who knows the rule: every small study with which all that is told would be the same.

SMALL: dict[str, tuple[list[str], str, list[tuple[int, ...]], int]] = {
    "two criteria": (["sex", "died"], "", list(itertools.product((0, 1), repeat=2)), 9),
    "missing values": (["sex"], "", [(0,), (1,), (-1,)], 12),
    "a label": (["sex"], "ward", [(0, 0), (0, 1), (0, -1), (1, 0)], 9),
}
FIRST = {"sex": "f", "died": "no"}


def sizes(kinds: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to have at most so many patients of so many kinds."""
    if not kinds:
        yield ()
        return
    for here in range(most + 1):
        yield from ((here, *rest) for rest in sizes(kinds - 1, most - here))


def seen(asks: Protocol, fields: Sequence[str], patterns: np.ndarray, numbers: tuple[int, ...]) -> str:
    """Return all that is told of one hospital with so many patients of each pattern."""
    (algorithm,) = asks.algorithms
    assert isinstance(algorithm, Feasibility)
    made = np.repeat(patterns, numbers, axis=0)
    columns = {name: made[:, place].copy() for place, name in enumerate(fields)}
    data = Dataset(columns, np.arange(len(made)), np.zeros(len(made), dtype=np.int8))
    sums = algorithm.answer(Ask({}, ()), data, {}, Stream.public(0))[0].sums
    return json.dumps(algorithm.told(sums) if asks.hides else {name: one.tolist() for name, one in sums.items()})


@pytest.mark.parametrize("least", [2, 3])
@pytest.mark.parametrize("combine", ["plain", "secure"])
@pytest.mark.parametrize("case", sorted(SMALL))
def test_who_knows_the_rule_finds_no_small_number(case: str, combine: str, least: int) -> None:
    criteria, label, kinds, most = SMALL[case]
    asks = plan(combine, least, [f'{{ field = "{name}", one_of = ["{FIRST[name]}"] }}' for name in criteria], label)
    patterns, fields = np.array(kinds, dtype=np.int32), [*criteria, *([label] if label else [])]
    alike: dict[tuple[int, str], list[tuple[int, ...]]] = {}
    for numbers in sizes(len(kinds), most):
        alike.setdefault((sum(numbers), seen(asks, fields, patterns, numbers)), []).append(numbers)
    groups = np.array([one for one in itertools.product((0, 1), repeat=len(kinds)) if any(one)]).T
    for told, studies in alike.items():
        counts = np.array(studies) @ groups
        known = counts.min(axis=0) == counts.max(axis=0)
        small = (counts.min(axis=0) > 0) & (counts.min(axis=0) < least)
        assert told[0] < least or not np.any(known & small), (told, studies)


# What follows from a flow: every way to add and subtract what is shown that counts the patients of some set of patterns.

CRITERIA_TRIED = 3
PATTERNS = list(itertools.product((0, 1, 2), repeat=CRITERIA_TRIED))  # by criterion: meets, does not, missing


def stopped(state: int, included: bool) -> bool:
    return state == 1 if included else state != 0


@cache
def told(included: tuple[bool, ...]) -> tuple[np.ndarray, list[str]]:
    """Return what can be shown as counts of patterns, one row each, with its name."""
    listed = {"start": [1] * len(PATTERNS)}
    for place in range(CRITERIA_TRIED):
        passed = [not any(stopped(one[i], included[i]) for i in range(place + 1)) for one in PATTERNS]
        listed[f"left {place}"] = [int(one) for one in passed]
        for state in (1, 2):
            listed[f"alone {place} {state}"] = [int(one[place] == state) for one in PATTERNS]
    return np.array(list(listed.values())), list(listed)


@cache
def events(included: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return every combination with factors -1, 0 and 1 that counts a set of patterns: the factors, and the sets."""
    matrix, names = told(included)
    factors = np.array(list(itertools.product((-1, 0, 1), repeat=len(names))), dtype=np.int8)
    values = factors @ matrix.astype(np.int8)
    sets = np.all((values == 0) | (values == 1), axis=1)
    return factors[sets], values[sets].astype(bool)


def follows(open_: Open, included: tuple[bool, ...], counts: np.ndarray) -> np.ndarray:
    """Return each count that follows from what is shown."""
    _, names = told(included)
    seen = [
        open_.start if name == "start" else (open_.left if name.startswith("left") else open_.alone)[int(name.split()[1])] for name in names
    ]
    factors, sets = events(included)
    usable = np.all((factors == 0) | np.array(seen), axis=1)
    return np.asarray(sets[usable].astype(np.int64) @ counts)


COUNTS = st.lists(st.sampled_from([0, 0, 0, 1, 3, 9, 10, 12, 40, 200]), min_size=len(PATTERNS), max_size=len(PATTERNS))


@settings(max_examples=60, deadline=None)
@over(COUNTS, st.tuples(*[st.booleans()] * CRITERIA_TRIED))
def test_nothing_that_follows_from_a_flow_is_small(listed: list[int], included: tuple[bool, ...]) -> None:
    counts = np.array(listed)
    alone = np.array([[sum(counts[[one[place] == state for one in PATTERNS]]) for state in range(3)] for place in range(CRITERIA_TRIED)])
    first = [next((i for i in range(CRITERIA_TRIED) if stopped(one[i], included[i])), CRITERIA_TRIED) for one in PATTERNS]
    out = np.array([counts[np.array(first) == place].sum() for place in range(CRITERIA_TRIED)], dtype=float)
    open_ = shown(float(counts.sum()), out, alone, included, LEAST)
    found = follows(open_, included, counts)
    assert not np.any((found > 0) & (found < LEAST)), (open_, found[(found > 0) & (found < LEAST)])


@cache
def three(included: tuple[bool, ...]) -> Feasibility:
    more = [', missing = "included"' * one for one in included]
    named = zip(("sex", "died", "ward"), ("f", "no", "a"), more, strict=True)
    (algorithm,) = plan("plain", LEAST, [f'{{ field = "{name}", one_of = ["{code}"]{also} }}' for name, code, also in named], "").algorithms
    assert isinstance(algorithm, Feasibility)
    return algorithm


@settings(max_examples=40, deadline=None)
@over(COUNTS, st.tuples(*[st.booleans()] * CRITERIA_TRIED))
def test_nothing_that_follows_from_what_a_site_lets_out_is_small(listed: list[int], included: tuple[bool, ...]) -> None:
    counts, values = np.array(listed), np.array([0, 1, -1], dtype=np.int32)
    made = np.repeat(values[np.array(PATTERNS)], counts, axis=0)
    columns = {name: made[:, place].copy() for place, name in enumerate(("sex", "died", "ward"))}
    data = Dataset(columns, np.arange(len(made)), np.zeros(len(made), dtype=np.int8))
    sums = three(included).answer(Ask({}, ()), data, {}, Stream.public(0))[0].sums
    for name in ("out", "left"):
        assert not np.any((sums[name] > 0) & (sums[name] < LEAST))
    start, *left = (not held for name in ("all", "left") for held in sums[f"{name}/held"])
    alone = tuple(bool(not one.any()) for one in sums["alone/held"])
    found = follows(Open(start, tuple(left), tuple(left), alone), included, counts)
    assert not np.any((found > 0) & (found < LEAST)), (sums, found[(found > 0) & (found < LEAST)])


def test_showing_all_would_give_small_counts_away() -> None:
    """The attacker above finds one in a flow in which every number shown is large: 3 fail both."""
    counts = np.zeros(len(PATTERNS), dtype=np.int64)
    for pattern, count in {(0, 0, 0): 100, (1, 0, 0): 50, (0, 1, 0): 57, (1, 1, 0): 3}.items():
        counts[PATTERNS.index(pattern)] = count
    everything = Open(True, (True,) * 3, (True,) * 3, (True,) * 3)
    assert 3 in follows(everything, (False,) * 3, counts)
    alone = np.array([[157, 53, 0], [150, 60, 0], [210, 0, 0]])
    open_ = shown(210.0, np.array([53.0, 57.0, 0.0]), alone, (False,) * 3, LEAST)
    assert open_.left == (True, True, True) and open_.alone == (True, False, True)
    assert 3 not in follows(open_, (False,) * 3, counts)


WRONG = {
    '{ field = "agee", at_least = 1 }': "has no field 'agee'",
    '{ field = "age" }': "must say one thing",
    '{ field = "age", at_least = 60, below = 50 }': "no value of 'age' is within these bounds",
    '{ field = "age", above = 60, at_most = 60 }': "no value of 'age' is within these bounds",
    '{ field = "sex", at_least = 1 }': "is a code and has no bounds",
    '{ field = "age", one_of = ["f"] }': "is a number and has no codes",
    '{ field = "sex", one_of = ["x"] }': "has no code 'x'",
    '{ field = "age", known = true, missing = "included" }': "is met by every row",
    '{ field = "age", at_lest = 5 }': "at_lest: there is no such key",
    '{ field = "age", at_least = 5 }, { field = "age", below = 50 }': "stands in two criteria",
    '{ field = "died", one_of = ["yes"] }': "is a criterion already",
}


@pytest.mark.parametrize("criterion", sorted(WRONG))
def test_a_wrong_criterion_is_named(criterion: str) -> None:
    with pytest.raises(ProtocolError) as error:
        plan("secure", 10, [criterion])
    assert WRONG[criterion] in error.value.message and error.value.remedy


def test_other_tables_beside_a_flow_are_refused_in_secure_sums() -> None:
    more = '[[phases]]\nname = "ages"\nkind = "histogram"\n'
    with pytest.raises(ProtocolError, match="would together give small counts away"):
        plan("secure", 10, more=more)
    assert len(plan("plain", 10, more=more).algorithms) == 2 and len(plan("secure", 1, more=more).algorithms) == 2
