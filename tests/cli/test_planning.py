"""`wardround study feasibility`, `estimate` and `rehearse` say how many, how much, and what stands in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from wardround.cli.estimate import lines
from wardround.cli.feasibility import answered
from wardround.cli.feasibility import lines as flow_lines

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COUNTS, TEST = EXAMPLES / "statistics", EXAMPLES / "evaluation"
SITES = [word for name in ("north", "south", "east") for word in ("--site", COUNTS / f"{name}.toml")]


def test_the_example_of_feasibility_counts_and_answers(wardround: Terminal, tmp_path: Path) -> None:
    words = ("study", "feasibility", COUNTS / "feasibility.toml", *SITES, "--out", tmp_path / "run")
    found = wardround(*words, "--json")
    steps = found.document["statistics"]["eligible"]["steps"]
    left = steps[-1]["remaining"]["count"]
    assert found.code == 0 and 10 <= left < steps[0]["remaining"]["count"]
    assert wardround(*words, "--need", left).code == 0
    few = wardround(*words, "--need", left + 1)
    assert few.code == 1
    assert "adults up to 80" in few.out and f"{left} " in few.out and "Verify:  wardround verify" in few.out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Patients left after each criterion" in page and "not long in hospital" in page


def test_a_study_without_criteria_is_refused(wardround: Terminal, tmp_path: Path) -> None:
    said = wardround("study", "feasibility", COUNTS / "study.toml", *SITES, "--out", tmp_path / "run")
    assert said.code == 2 and "has no phase of kind 'feasibility'" in said.err


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ({"count": 100}, 0),
        ({"count": 99}, 1),
        ({"count": "withheld"}, 2),
        ({"count": 50, "held_back_at": 1}, 2),
        ({"count": 100, "held_back_at": 1}, 0),
    ],
)
def test_where_a_count_is_hidden_the_answer_is_that_it_cannot_be_said(last: dict[str, Any], code: int) -> None:
    assert answered({"steps": [{"remaining": last}]}, 100) == code


def test_a_flow_in_words_says_where_a_number_is_a_lower_bound() -> None:
    held = {"count": 50, "held_back_at": 2}
    table = {"start": {"count": 90}, "steps": [{"name": "old", "excluded": held, "remaining": held}]}
    _, line = flow_lines(table)
    assert "at least 50 (2 sites held back)" in line and "takes out 50 (+ 2 sites held back)" in line


def test_an_estimate_in_words_names_what_is_not_known() -> None:
    each = {"bytes_up": 1500.0, "bytes_down": 2.5e6, "memory": 3e9}
    hospitals = {"seconds": 7300.0, "line_counted": False, "site": each, "coordinator": {"memory": 9e7}, "all": each}
    money = {"currency": "EUR", "site": 1.5, "coordinator": 2.0, "all": 6.5, "not_priced": ["site_hour"]}
    found = {
        "study": "s", "rounds": 12, "sites": {"a": {"examples": 10}, "b": {"examples": 2000}}, "at_most": True, "hospitals": hospitals,
        "simulation": {"seconds": 30.0, "memory": 1e8}, "privacy": {"note": "no DP"}, "money": "not known",
    }  # fmt: skip
    text = "\n".join(lines(found))
    assert "12 rounds, 2 sites with 10 to 2,000 rows" in text and "At most:" in text
    assert "2.0 h, the line not counted" in text and "sends 2 kB, receives 2.5 MB, memory 3.0 GB" in text
    assert "no DP" in text and "not known (--rates)" in text
    priced = "\n".join(lines({**found, "money": money}))
    assert "6.50 EUR: each site 1.50, centre 2.00" in priced and "not in the rate sheet: site_hour" in priced


def test_site_files_and_numbers_do_not_go_together(wardround: Terminal) -> None:
    said = wardround("study", "estimate", COUNTS / "study.toml", *SITES, "--sites", 3)
    assert said.code == 2 and "do not go together" in said.err


def test_a_rehearsal_here_reads_no_row_and_says_what_a_round_takes(wardround: Terminal, tmp_path: Path) -> None:
    words = []
    for name in ("north", "south", "east"):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\n[source]\nkind = "table"\npath = "none.csv"\n')
        words += ["--site", tmp_path / f"{name}.toml"]
    said = wardround("study", "rehearse", COUNTS / "study.toml", *words)
    assert said.code == 0 and "Nothing stood in the way." in said.out and "on made-up rows" in said.out
    assert wardround("study", "rehearse", COUNTS / "study.toml").code == 2


def test_a_test_of_a_finished_model_is_rehearsed(wardround: Terminal) -> None:
    words = [word for name in ("north", "south", "east") for word in ("--site", TEST / f"{name}.toml")]
    said = wardround("study", "rehearse", TEST / "study.toml", *words, "--json")
    assert said.code == 0 and said.document["ok"] and said.document["rounds"] == 1 and said.document["bytes_up"] > 0


@pytest.mark.slow
def test_a_test_of_a_finished_model_is_estimated(wardround: Terminal) -> None:
    said = wardround("study", "estimate", TEST / "study.toml", "--sites", 3, "--examples", 60, "--json")
    assert said.code == 0 and said.document["rounds"] == 1
    assert said.document["simulation"]["bytes_up"] > 0 and said.document["hospitals"]["seconds"] > 0


def test_a_hospital_that_has_joined_nothing_rehearses_nothing(wardround: Terminal, tmp_path: Path) -> None:
    said = wardround("site", "rehearse", "--dir", tmp_path)
    assert said.code == 2 and "this site has joined no study yet" in said.err
