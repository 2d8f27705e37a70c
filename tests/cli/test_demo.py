"""`wardround demo` knows its demos; the demo itself is run by `./demo` and by a slow test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import Terminal


def test_an_unknown_demo_is_answered_with_those_there_are(wardround: Terminal, tmp_path: Path) -> None:
    said = wardround("demo", "hearts", "--out", tmp_path)
    assert said.code == 2
    assert "breast-cytology" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_ends_with_a_report(wardround: Terminal, tmp_path: Path) -> None:
    said = wardround("demo", "--out", tmp_path, "--json")
    assert said.code == 0, said.err
    assert set(said.document["verdicts"]) == {"screening", "rural", "district", "city", "university"}
    assert (tmp_path / "results" / "report.html").stat().st_size > 10_000
    assert wardround("verify", tmp_path / "results", "--json").document["verdict"] == "INCOMPLETE"
    assert wardround("next", tmp_path).code == 0
