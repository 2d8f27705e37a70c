"""What leaves a hospital is combined as somebody would who wants to know more: no figure of few patients, and no single patient, follows.

Each solver is one that a review wrote against exact figures, where it was right in nearly all trials.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tests.learning.preflight.hospitals import Row, algorithm, dataset, plan, rows, told
from wardround.combining.fixedpoint import decoded, packed, unpack
from wardround.learning.preflight.groups import CUTS
from wardround.learning.preflight.layout import PARTS, Shape
from wardround.learning.preflight.site import may_be_told, most_without
from wardround.privacy.folding import Folded
from wardround.study.protocol import Protocol
from wardround.study.task import State

TRIALS, K = 20, 10
PLAN = plan()
SHAPE = Shape.of(PLAN)


def wire(protocol: Protocol, listed: list[Row]) -> Mapping[str, np.ndarray]:
    """Return a hospital's answer as the coordinating centre reads it."""
    ask = algorithm(protocol).ask(State("preflight", 0, {}))
    return decoded(ask.layout, unpack(ask.layout, packed(ask.layout, told(protocol, dataset(protocol, "x", listed)))))


def columns(field: str) -> list[int]:
    return [place for place, (name, _) in enumerate(SHAPE.classes) if name == field]


def test_how_many_ages_are_missing_does_not_follow_from_sums_that_must_be_whole() -> None:
    single = excluded = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        count, missing = int(rng.integers(60, 400)), int(rng.integers(1, K))
        listed = rows(1000 + seed, count)
        for place in rng.choice(count, missing, replace=False):
            listed[place]["age"] = ""
        got, row = wire(PLAN, listed), SHAPE.numbers.index("age")
        middle, half = SHAPE.scales["age"]
        means, step = middle + half * got["quarters"][row], half * _grid(got["quarters"][row])
        fits = []
        for guess in range(1, K):
            sizes = np.diff([int((count - guess) * cut) for cut in CUTS])[: int(got["groups"][row])]
            fits.append(bool(np.all(np.abs(means * sizes - np.round(means * sizes)) <= sizes * step / 2)))
        single += sum(fits) == 1
        excluded += sum(not one for one in fits)
    assert single == 0 and excluded == 0


def _grid(values: np.ndarray) -> float:
    """Return the largest power of two of which all values are multiples."""
    step = 1.0
    while np.any(values / step != np.round(values / step)):
        step /= 2
    return step


def test_how_many_few_are_does_not_follow_from_mean_ranks_that_must_be_whole() -> None:
    right = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        count, few = int(rng.integers(60, 300)), int(rng.integers(1, K))
        listed = rows(2000 + seed, count)
        wards = np.array(["a"] * count)
        wards[count // 3 :], wards[:few] = "b", "c"
        for one, ward in zip(listed, wards, strict=True):
            one["ward"] = str(ward)
        got = wire(PLAN, listed)
        table = got["codes"][SHAPE.cells("ward")]
        largest, fits = int(np.argmax(table)), set(range(1, K))
        for row in range(len(SHAPE.numbers)):
            column = columns("ward")[largest]
            if got["ranks/told"][row, column]:
                mean = got["ranks"][row, column] * count
                sums = {guess: mean * (table[largest] - guess) for guess in fits}
                fits = {guess for guess, one_sum in sums.items() if abs(one_sum - round(one_sum)) < 1e-7}
        right += fits == {few}
    assert right <= TRIALS / 8


def test_a_patient_without_a_number_is_missed_in_no_class() -> None:
    right = tried = 0
    for seed in range(2 * TRIALS):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(70, 400))
        listed, hidden = rows(seed, count), int(rng.integers(count))
        listed[hidden]["glucose"] = ""
        got, row = wire(PLAN, listed), SHAPE.numbers.index("glucose")
        assert got["numbers"][row].tolist() == [count, 0, 0, 0, 0] and got["numbers/few"][row].tolist() == [0, 0, 1, 0, 0]
        for field, codes in (("sex", ("f", "m")), ("ill", ("no", "yes"))):
            if all(got["ranks/told"][row, columns(field)]):
                counts, means = got["codes"][SHAPE.cells(field)][:2], got["ranks"][row, columns(field)]
                # all ranks sum to nothing once the hidden one is taken from its class; the exact figures did so in every trial
                guess = int(np.argmin(np.abs(np.sum(means * counts) - means)))
                tried += 1
                right += codes[guess] == listed[hidden][field]
    assert tried > TRIALS and abs(right / tried - 0.5) < 0.2


