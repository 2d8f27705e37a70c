"""Each statistic over three sites is that of all rows in one place, in plain and in secure sums."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learning.statistics.studies import Rows, codes, column, plan, rows, run
from wardround.learning.statistics.chances import chi_square_above
from wardround.record.report import Verdict
from wardround.record.verify import verify

Tables = dict[str, Any]


@pytest.fixture(scope="module")
def given() -> Rows:
    return rows()


@pytest.fixture(scope="module", params=["plain", "secure"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, given: Rows) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    return folder / "run", run(folder, plan(request.param), given)


@pytest.fixture(scope="module")
def tables(ran: tuple[Path, dict[str, Any]]) -> Tables:
    return dict(ran[1]["statistics"])


def field(table: Any, name: str) -> Any:
    return next(one for one in table["fields"] if one["field"] == name)


def test_describe(tables: Tables, given: Rows) -> None:
    weight = column(given, "weight")
    one = field(tables["describe"], "weight")
    there = weight[~np.isnan(weight)]
    assert (one["known"]["count"], one["missing"]["count"]) == (len(there), len(weight) - len(there))
    assert one["mean"] == pytest.approx(there.mean(), rel=1e-12)
    assert one["deviation"] == pytest.approx(there.std(ddof=1), rel=1e-10)
    assert one["lowest_bin"]["from"] <= there.min() < one["lowest_bin"]["to"]
    assert "range" not in one and there.min() not in one.values()


def test_histogram(tables: Tables, given: Rows) -> None:
    counts = [cell["count"] for cell in field(tables["histogram"], "age")["cells"]]
    assert counts == np.histogram(column(given, "age"), bins=10, range=(0, 100))[0].tolist()
    wards = {cell["code"]: cell["count"] for cell in field(tables["histogram"], "ward")["cells"]}
    assert wards == {name: int((codes(given, "ward") == name).sum()) for name in ("a", "b", "never")}


def test_quantiles_lie_in_their_bins(tables: Tables, given: Rows) -> None:
    for name in ("age", "weight", "days"):
        values = column(given, name)
        values = values[~np.isnan(values)]
        for one in field(tables["quantiles"], name)["quantiles"]:
            true = np.quantile(values, one["at"], method="inverted_cdf")
            assert one["from"] <= true <= one["to"]
            assert one["width"] == pytest.approx({"age": 100, "weight": 200, "days": 50}[name] / 10**3)


def test_crosstab(tables: Tables, given: Rows) -> None:
    sex, died = codes(given, "sex"), codes(given, "died")
    true = [[int(((sex == one) & (died == other)).sum()) for other in ("no", "yes")] for one in ("f", "m")]
    found = tables["crosstab"]
    assert [[cell["count"] for cell in line[:2]] for line in found["cells"][:2]] == true
    counts = np.array(true)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    assert found["chi_square"] == pytest.approx(((counts - expected) ** 2 / expected).sum())
    assert found["degrees_of_freedom"] == 1


def test_correlation_and_a_constant_column(tables: Tables, given: Rows) -> None:
    found = {tuple(one["fields"]): one for one in tables["correlation"]["pairs"]}
    age, weight = column(given, "age"), column(given, "weight")
    both = ~np.isnan(weight)
    one = found["age", "weight"]
    assert one["r"] == pytest.approx(np.corrcoef(age[both], weight[both])[0, 1], abs=1e-12)
    assert one["low"] < one["r"] < one["high"]
    assert found["age", "flat"]["r"] is None and "constant" in found["age", "flat"]["note"]


def test_survival_by_the_definition(tables: Tables, given: Rows) -> None:
    days, died, ward = column(given, "days"), codes(given, "died") == "yes", codes(given, "ward")
    by_group = {one["group"]: one for one in tables["survival"]["groups"]}
    for name in ("a", "b"):
        here = ward == name
        left = 1.0
        for point in by_group[name]["points"]:
            at_risk = int((here & (days >= point["time"])).sum())
            events = int((here & died & (days == point["time"])).sum())
            left *= 1 - events / at_risk
            assert (point["at_risk"], point["events"]) == (at_risk, events)
            assert point["survival"] == pytest.approx(left, abs=1e-12)
    assert by_group["never"]["points"] == [] and by_group["never"]["rows"] == 0
    assert tables["survival"]["log_rank"]["degrees_of_freedom"] == 1, "an empty group is no group of the test"


def test_chi_square_has_the_known_critical_values() -> None:
    for value, freedom, p in (
        (3.841458820694124, 1, 0.05),
        (18.307038053275146, 10, 0.05),
        (2.705543454095404, 1, 0.1),
        (9.21034, 2, 0.01),
    ):
        assert chi_square_above(value, freedom) == pytest.approx(p, rel=1e-6)
    assert chi_square_above(0.0, 3) == 1.0


def test_the_record_vouches_for_the_tables_and_no_model_is_written(ran: tuple[Path, dict[str, Any]]) -> None:
    folder, result = ran
    verdicts = {line.name: line.verdict for line in verify(folder).lines}
    assert [name for name, verdict in verdicts.items() if verdict is not Verdict.PASS] == ["witnesses"]
    assert not (folder / "model.safetensors").exists()
    assert result["model"] is None and "verdicts" not in result
    assert result["statistics"]["describe"]["sites"] == ["east", "north", "south"]


def test_an_edited_table_is_found(tmp_path: Path, given: Rows) -> None:
    run(tmp_path, plan("plain", kinds=["describe"]), given)
    result = tmp_path / "run" / "result.json"
    result.write_text(result.read_text().replace('"known"', '"known" '))
    assert {line.name: line.verdict for line in verify(tmp_path / "run").lines}["results"] is Verdict.FAIL


def test_the_algorithms_can_go_to_a_worker() -> None:
    for algorithm in plan().algorithms:
        again = pickle.loads(pickle.dumps(algorithm))
        assert again.phase == algorithm.phase


def test_a_field_that_a_site_lacks_is_missing_there(tmp_path: Path, given: Rows) -> None:
    found = run(tmp_path, plan("secure", kinds=["describe", "correlation"]), given, [("north", "weight")])["statistics"]
    one = field(found["describe"], "weight")
    others = {site: listed for site, listed in given.items() if site != "north"}
    assert one["known"]["count"] == int((~np.isnan(column(others, "weight"))).sum())
    assert one["known"]["count"] + one["missing"]["count"] == sum(map(len, given.values()))
