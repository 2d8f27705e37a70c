"""Small counts do not leave a site in plain sums, and are not written of totals; who held back is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learning.statistics.studies import column, plan, rows, run
from tests.privacy.test_disclosure import derived
from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import Statistic
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.streams import Stream
from wardround.study.task import State

K = 10


def counts_in(found: Any) -> Iterator[Any]:
    """Yield every count in a table."""
    if isinstance(found, dict):
        if "count" in found:
            yield found["count"]
        for key, value in found.items():
            if key in ("at_risk", "events", "censored", "rows") and not isinstance(value, dict):
                yield value
            yield from counts_in(value)
    elif isinstance(found, list):
        for one in found:
            yield from counts_in(one)


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_no_small_count_is_written_nor_drawn(combine: str, tmp_path: Path) -> None:
    result = run(tmp_path, plan(combine, K), rows())
    tables = result["statistics"]
    told = [one for one in counts_in({name: {**table, "rows": None} for name, table in tables.items()}) if one is not None]
    numbers = [one for one in told if isinstance(one, int)]
    assert len(numbers) > 20 and all(one == 0 or one >= K for one in numbers)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<svg" in page and "withheld" in page
    marks = json.dumps(tables)
    assert "<10" not in marks and '"withheld"' in marks, "one label, whether a hidden cell is empty, small or covers for one"
    assert ("held_back_at" in marks) == (combine == "plain")


def answers(least: int, site: Dataset, kinds: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Return what a site's worker hands to its gate, phase after phase, each keeping what it proposed."""
    protocol = plan("plain", least, kinds)
    mine: dict[str, Arrays] = {}
    found: dict[str, dict[str, np.ndarray]] = {}
    for algorithm in protocol.algorithms:
        state = algorithm.begin(protocol, {}, Stream.public(0))
        assert isinstance(state, State)
        answer, kept = algorithm.answer(algorithm.ask(state), site, mine, Stream.public(1))
        found[algorithm.phase] = dict(answer.sums)
        if kept is not None:
            mine[algorithm.phase] = kept
    return found


def site(count: int = 60, weights: int = 60) -> Dataset:
    """Return made-up rows in the contract's terms; `weights` of them have a weight."""
    rng = np.random.default_rng(4)
    weight = rng.normal(80, 10, count)
    weight[weights:] = np.nan
    columns: dict[str, np.ndarray] = {
        "age": np.clip(rng.normal(60, 12, count).round(), 0, 100),
        "flat": np.full(count, 7.0),
        "weight": weight,
        "sex": rng.integers(0, 2, count).astype(np.int32),
        "ward": rng.integers(0, 2, count).astype(np.int32),
        "days": rng.integers(0, 50, count).astype(np.float64),
        "died": rng.integers(0, 2, count).astype(np.int32),
    }
    return Dataset(columns, np.arange(count), np.zeros(count, dtype=np.int8))


def test_what_leaves_a_site_is_no_small_count_in_any_phase() -> None:
    for phase, sums in answers(K, site(), ["describe", "histogram", "quantiles", "crosstab", "correlation", "survival"]).items():
        for name, value in sums.items():
            if not name.endswith("/held") and name not in ("sum", "squares", "sums"):
                assert not np.any((value > 0) & (value < K)), (phase, name)


def test_without_the_rule_small_counts_leave() -> None:
    assert np.any(answers(1, site(), ["histogram"])["histogram"]["age"] == 1)


def test_few_missing_values_hold_back_the_sums_too() -> None:
    sums = answers(K, site(weights=57), ["describe"])["describe"]
    place = 6  # age, days, died, flat, sex, ward, weight: fields stand in order of name
    assert sums["known"][place].tolist() == [0, 0] and sums["known/held"][place] == 1
    assert sums["sum"][-1] == 0 and sums["squares"][-1] == 0, "a sum without its count would still tell"
    assert sums["known/held"][0] == 0


def test_a_later_table_is_held_against_an_earlier_one() -> None:
    protocol = plan("plain", K, ["histogram", "crosstab"])
    asked = protocol.by_phase["crosstab"]
    assert isinstance(asked, Statistic)
    data, halves = site(40), np.repeat([0, 1], [20, 20])
    earlier = {"histogram": {"left|0.sex|sex": halves.astype(np.int32)}}
    fresh, bound = Leaving(asked, data, {}), Leaving(asked, data, earlier)
    cut = np.repeat([0, 1], [17, 23])
    assert fresh.table("x", ("sex",), cut, 2)[0].tolist() == [17, 23]
    assert bound.table("x", ("sex",), cut, 2)[1].tolist() == [True, True], "17 and 20 would give 3"
    assert bound.table("y", ("age",), cut, 2)[1].tolist() == [False, False], "no field in common, nothing to subtract"


