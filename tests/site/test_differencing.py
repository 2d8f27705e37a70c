"""An attacker asks a thousand counts in study after study at one hospital's true gate, and adds and subtracts whatever comes back.

Sums of values are answers like counts: a sum is a count in which each patient counts as often as its value says.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tests.privacy.test_disclosure import derived, patients
from tests.site.counted import asking, join, phase, policy, ready, study
from wardround.learning.statistics.statistic import TOOK_PART, Axis, edges_of
from wardround.site.folder import SiteFolder
from wardround.site.reviewing import asked_so_far
from wardround.study.arrays import Arrays
from wardround.study.findings import FileRefused
from wardround.study.protocol import Protocol

K, QUERIES = 10, 1000
NAMES = ("age", "sex", "pain", "pressure", "cholesterol")
NOW = 1.8e9
SICK = 'sick = { type = "code", codes = ["no", "yes"] }'
SURVIVAL = 'time = "cholesterol"\nevent = "sick"\nhappened = "yes"\n'


def studies(least: int) -> list[Protocol]:
    """Return studies that divide the same numbers anew each time, until a thousand counts are asked."""
    found: list[Protocol] = []
    rng, asked = np.random.default_rng(1), 0
    rows = patients()
    while asked < QUERIES:
        bins, crossed = (int(one) for one in rng.integers(3, 9, 2))
        fields = []
        for name, column in zip(NAMES, rows.T, strict=True):
            low, high = column.min() - rng.integers(1, 30), column.max() + rng.integers(1, 30)
            fields.append(f'{name} = {{ type = "number", unit = "1", range = [{low}, {high}] }}')
        one, other = rng.choice(NAMES, 2, replace=False)
        across = f'rows = "{one}"\ncolumns = "{other}"\nbins = {crossed}'
        at_least, pain = np.quantile(rows[:, 0], rng.integers(1, 5) / 5), rng.integers(2, 5)  # the same edges come again
        criteria = f'criteria = [{{ field = "age", at_least = {at_least} }}, {{ field = "pain", below = {pain} }}]'
        phases = [
            phase("histogram", f"bins = {bins}"),
            phase("crosstab", across),
            phase("describe", f"bins = {bins}"),
            phase("correlation"),
            phase("feasibility", criteria),
            phase("quantiles", f'fields = ["{one}"]\nat = [0.5]\nbins = {bins}'),
            phase("survival", f"{SURVIVAL}until = {float(rows[:, 4].max())}\nstep = {100.0 * int(rng.integers(1, 3))}"),
        ]
        order = [phases[place] for place in rng.permutation(len(phases))]
        found.append(study("".join(order), f"study{len(found)}", least, fields="\n".join([*fields, SICK])))
        asked += 5 * (bins + 1) + (crossed + 1) ** 2 + 5 * (2 + bins) + 10 * 4 + 11 + bins + 3 + 10
    return found


def attack(folder: Path, least: int, ledger: str = "../ledger") -> tuple[list[int], int]:
    """Return the sizes, under K, of sets of patients whose count follows from all that left, and how many counts did."""
    rows = patients()
    table: list[dict[str, object]] = [
        {"patient": f"P{number}", **dict(zip(NAMES, map(float, row), strict=True)), "sick": "yes" if row[2] > 3 else "no"}
        for number, row in enumerate(rows)
    ]
    told: list[np.ndarray] = [np.ones(len(rows))]
    silent: list[np.ndarray] = []
    for agreed in studies(least):
        hospital = ready(join(folder / agreed.study, agreed, table, policy(ledger.format(agreed.study), least=least)))
        with asking(hospital) as asked:
            for one in agreed.phases:
                sums = asked.counts(one.name)
                for inside, hidden in cells(agreed, one.name, sums, rows):
                    (silent if hidden else told).append(inside)
    return sorted(derived(np.unique(told, axis=0), list(np.unique(silent, axis=0)) if silent else [])), len(told) - 1


def cells(agreed: Protocol, name: str, sums: Arrays, rows: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Return who is in each cell that a phase counts, or how often in a sum, float64 [N], and whether it was held back.

    What was let out must be the truth.
    """
    contract, columns = agreed.contract, dict(zip(NAMES, rows.T, strict=True))
    options, found = agreed.by_phase[name].options, []

    def place(field: str, bins: int) -> np.ndarray:
        edges = Axis.of(contract, field, bins).edges
        return np.asarray(np.minimum(np.searchsorted(edges, columns[field], side="right") - 1, bins - 1))

    def add(where: np.ndarray, counts: np.ndarray, held: np.ndarray) -> None:
        for cell, (count, hidden) in enumerate(zip(counts, held, strict=True)):
            inside = (where == cell).astype(float)
            assert hidden or count == inside.sum(), "what was let out is what was asked"
            found.append((inside, bool(hidden)))

    def values(weights: np.ndarray, total: float, hidden: float) -> None:
        assert hidden or total == pytest.approx(weights.sum(), abs=1e-5), "a sum is the truth too"
        if not hidden:
            found.append((weights, False))

    match name:
        case "histogram":
            for field in NAMES:
                add(place(field, options.bins), sums[field], sums[f"{field}/held"])
        case "crosstab":
            one, other = place(options.rows, options.bins), place(options.columns, options.bins)
            add(one * (options.bins + 1) + other, sums["pairs"], sums["pairs/held"])
        case "describe":
            for row, field in enumerate(sorted(NAMES)):
                z = scaled(agreed, columns, field)
                add(place(field, options.bins), sums["spread"][row], sums["spread/held"][row])
                values(z, sums["sum"][row], sums["summed/held"][row])
                values(z * z, sums["squares"][row], sums["summed/held"][row])
        case "correlation":
            for row, pair in enumerate(combinations(sorted(NAMES), 2)):
                x, y = (scaled(agreed, columns, field) for field in pair)
                for part, total in zip((x, y, x * x, y * y, x * y), sums["sums"][row], strict=True):
                    values(part, total, sums["summed/held"][row])
        case "feasibility":
            met = np.ones(len(rows), dtype=bool)
            for row, one in enumerate(options.criteria):
                meets = columns[one.field] >= one.at_least if one.at_least is not None else columns[one.field] < one.below
                met &= meets
                add(np.where(meets, 0, 1), sums["alone"][row][:2], sums["alone/held"][row][:2])
                add(np.where(met, 0, 1), sums["left"][row : row + 1], sums["left/held"][row : row + 1])
        case "quantiles":
            (field,) = options.fields
            ends = edges_of(contract.fields[field].range or (0.0, 0.0), options.bins)
            where = np.searchsorted(ends, columns[field], side="right")
            add(where, sums["parts"][0, 0], np.repeat(sums["parts/held"][0, 0], options.bins + 3))
        case _:
            held, count = bool(sums["ends/held"]), sums["ends"].shape[1]
            at = np.minimum(np.ceil(columns[options.time] / options.step - 1e-9).astype(np.int64), count - 1)
            at[columns[options.time] > options.until] = count - 1
            add(at * 2 + (columns["pain"] > 3), sums["ends"].reshape(-1), np.repeat(held, 2 * count))
    return found


