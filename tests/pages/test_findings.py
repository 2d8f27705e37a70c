"""Studies of several labels and of grades, from the synthetic rows of their templates to the page; through plain and secure sums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import wardround
from tests.pages.test_numbers import kept
from wardround.outcome import copy_for
from wardround.pages import findings
from wardround.pages.report import render
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.templates import template

SITES = {"east": 240, "north": 200, "south": 160}


def run(folder: Path, kind: str, combine: str) -> Path:
    """Run the template of a question on made-up rows."""
    folder.mkdir()
    text = template(kind).replace("rounds = 60 ", "rounds = 3 ").replace("tune = { learning_rate = [", "tune = {} # [")
    text = text.replace('combine = "secure"', f'combine = "{combine}"').replace("counts = false", "counts = true")
    text = text.replace("margin = 0.0", "replicates = 40\nmargin = 0.0")
    (folder / "study.toml").write_text(text)
    for seed, (name, rows) in enumerate(SITES.items()):
        source = f'name = "{name}"\n[source]\nkind = "synthetic"\nrows = {rows}\nseed = {seed}\nmissing = 0.1\n'
        (folder / f"{name}.toml").write_text(source)
    wardround.simulate(folder / "study.toml", [folder / f"{name}.toml" for name in SITES], folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("findings")
    return {
        kind: {combine: run(folder / f"{kind}-{combine}", kind, combine) for combine in ("plain", "secure")}
        for kind in ("multilabel", "ordinal")
    }


def result_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "result.json").read_text())
    return found


@pytest.fixture
def result(runs: dict[str, dict[str, Path]]) -> dict[str, Any]:
    return result_of(runs["multilabel"]["plain"])


def page(result: Mapping[str, Any]) -> str:
    return render(result, None, {})


@pytest.mark.parametrize("kind", ["multilabel", "ordinal"])
def test_plain_and_secure_sums_give_the_same_bits(runs: dict[str, dict[str, Path]], kind: str) -> None:
    plain, secure = (result_of(runs[kind][combine]) for combine in ("plain", "secure"))
    assert plain["model_digest"] == secure["model_digest"] and not plain["privacy"]["secure_sum"] and secure["privacy"]["secure_sum"]
    for key in ("metrics", "paired", "verdicts", "findings", "referable"):
        assert plain.get(key) == secure.get(key)
    assert plain["metrics"].keys() == {"federated", "local", "pooled", "ensemble", "best_single"}


@pytest.mark.parametrize("kind", ["multilabel", "ordinal"])
def test_the_record_verifies(runs: dict[str, dict[str, Path]], kind: str) -> None:
    lines = verify(runs[kind]["plain"]).lines
    assert lines and not [line for line in lines if line.verdict is Verdict.FAIL]


def test_shares_are_told_label_by_label(result: Mapping[str, Any]) -> None:
    for site in result["sites"].values():
        assert site["positive_share"] is None and site["positive_shares"].keys() == {"bleeding", "delirium", "infection"}
        assert all(0 < share < 1 for share in site["positive_shares"].values())


def test_the_page_shows_each_finding_over_all_and_by_site(result: Mapping[str, Any]) -> None:
    text = page(result)
    assert "Finding by finding" in text and "Findings by site" in text and "the mean over the findings is taken" in text
    found = findings.findings(result)
    assert found is not None and [line.row.name for line in found.lines] == ["bleeding", "delirium", "infection"]
    for line in found.lines:
        told = result["findings"]["all"][line.row.name]
        assert line.row.figure.startswith(f"{told['metrics']['auroc']['value']:.3f} (") and f"{told['with']} with" in line.row.note
        assert line.row.figure in text
    assert [site for site, _ in found.sites] == list(SITES) and found.shares


def test_a_site_with_few_test_patients_shows_no_finding(result: Mapping[str, Any]) -> None:
    few = deepcopy(dict(result))
    few["sites"]["south"]["test"] = 9
    found = findings.findings(few)
    assert found is not None
    cells = dict(found.sites)
    assert {text for text, _, _ in cells["south"]} == {"cannot say"} and "cannot say" not in {text for text, _, _ in cells["east"]}


def test_a_finding_of_few_patients_says_so(result: Mapping[str, Any]) -> None:
    few = deepcopy(dict(result))
    few["findings"]["all"]["delirium"] = {"verdict": "cannot_say", "note": "of fewer than 30 test patients it is known"}
    found = findings.findings(few)
    assert found is not None and found.lines[1].row.figure == "cannot say" and "of fewer than 30 test patients" in page(few)
    few["findings"]["all"]["bleeding"] |= {"with": 9, "without": 60}
    shown = findings.findings(few)
    assert shown is not None and shown.lines[0].row.note == ""


def test_totals_alone_name_no_hospitals_findings(result: Mapping[str, Any]) -> None:
    total = {**result, "simulation": False, "site_results": "own"}
    found = findings.findings(total)
    assert found is not None and found.sites == () and "Findings by site" not in page(total)


def test_a_hospitals_own_copy_has_its_own_findings(runs: dict[str, dict[str, Path]], result: Mapping[str, Any]) -> None:
    shared = {**deepcopy(dict(result)), "simulation": False, "site_results": "own"}
    shared["findings"]["sites"] = {}
    folder = runs["multilabel"]["plain"]
    protocol = read_protocol((folder.parent / "study.toml").read_text(), "study.toml")
    copy = copy_for(protocol, json.dumps(shared).encode(), "north", 200, kept(folder, "north"))
    assert copy["findings"]["sites"] == {"north": result["findings"]["sites"]["north"]}
    found = findings.findings(copy)
    assert found is not None and [site for site, _ in found.sites] == ["north"]


def test_a_study_of_one_label_has_no_such_part(runs: dict[str, dict[str, Path]]) -> None:
    grades = result_of(runs["ordinal"]["plain"])
    assert findings.findings(grades) is None and "Finding by finding" not in page(grades)


def test_the_page_of_grades_says_what_is_about_the_grade_and_what_about_referable(runs: dict[str, dict[str, Path]]) -> None:
    grades = result_of(runs["ordinal"]["plain"])
    text = page(grades)
    assert grades["primary"] == "quadratic_kappa" and grades["units"] == {"mae": "grades"}
    for words in (
        "Quadratic kappa",
        "Mean absolute error (grades)",
        "Share whose grade is right",
        "Referable: “moderate” and the grades above",
    ):
        assert words in text
    assert "Share that is right at probability 0.5" not in text
