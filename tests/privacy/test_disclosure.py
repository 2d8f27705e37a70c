"""Counts that leave give away no count under k, whatever is added and subtracted; without the rule they do."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.house.reading import ROOT
from wardround.privacy.disclosure import (
    Before,
    fewest,
    held_back,
    held_crossed,
    held_field,
    held_totals,
    joined,
    linked,
    patients_in,
    solved,
    told_apart,
)

HEART = ROOT.parent / "shared" / "data" / "heart_disease_uci" / "processed.cleveland.data"
K, QUERIES = 10, 1000

tables = st.integers(1, 6).flatmap(
    lambda cells: st.tuples(
        st.just(cells),
        st.lists(st.tuples(st.integers(-1, cells - 1), st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=80),
        st.integers(1, 8),
    )
)


@settings(max_examples=200)
@given(tables)
def test_every_atom_is_empty_or_large(drawn: tuple[int, list[tuple[int, int, int]], int]) -> None:
    count, rows, least = drawn
    cells, other, patient = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    beside = other if fewest(other, patient) >= least else np.zeros(len(other), dtype=np.int64)
    if fewest(beside, patient) < least:
        return  # the whole site is too small: nothing that leaves could be large enough
    held = held_back(cells, count, patient, least, [Before(beside, least)])
    apart = told_apart(cells, held)
    assert fewest(joined(apart, beside), patient) >= least
    empty = np.bincount(cells[cells >= 0], minlength=count) == 0
    assert not np.any(held) or np.all(held[empty]), "a hidden cell may be an empty one"


def test_a_small_cell_takes_another_with_it() -> None:
    cells = np.repeat([0, 1, 2], [50, 4, 30])
    assert held_back(cells, 3, np.arange(84), K).tolist() == [False, True, True]
    assert held_back(cells, 3, np.arange(84), 1).tolist() == [False, False, False]


def test_many_rows_of_few_patients_are_few() -> None:
    cells = np.repeat([0, 1], [40, 40])
    patient = np.concatenate([np.arange(40), np.full(40, 99)])
    assert held_back(cells, 2, patient, K).tolist() == [True, True]


def test_a_table_that_would_split_an_earlier_one_too_finely_stays() -> None:
    earlier = np.repeat([0, 1], [20, 20])
    later = np.concatenate([np.zeros(17), np.ones(23)]).astype(np.int64)  # 40-year-olds once by tens, once by another edge
    assert held_back(later, 2, np.arange(40), K).tolist() == [False, False]
    assert held_back(later, 2, np.arange(40), K, [Before(earlier, K)]).tolist() == [True, True]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 12))
def test_hidden_totals_hide_together_what_would_be_small(counts: list[int], least: int) -> None:
    numbers = np.array(counts)
    held = held_totals(numbers, least)
    assert np.all(held[(numbers > 0) & (numbers < least)])
    rest = int(numbers[held].sum())
    assert rest == 0 or rest >= least or np.all(held[numbers > 0])


@pytest.mark.parametrize("counts", [[50, *[1] * 10], [50, *[1] * 10, 0], [50, 9, 9, 0], [50, 1, 10, 0]])
def test_hidden_totals_do_not_follow_from_being_none_or_more(counts: list[int]) -> None:
    numbers = np.array(counts)
    held = held_totals(numbers, K)
    assert np.all(held[numbers == 0]), "else ten hidden cells that sum to 10 are 1 each"
    assert held.sum() >= 2 and numbers[held].sum() >= K


def test_a_site_hides_its_empty_cells_with_small_ones() -> None:
    cells = np.concatenate([np.zeros(50, dtype=np.int64), np.arange(1, 11)])
    assert held_back(cells, 12, np.arange(60), K).tolist() == [False] + [True] * 11


def test_missing_values_do_not_cover_for_a_cell() -> None:
    assert held_field(np.array([50, 4, 30]), K).tolist() == [True, True, False], "known and missing are told elsewhere"
    assert held_field(np.array([50, 40, 3]), K).tolist() == [True, False, True]
    assert held_field(np.array([50, 40, 0]), K).tolist() == [False, False, False]


def most(counts: np.ndarray, held: np.ndarray, at: tuple[int, int]) -> int:
    """Return the most that a hidden cell can be, by counts of 0 or more in the hidden cells with the same totals of all lines.

    One by one, a hidden cell in the same column is lowered and paths are followed by which all lines stay as they are.
    """
    found, grown = counts.copy(), int(counts[at])
    while True:
        came: dict[tuple[str, int], tuple[tuple[str, int], tuple[int, int], int]] = {}
        todo = [("column", at[1])]
        while todo and ("row", at[0]) not in came:
            kind, here = todo.pop()
            for other in range(counts.shape[0 if kind == "column" else 1]):
                place = (other, here) if kind == "column" else (here, other)
                step = -1 if kind == "column" else 1
                to = ("row" if kind == "column" else "column", other)
                if place != at and held[place] and (step > 0 or found[place] > 0) and to not in came and to != ("column", at[1]):
                    came[to] = ((kind, here), place, step)
                    todo.append(to)
        if ("row", at[0]) not in came:
            return grown
        line = ("row", at[0])
        while line != ("column", at[1]):
            line, place, step = came[line]
            found[place] += step
        grown += 1


@settings(max_examples=150)
@given(st.lists(st.lists(st.integers(0, 25), min_size=4, max_size=4), min_size=3, max_size=4))
def test_each_hidden_small_cell_of_a_crossed_table_could_be_large(drawn: list[list[int]]) -> None:
    counts = np.array(drawn)
    held = held_crossed(counts, K)
    lines = [held_field(counts.sum(axis=axis), K) for axis in (1, 0)]
    assert np.all(held[(counts > 0) & (counts < K)])
    assert np.all(held[lines[0]][:, counts.sum(axis=0) > 0]) and np.all(held[counts.sum(axis=1) > 0][:, lines[1]])
    if any(np.any(one) for one in lines):
        return  # totals of lines are hidden as well
    for row, column in np.argwhere(held & (counts > 0) & (counts < K)):
        assert most(counts, held, (int(row), int(column))) >= K, (counts, held)


def patients() -> np.ndarray:
    """Return numbers of 303 patients, [N, 5]: real ones of Cleveland where the shared data are, else made-up ones."""
    if HEART.exists():
        with HEART.open() as file:
            return np.array([[float(row[place]) for place in (0, 1, 2, 3, 4)] for row in csv.reader(file) if row])
    rng = np.random.default_rng(5)
    return np.column_stack(
        [rng.normal(54, 9, 303).round(), rng.integers(0, 2, 303), rng.integers(1, 5, 303), *rng.normal(130, 20, (2, 303))]
    )


def attack(rows: np.ndarray, least: int, seed: int = 0) -> tuple[list[int], int]:
    """Ask 1,000 random counts; return the sizes, under K, of the sets whose count follows from the answers, and how many were answered.

    Answered is what the rule lets out, beside all that it let out before. The attacker adds and subtracts: what follows from the answers is
    what lies in the space that they span. It tries each class of patients that the answers tell apart, each pair of these classes, and each
    single query that was not answered.
    """
    rng = np.random.default_rng(seed)
    everyone, known = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    answered, silent = [np.ones(len(rows))], []
    for _ in range(QUERIES):
        inside = np.ones(len(rows), dtype=bool)
        for column in rng.choice(rows.shape[1], rng.integers(1, 4), replace=False):
            low, high = np.sort(rng.choice(rows[:, column], 2))
            inside &= (rows[:, column] >= low) & (rows[:, column] <= high)
        cells = np.where(inside, 0, -1)
        if held_back(cells, 1, everyone, least, [Before(known, least)])[0]:
            silent.append(inside.astype(float))
        else:
            known = joined(known, cells)
            answered.append(inside.astype(float))
    return sorted(derived(np.array(answered), silent)), len(answered) - 1


def derived(answered: np.ndarray, silent: list[np.ndarray], pairs: bool = True) -> list[int]:
    """Return the sizes, under K, of what follows from answered counts: classes told apart, pairs of them, and counts not answered."""
    classes = np.unique(answered.T, axis=0, return_inverse=True)[1].reshape(-1)
    width = int(classes.max()) + 1
    first = np.array([int(np.argmax(classes == number)) for number in range(width)])
    sizes = np.bincount(classes)
    _, strength, axes = np.linalg.svd(answered[:, first], full_matrices=False)
    space = axes[strength > 1e-8 * strength[0]].T
    wanted = [np.eye(width)[number] for number in range(width)]
    if pairs:
        wanted += [wanted[one] + wanted[other] for one in range(min(width, 60)) for other in range(one)]
    wanted += [query[first] for query in silent if all(len(np.unique(query[classes == number])) == 1 for number in range(width))]
    found = []
    for one in wanted:
        size = int(one @ sizes)
        if 0 < size < K and np.linalg.norm(one - space @ (space.T @ one)) < 1e-8:
            found.append(size)
    return found


def test_a_differencing_attacker_learns_no_count_under_k() -> None:
    found, answered = attack(patients(), K)
    assert found == []
    assert answered >= 3, "the rule is no reason to answer nothing"


def test_the_same_attack_succeeds_without_the_rule() -> None:
    found, answered = attack(patients(), 1)
    assert answered == QUERIES
    assert len(found) > 100 and 1 in found, "single patients are told apart"


def test_patients_are_counted_once() -> None:
    assert patients_in(np.array([0, 0, 1]), np.array([7, 7, 7])).tolist() == [1, 1]


@pytest.mark.parametrize("rows", [0, 3])
def test_a_site_too_small_lets_nothing_out(rows: int) -> None:
    held = held_back(np.zeros(rows, dtype=np.int64), 2, np.arange(rows), K)
    assert held.tolist() == [rows > 0, rows > 0]


def test_a_table_of_two_fields_counts_for_one_of_them() -> None:
    ward, sex = np.repeat([0, 1, 2], [100, 4, 100]), np.arange(204) % 2
    assert len(np.unique(linked(joined(ward, sex), ward))) == 3, "its margins are a table of the ward"
    assert len(np.unique(linked(np.where(sex == 0, 0, ward), ward))) == 1, "this tells nothing of the ward alone"


@pytest.mark.parametrize(
    ("values", "classes", "told"),
    [
        (np.repeat([0, 1], [297, 3]), np.zeros(300), False),
        (np.repeat([0, 1], [290, 10]), np.zeros(300), True),
        (np.arange(300) % 90, np.zeros(300), True),
        (np.arange(300) % 90, np.where(np.arange(300) % 90 < 2, -1, np.arange(300) % 90), False),
        (np.append(np.linspace(0, 1, 297), [500, 500, 501]), np.zeros(300), False),
    ],
    ids=["three ones", "ten ones", "many values", "tables leave two values open", "three make the spread"],
)
def test_sums_that_would_count_few_are_found(values: np.ndarray, classes: np.ndarray, told: bool) -> None:
    assert solved(values[:, None].astype(float), classes.astype(np.int64), K) != told