def test_who_lacks_a_number_in_a_class_does_not_follow_from_the_classes_means() -> None:
    answers = []
    for ill in (0, 3, 20):
        listed = rows(7, 150)
        yes, no = ([place for place, row in enumerate(listed) if row["ill"] == one] for one in ("yes", "no"))
        for place in yes[:ill] + no[: 28 - ill]:
            listed[place]["temperature"] = ""
        got, row = wire(PLAN, listed), SHAPE.numbers.index("temperature")
        healthy, sick = got["codes"][SHAPE.cells("ill")][:2]
        low, high = got["ranks"][row, columns("ill")]
        assert got["ranks/told"][row, columns("ill")].all()
        answers.append((high * sick + low * healthy) / (high - low))
    assert np.all(np.abs(answers) < 5), "what solved to 3 of 28 before is nothing but rounding, whoever is missing"


def test_rows_without_a_time_do_not_follow_from_the_halves() -> None:
    timed = plan(timed=True)
    for missing in (1, 4, 9):
        listed = [
            {**row, "seen": "" if place < missing else f"20{10 + place % 10}-0{1 + place % 9}-11"} for place, row in enumerate(rows(3, 100))
        ]
        got, row = wire(timed, listed), Shape.of(timed).numbers.index("@time")
        assert got["numbers"][row].sum() == got["halves"].sum() == 100
        assert got["halves/few"].tolist() == [0, 0, 1] and got["halves"][2] == 0


@pytest.mark.parametrize("beside", [1, 5])
def test_numbers_beyond_the_range_beside_a_marker_do_not_follow(beside: int) -> None:
    listed = rows(3, 120)
    for place in range(12 + beside):
        listed[place]["glucose"] = "9999" if place < 12 else "3000"
    got, row = wire(PLAN, listed), SHAPE.numbers.index("glucose")
    assert dict(zip(PARTS, got["numbers"][row], strict=True)) == {"inside": 108, "outside": 0, "missing": 0, "unreadable": 0, "shared": 12}
    assert got["numbers/few"][row].tolist() == [0, 1, 0, 0, 0]
    assert not any(name.endswith("spike/count") for name in got)


def test_whether_a_mean_is_told_follows_from_the_tables_alone() -> None:
    for seed in range(TRIALS):
        rng = np.random.default_rng([seed, 8])
        listed = rows(seed, int(rng.integers(12, 120)))
        for row in listed:
            for field, share in zip(row, rng.choice([0.0, 0.03, 0.3], len(row)), strict=True):
                row[field] = "" if rng.random() < share else row[field]
        got = wire(PLAN, listed)
        for place in range(len(SHAPE.numbers)):
            table = Folded(got["numbers"][place], got["numbers/few"][place] > 0)
            for field, codes in SHAPE.codes.items():
                cells = SHAPE.cells(field)
                counts = Folded(got["codes"][cells], got["codes/few"][cells] > 0)
                expected = may_be_told(counts, len(codes), most_without(table, K), K)
                assert np.array_equal(got["ranks/told"][place, columns(field)] > 0, expected)


def test_where_nearly_all_share_a_value_the_few_others_are_in_no_mean() -> None:
    for others in ("37.9", "41.0"):
        listed = [{**row, "temperature": "36.8" if place >= 6 else others} for place, row in enumerate(rows(3, 60))]
        got, row = wire(PLAN, listed), SHAPE.numbers.index("temperature")
        assert len(set(got["quarters"][row])) == 1 and got["numbers"][row].tolist() == [60, 0, 0, 0, 0]


def test_a_corrected_value_is_not_the_difference_of_two_preflights() -> None:
    moved = 0
    for seed in range(TRIALS):
        listed = rows(seed, 90)
        first = wire(PLAN, listed)
        place = int(np.random.default_rng(seed).integers(90))
        listed[place]["age"] = f"{float(listed[place]['age']) + 4:g}"
        row, second = SHAPE.numbers.index("age"), wire(PLAN, listed)
        change = np.abs(second["quarters"][row] - first["quarters"][row])
        moved += bool(change.any())
        assert np.all((change == 0) | (change >= _grid(first["quarters"][row])))
    assert moved <= TRIALS / 2, "exact means changed in nearly every trial, by the correction over the group's size"