def scaled(agreed: Protocol, columns: dict[str, np.ndarray], field: str) -> np.ndarray:
    """Return a number about the middle of its range, in halves of this."""
    low, high = agreed.contract.fields[field].range or (-1.0, 1.0)
    return np.asarray((columns[field] - (low + high) / 2) / ((high - low) / 2))


def test_a_thousand_counts_in_many_studies_tell_no_count_under_k(tmp_path: Path) -> None:
    found, told = attack(tmp_path, K)
    assert found == []
    assert told >= 40, "the rule is no reason to tell nothing"
    listed = asked_so_far(SiteFolder(tmp_path / "study0"), NOW)
    assert listed is not None and listed["counts"]["asked"] >= QUERIES


@pytest.mark.parametrize(("least", "ledger"), [(1, "../ledger"), (K, "../ledger-{}")], ids=["no suppression", "a ledger for each study"])
def test_the_same_attack_succeeds_where_suppression_or_the_common_ledger_is_missing(tmp_path: Path, least: int, ledger: str) -> None:
    found, told = attack(tmp_path, least, ledger)
    assert 1 in found, "single patients are told apart"
    assert least > 1 or len(found) > 10
    assert told > 300


WARD = 'ward = { type = "code", codes = ["a", "b", "c", "d"] }\nage = { type = "number", unit = "a", range = [0, 100] }\n'
PADDED = f'{WARD}sex = {{ type = "code", codes = ["f", "m"] }}'
FOUR: list[dict[str, object]] = [
    {"patient": f"M{i:04}", "ward": "a" if i < 100 else "b" if i < 104 else "c" if i < 204 else "d", "age": 20 + i % 60, "sex": "fm"[i % 2]}
    for i in range(304)
]


def wards(codes: str, besides: str = "", name: str = "feasibility") -> str:
    return phase("feasibility", f'criteria = [{{ field = "ward", one_of = [{codes}] }}{besides}]', name)


