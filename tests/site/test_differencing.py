"""An attacker asks a thousand counts in study after study at one hospital's true gate, and adds and subtracts whatever comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.privacy.test_disclosure import derived, patients
from tests.site.counted import asking, join, phase, policy, ready, study
from wardround.learning.statistics.statistic import Axis
from wardround.site.asked import asked_so_far
from wardround.site.folder import SiteFolder
from wardround.study.arrays import Arrays
from wardround.study.protocol import Protocol

K, QUERIES = 10, 1000
NAMES = ("age", "sex", "pain", "pressure", "cholesterol")
NOW = 1.8e9


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
        phases = [phase("histogram", f"bins = {bins}"), phase("crosstab", across), phase("describe", f"bins = {bins}")]
        order = [phases[place] for place in rng.permutation(3)]
        found.append(study("".join(order), f"study{len(found)}", least, fields="\n".join(fields)))
        asked += 5 * (bins + 1) + (crossed + 1) ** 2 + 5 * (2 + bins)
    return found


def attack(folder: Path, least: int, ledger: str = "../ledger") -> tuple[list[int], int]:
    """Return the sizes, under K, of sets of patients whose count follows from all that left, and how many counts did."""
    rows = patients()
    table = [{"patient": f"P{number}", **dict(zip(NAMES, map(float, row), strict=True))} for number, row in enumerate(rows)]
    told: list[np.ndarray] = [np.ones(len(rows))]
    silent: list[np.ndarray] = []
    for agreed in studies(least):
        hospital = ready(join(folder / agreed.study, agreed, table, policy(ledger, least=least)))
        with asking(hospital) as asked:
            for one in agreed.phases:
                sums = asked.counts(one.name)
                for inside, hidden in cells(agreed, one.name, sums, rows):
                    (silent if hidden else told).append(inside)
    return sorted(derived(np.unique(told, axis=0), list(np.unique(silent, axis=0)) if silent else [])), len(told) - 1


def cells(agreed: Protocol, name: str, sums: Arrays, rows: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Return who is in each cell that a phase counts, float64 [N], and whether it was held back; what was let out must be the truth."""
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

    match name:
        case "histogram":
            for field in NAMES:
                add(place(field, options.bins), sums[field], sums[f"{field}/held"])
        case "crosstab":
            one, other = place(options.rows, options.bins), place(options.columns, options.bins)
            add(one * (options.bins + 1) + other, sums["pairs"], sums["pairs/held"])
        case _:
            for row, field in enumerate(sorted(NAMES)):
                add(place(field, options.bins), sums["spread"][row], sums["spread/held"][row])
    return found


def test_a_thousand_counts_in_many_studies_tell_no_count_under_k(tmp_path: Path) -> None:
    found, told = attack(tmp_path, K)
    assert found == []
    assert told >= 40, "the rule is no reason to tell nothing"
    listed = asked_so_far(SiteFolder(tmp_path / "study0"), NOW)
    assert listed is not None and listed["counts"]["asked"] >= QUERIES


@pytest.mark.parametrize(("least", "ledger"), [(1, "../ledger"), (K, "ledger")], ids=["no suppression", "a ledger for each study"])
def test_the_same_attack_succeeds_where_suppression_or_the_common_ledger_is_missing(tmp_path: Path, least: int, ledger: str) -> None:
    found, told = attack(tmp_path, least, ledger)
    assert 1 in found, "single patients are told apart"
    assert least > 1 or len(found) > 20
    assert told > 300