def test_a_secure_sum_gets_exact_counts(tmp_path: Path) -> None:
    given = rows({"north": 6, "south": 7, "east": 8})
    found = run(tmp_path, plan("secure", K, ["describe"]), given)["statistics"]["describe"]["fields"]
    age = next(one for one in found if one["field"] == "age")
    assert age["known"]["count"] == 21
    assert age["mean"] is None, "with few values at each site a sum could tell how many have one"
    given = rows({"north": 60, "south": 7, "east": 8})
    found = run(tmp_path / "more", plan("secure", K, ["describe"]), given)["statistics"]["describe"]["fields"]
    age = next(one for one in found if one["field"] == "age")
    assert age["mean"] == pytest.approx(column(given, "age").mean(), abs=0.06) and age["mean"] == round(age["mean"], 1)


def test_a_code_written_as_a_number_has_no_mean_in_a_secure_sum(tmp_path: Path) -> None:
    given = rows()
    for number, row in enumerate(row for listed in given.values() for row in listed):
        row["flat"] = "1" if number % 95 == 0 else "0"
    found = run(tmp_path, plan("secure", K, ["describe", "correlation"]), given)["statistics"]
    flat = next(one for one in found["describe"]["fields"] if one["field"] == "flat")
    assert flat["mean"] is None and flat["deviation"] is None and flat["known"]["count"] == 280
    assert {one["note"] for one in found["correlation"]["pairs"] if "flat" in one["fields"]} == {"withheld"}


def test_few_missing_values_hide_the_counts_of_curves_and_pairs_in_totals(tmp_path: Path) -> None:
    given = rows()
    for listed in given.values():
        listed[0]["days"] = listed[1]["age"] = ""
    found = run(tmp_path, plan("secure", K, ["correlation", "survival"]), given)["statistics"]
    assert found["survival"]["missing"]["count"] == "withheld"
    curves = [one for one in found["survival"]["groups"] if one["points"]]
    assert len(curves) == 2 and all(one["rows"] == "withheld" and one["points"][0]["at_risk"] is None for one in curves)
    assert all(0 < point["survival"] < 1 for one in curves for point in one["points"][:-1])
    pair = found["correlation"]["pairs"][0]
    assert pair["rows"]["count"] == "withheld" and -1 < pair["r"] < 1
    assert "withheld" in (tmp_path / "run" / "report.html").read_text()


def test_three_sites_too_small_tell_nothing_in_a_plain_sum(tmp_path: Path) -> None:
    given = rows({"north": 6, "south": 7, "east": 8})
    found = run(tmp_path, plan("plain", K, ["describe", "survival", "quantiles"]), given)["statistics"]
    assert {one["known"]["count"] for one in found["describe"]["fields"]} == {"withheld"}
    assert {one["known"]["held_back_at"] for one in found["describe"]["fields"]} == {3}
    assert {one["note"] for one in found["survival"]["groups"]} == {"withheld"}
    assert found["survival"]["held_back_at"] == 3 and all(not one["points"] for one in found["survival"]["groups"])
    assert all(one["from"] is None for part in found["quantiles"]["fields"] for one in part["quantiles"])


def test_all_tables_of_a_study_together_give_no_small_count_away() -> None:
    """Whoever sees all that a site let out in a study adds and subtracts: no class of fewer than k patients follows."""
    protocol, data = plan("plain", K, ["describe", "histogram", "quantiles", "crosstab", "correlation"]), site(300, 270)
    mine: dict[str, Arrays] = {}
    for algorithm in protocol.algorithms:
        state = algorithm.begin(protocol, {}, Stream.public(0))
        assert isinstance(state, State)
        _, kept = algorithm.answer(algorithm.ask(state), data, mine, Stream.public(1))
        mine[algorithm.phase] = kept or {}
    labels = [one for tables in mine.values() for key, one in tables.items() if key.startswith("left|")]
    told = [np.ones(len(data))] + [(one == cell).astype(float) for one in labels for cell in np.unique(one)]
    assert len(told) > 40, "enough leaves to be of use"
    hidden = [(data.columns[name] == value).astype(float) for name in data.columns for value in np.unique(data.columns[name])]
    assert derived(np.array(told), hidden, pairs=False) == []
