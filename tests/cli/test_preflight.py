"""`wardround study preflight` from the command line: runs here, writes a plan, says no where something clashes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.learning.preflight.hospitals import Row, hospitals
from wardround.simulation import load_study

STUDY = """
study = "wards"
[question]
kind = "binary"
positive = "yes"
title = "Who is ill?"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract]
label = "ill"
[contract.fields]
age = { type = "number", unit = "a", range = [0, 120] }
temperature = { type = "number", unit = "Cel", range = [30, 45], missing = "mean", description = "in the ear" }
glucose = { type = "number", unit = "mg/dL", range = [20, 800], outside = "missing", missing = "indicator" }
sex = { type = "code", codes = ["f", "m"] }
ward = { type = "code", codes = ["a", "b", "c"] }
ill = { type = "code", codes = ["no", "yes"] }
[model]
kind = "logistic"
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
rounds = 2
learning_rate = 0.1
[[phases]]
name = "evaluate"
kind = "evaluate"
[bounds]
sites = 4
examples = 500
[rounds]
quorum = 3
combine = "secure"
[evaluation]
metrics = ["auroc"]
"""


def written(folder: Path, given: dict[str, list[Row]]) -> list[str]:
    (folder / "study.toml").write_text(STUDY)
    options = []
    for site, listed in given.items():
        with (folder / f"{site}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["patient", *listed[0]])
            writer.writeheader()
            writer.writerows({"patient": f"{site}-{number}", **row} for number, row in enumerate(listed))
        card = '[label_card]\nsource = "ward round"\ncoding = "own list"\n'
        (folder / f"{site}.toml").write_text(f'name = "{site}"\n[source]\nkind = "table"\npath = "{site}.csv"\n{card}')
        options += ["--site", str(folder / f"{site}.toml")]
    return options


def test_hospitals_that_fit_are_told_so(wardround: Terminal, tmp_path: Path) -> None:
    options = written(tmp_path, hospitals(3))
    done = wardround("study", "preflight", tmp_path / "study.toml", *options, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "Nothing clashes in 6 fields of 3 hospitals" in done.out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What has to be done before the study begins?" in page and "ward round" in page
    assert wardround("verify", tmp_path / "run").code == 2


def test_a_clash_is_a_no_and_stands_in_page_and_document(wardround: Terminal, tmp_path: Path) -> None:
    given = hospitals(3)
    given["site1"] = [{**row, "age": f"{12 * float(row['age']):g}"} for row in given["site1"]]
    options = written(tmp_path, given)
    done = wardround("study", "preflight", tmp_path / "study.toml", *options, "--out", tmp_path / "run", "--json")
    assert done.code == 1
    found = done.document
    (one,) = [field for field in found["fields"] if field["verdict"] == "clash"]
    (finding,) = one["sites"]["site1"]["findings"]
    assert (one["field"], finding["kind"]) == ("age", "unit") and 'unit = "mo"' in finding["remedy"]
    assert "in mo, not in a" in (tmp_path / "run" / "report.html").read_text()


def test_the_plan_is_an_ordinary_study(wardround: Terminal, tmp_path: Path) -> None:
    written(tmp_path, hospitals(2))
    done = wardround("study", "preflight", tmp_path / "study.toml", "--plan", tmp_path / "plan.toml", "--site-results", "open")
    assert done.code == 0, done.err
    protocol = load_study(tmp_path / "plan.toml").protocol
    assert protocol.study == "wards-preflight" and protocol.evaluation.site_results == "open" and protocol.bounds.sites == 4
    assert {field.outside for field in protocol.contract.fields.values()} == {"keep"}
    assert protocol.contract.fields["temperature"].description == "in the ear"
    page = wardround("study", "check", tmp_path / "plan.toml").out
    assert "Hospitals are compared" in page and "under its name" in page
    assert wardround("study", "preflight", tmp_path / "study.toml", "--plan", tmp_path / "plan.toml").code == 2


@pytest.mark.parametrize("options", [[], ["--out", "run"], ["--site", "a.toml", "--out", "run"], ["--plan", "p.toml", "--out", "run"]])
def test_wrong_use_says_what_is_needed(wardround: Terminal, tmp_path: Path, options: list[str]) -> None:
    written(tmp_path, hospitals(2))
    done = wardround("study", "preflight", tmp_path / "study.toml", *options)
    assert done.code == 2 and "What to do" in done.err
