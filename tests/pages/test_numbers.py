"""A study that predicts a number, from the synthetic rows of its template to the page, and what the page may not show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import wardround
from wardround.outcome import copy_for
from wardround.pages import numbers
from wardround.pages.report import render
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.study.arrays import Arrays
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.templates import template

SITES = {"east": 260, "north": 300, "south": 220}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    text = (
        template("regression").replace("rounds = 60 ", "rounds = 8 ").replace("tune = { learning_rate = [0.01, 0.03, 0.1] }", "tune = {}")
    )
    text = text.replace("local_epochs = 1", "local_epochs = 2").replace('combine = "secure"', 'combine = "plain"')
    text = text.replace("counts = false", "counts = true").replace("margin = 0.1", "replicates = 60\nmargin = 0.1")
    (folder / "study.toml").write_text(text)
    for seed, (name, rows) in enumerate(SITES.items()):
        source = f'name = "{name}"\n[source]\nkind = "synthetic"\nrows = {rows}\nseed = {seed}\nmissing = 0.05\n'
        (folder / f"{name}.toml").write_text(source)
    wardround.simulate(folder / "study.toml", [folder / f"{name}.toml" for name in SITES], folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def page(result: Mapping[str, Any]) -> str:
    return render(result, None, {})


def test_a_study_of_a_number_runs_and_verifies(run: Path, result: Mapping[str, Any]) -> None:
    lines = verify(run).lines
    assert lines and not [line for line in lines if line.verdict is Verdict.FAIL]
    assert result["units"] == {"rmse": "d", "mae": "d", "calibration_gap": "d", "half_width": "d"}
    assert result["lower_is_better"] == ["calibration_gap", "mae", "rmse"] and result["verdicts"].keys() == SITES.keys()
    assert result["metrics"]["federated"]["all"]["r2"]["low"] > 0.3 and not result["warnings"]
    assert abs(result["paired"]["pooled"]["all"]["rmse"]["value"]) < 0.5
    assert all(site["positive_share"] is None for site in result["sites"].values())


def test_the_page_speaks_the_contracts_unit(result: Mapping[str, Any]) -> None:
    text = page(result)
    for words in ("Root mean squared error (d)", "Mean prediction (d)", "R²", "the axis runs from right to left"):
        assert words in text
    assert "Predicted against observed" in text and "Does its prediction interval hold?" in text
    assert all(f"{name}: 0." in text or f"{name}: 1." in text for name in SITES)  # the coverage at each, as the picture's title
    assert "Positive share" not in text


def test_a_study_of_classes_has_neither_part(result: Mapping[str, Any]) -> None:
    without = {key: value for key, value in result.items() if key not in ("interval", "calibration", "units")}
    assert numbers.interval(without) is None and numbers.calibration(without) is None
    assert "Predicted against observed" not in page(without)


def test_a_site_with_few_test_patients_shows_no_coverage(result: Mapping[str, Any]) -> None:
    few = deepcopy(dict(result))
    few["sites"]["east"]["test"] = 9
    found = numbers.interval(few)
    assert found is not None and found.plot is not None
    assert {row.name: row.figure for row in found.plot.rows}["east"] == "too few to show"
    for site in few["sites"].values():
        site["test"] = 3
    assert numbers.calibration(few) is None
    found = numbers.interval(few)
    assert found is not None and found.plot is None and "Too few test patients to count" in page(few)


def test_an_interval_that_validation_could_not_choose_is_not_shown(result: Mapping[str, Any]) -> None:
    none = deepcopy(dict(result))
    none["interval"].update({"half_width": None, "coverage": {"value": None, "low": None, "high": None}})
    found = numbers.interval(none)
    assert found is not None and not found.reach and "were too few to choose" in page(none)


def test_a_bound_is_called_a_bound(result: Mapping[str, Any]) -> None:
    bound = deepcopy(dict(result))
    bound["interval"]["bound"] = -0.5
    del bound["interval"]["half_width"], bound["calibration"]
    text = page(bound)
    assert "A bound under which" in text and "the prediction minus 0.500\N{NO-BREAK SPACE}d" in text


def test_between_hospitals_a_page_shows_no_single_coverage_and_a_copy_its_own(run: Path, result: Mapping[str, Any]) -> None:
    shared = deepcopy(dict(result))
    shared.update({"simulation": False, "site_results": "own"})
    found = numbers.interval(shared)
    assert found is not None and found.plot is not None and found.plot.rows == ()
    shared["interval"]["sites"] = {}
    protocol = read_protocol((run.parent / "study.toml").read_text(), "study.toml")
    copy = copy_for(protocol, json.dumps(shared).encode(), "north", 300, kept(run, "north"))
    assert copy["interval"]["sites"] == {"north": result["interval"]["sites"]["north"]}
    found = numbers.interval(copy)
    assert found is not None and found.plot is not None and [row.name for row in found.plot.rows] == ["north"]


def kept(run: Path, site: str) -> Arrays:
    """Return what a site kept of the evaluation."""
    from wardround.coordinator.store import Store
    from wardround.site.state import SiteState

    digest = json.loads((run / "result.json").read_text())["protocol_digest"]
    store = Store(run / "state.sqlite")
    snapshot = json.loads(store.meta("data") or b"{}")[site]
    return SiteState(store.connection, digest, site, snapshot).mine()["evaluate"]