def left(folder: Path, name: str, phases: str) -> tuple[int, bool]:
    """Return how many are left after the first criterion, and whether that was held back."""
    with asking(ready(join(folder / name, study(phases, name, fields=PADDED), FOUR))) as asked:
        sums = asked.counts("feasibility")
        return int(sums["left"][0]), bool(sums["left/held"][0])


@pytest.mark.parametrize("besides", [("", "", ""), (', { field = "age", known = true }', ', { field = "sex", one_of = ["m"] }', "")])
def test_three_tables_of_a_field_together_tell_no_small_count(tmp_path: Path, besides: tuple[str, str, str]) -> None:
    """204 less 100 less 100 would be the four of ward b; that a table asks another field besides changes nothing."""
    asked = [left(tmp_path, f"s{place}", wards(one, other)) for place, (one, other) in enumerate(zip(THREE, besides, strict=True))]
    assert asked == [(100, False), (100, False), (0, True)]
    alone = [left(tmp_path / "own", name, wards(THREE[2])) for name in ("s3",)]
    assert alone == [(204, False)], "alone it would be told"


THREE = ('"a"', '"c"', '"a", "b", "c"')


def test_one_plan_has_one_criterion_for_a_field() -> None:
    with pytest.raises(FileRefused, match="criterion for 'ward' is asked in 'one' already"):
        study(wards(THREE[0], name="one") + wards(THREE[1], name="two"), fields=PADDED)


CODED = 'hiv = { type = "number", unit = "1", range = [0, 1] }\nsmoker = { type = "number", unit = "1", range = [0, 1] }'


def test_the_sum_of_a_number_that_is_a_code_is_a_count(tmp_path: Path) -> None:
    def sums(name: str, sick: int, both: int) -> tuple[Arrays, Arrays, dict[str, object]]:
        rows = [{"patient": f"M{i:04}", "hiv": int(i < sick), "smoker": int(i < both or i % 2)} for i in range(300)]
        agreed = study(phase("describe", "bins = 2") + phase("correlation"), name, fields=CODED)
        with asking(ready(join(tmp_path / name / name, agreed, rows))) as asked:
            one, other = asked.counts("describe"), asked.counts("correlation")
        written = agreed.by_phase["describe"].told({**one, TOOK_PART: np.asarray(1.0)})  # type: ignore[attr-defined]
        return one, other, written["fields"][0]

    one, other, written = sums("few", 3, 3)
    assert one["sum"][0] == one["squares"][0] == 0 and one["summed/held"].tolist() == [1, 0] and one["sum"][1] != 0
    assert not other["sums"].any() and other["summed/held"].tolist() == [1]
    assert written["mean"] is None and written["deviation"] is None
    one, other, written = sums("many", 40, 0)
    assert (
        one["summed/held"].tolist() == [0, 0]
        and other["summed/held"].tolist() == [0]
        and written["mean"] == pytest.approx(40 / 300, abs=1e-3)
    )
    one, other, _ = sums("joint", 18, 18)
    assert one["summed/held"].tolist() == [0, 0] and other["summed/held"].tolist() == [0]


def test_a_table_that_leaves_two_values_open_is_held_back_after_the_sum(tmp_path: Path) -> None:
    """Two cells are held back, one of three patients: their number and the sum of their values would tell how many each has."""
    rows: list[dict[str, object]] = [{"patient": f"M{i:04}", "score": i % 30 if i < 600 else 30} for i in range(603)]
    field = 'score = { type = "number", unit = "1", range = [0, 31] }\nspare = { type = "code", codes = ["a", "b"] }'
    single = study(phase("histogram", 'fields = ["score"]\nbins = 31'), "single", fields=field)
    summed = study(phase("describe", 'fields = ["score"]\nbins = 2'), "summed", fields=field)
    with asking(ready(join(tmp_path / "alone" / "b", single, rows))) as asked:
        assert asked.counts("histogram")["score/held"].sum() == 3, "the small cell, one that covers, and missing values"
    with asking(ready(join(tmp_path / "a", summed, rows))) as asked:
        assert asked.counts("describe")["summed/held"].tolist() == [0]
    with asking(ready(join(tmp_path / "b", single, rows))) as asked:
        assert asked.counts("histogram")["score/held"].all()
    with asking(ready(join(tmp_path / "alone" / "c", summed, rows))) as asked:
        assert asked.counts("describe")["summed/held"].tolist() == [1], "nor the sum after the table"
