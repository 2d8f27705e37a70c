"""The passport's page says what the result holds, hides what it hides, and needs nothing from outside."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wardround.pages.passport import group_name, headline, render


def cell(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


@pytest.fixture
def result() -> dict[str, Any]:
    metrics = {"auroc": cell(0.8), "brier": cell(0.15)}
    groups = [
        {"from": 0.0, "to": 0.2, "count": 60, "positives": 12, "predicted": 0.1, "observed": 0.2, "low": 0.1, "high": 0.3},
        {"from": 0.2, "to": 1.0, "count": 0, "positives": 0, "predicted": None, "observed": None, "low": None, "high": None},
    ]
    subgroups = [
        {"field": "sex", "code": "f", "patients": 40, "by_class": {"no": 20, "yes": 20}, "metrics": metrics},
        {"field": "sex", "code": "m", "patients": "withheld", "note": "fewer than 10 patients", "held_back_at": 2},
        {"field": "sex", "missing": True, "patients": 0, "note": "no patient is in this subgroup"},
    ]
    return {
        "kind": "evaluation", "study": "risk", "title": "Does <it> hold?", "purpose": "Test.",
        "primary": "auroc", "lower_is_better": ["brier"],
        "simulation": False, "site_results": "own", "synthetic": False, "smallest_count": 10, "unit": "patient", "software": "0",
        "tested_model": {"kind": "onnx", "file": "m.onnx", "digest": "sha256:ab", "trained_on": "Others <b>.", "inputs": ["age in a"]},
        "took_part": {"sites": 2}, "bar": {"metric": "auroc", "value": 0.7}, "verdict": {"word": "meets", "note": "better than the bar"},
        "patients": {"all": 60, "by_class": {"no": 48, "yes": 12}}, "metrics": {"model": {"all": metrics, "sites": {}}},
        "calibration": {"groups": groups, "slope": cell(0.9), "intercept": cell(-0.1), "observed_over_expected": cell(1.1)},
        "decision": [{"threshold": 0.2, "model": cell(0.1), "treat_all": -0.05, "gain": cell(0.1)}], "subgroups": subgroups,
        "sites": {"north": {"patients": 40}, "south": {"patients": "<10"}}, "verdicts": {}, "verdict_notes": {},
        "warnings": ["Two sites took part: each of them can take its own sums off."], "privacy": {"secure_sum": False},
        "protocol_digest": "sha256:cd",
    }  # fmt: skip


def test_the_page_answers_and_needs_nothing_from_outside(result: dict[str, Any]) -> None:
    page = render(result, None, {}, "wardround model passport 1\n")
    for said in (
        "it meets the bar of 0.7",
        "sha256:ab",
        "0.750 to 0.850",
        "Two sites took part",
        "2 sites held theirs back",
        "wardround model passport 1",
    ):
        assert said in page, said
    assert "Does &lt;it&gt; hold?" in page and "Others &lt;b&gt;." in page and "<it>" not in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "") and page.count("<svg") >= 5
    assert "stayed with it" in page, "no site's figures are told here"
    assert not re.search(r"\{\{|\}\}|None|Markup", page)


def test_what_is_withheld_stays_so(result: dict[str, Any]) -> None:
    result.update(patients="withheld", metrics={"model": {"all": {}, "sites": {}}}, note="fewer than 10 patients were tested", subgroups=[])
    del result["calibration"], result["decision"]
    result["verdict"] = {"word": "cannot_say", "note": "too few"}
    page = render(result, None, {})
    assert "too few patients were tested to tell anything" in page and "Withheld: fewer than 10 patients" in page
    assert "Are its probabilities right" not in page and "Would acting" not in page


def test_sites_and_own_figures_are_shown_where_they_are_told(result: dict[str, Any]) -> None:
    result["metrics"]["model"]["sites"] = {"north": {"auroc": cell(0.6)}}
    result.update(verdicts={"north": "misses"}, verdict_notes={"north": "worse than the bar"}, reader="north")
    result["own"] = {"patients": {"all": 40, "by_class": {}}, "metrics": {"auroc": cell(0.6)}, "subgroups": []}
    page = render(result, None, {})
    assert "misses the bar" in page and "Worse than the bar." in page and "north: this hospital" in page


def test_where_smaller_is_better_the_axis_turns(result: dict[str, Any]) -> None:
    first = render(result, None, {})
    result.update(primary="brier", bar={"metric": "brier", "value": 0.2})
    assert "Brier score by subgroup" in render(result, None, {}) and "AUROC by subgroup" in first
    assert "the bar of 0.2" in headline(result)


def test_subgroups_have_names_that_people_read() -> None:
    assert group_name({"field": "age", "unit": "a", "from": None, "below": 50.0}) == "age under 50 a"
    assert group_name({"field": "age", "unit": "1", "from": 65.0, "below": None}) == "age 65 or more"
    assert group_name({"field": "sex", "missing": True}) == "sex missing"
