"""The commands of `docs/statistics.md` run as they stand, and the example's rows are those that its script writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_readme import blocks, run
from tests.house.reading import ROOT

EXAMPLE = ROOT / "examples" / "statistics"


def test_the_commands_run_and_give_tables(tmp_path: Path) -> None:
    if not (Path(sys.executable).parent / "wardround").exists():
        pytest.skip("wardround is not installed beside this Python; ./test installs it")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    found = blocks((ROOT / "docs" / "statistics.md").read_text(encoding="utf-8"))
    assert found, "the page shows no command to run"
    for block in found:
        wrong = run(block, tmp_path)
        assert not wrong, wrong
    result = json.loads((tmp_path / "statistics-run" / "result.json").read_bytes())
    assert [table["kind"] for table in result["statistics"].values()].count("histogram") == 1 and len(result["statistics"]) == 6
    page = (tmp_path / "statistics-run" / "report.html").read_text(encoding="utf-8")
    assert "no model was trained" in page and page.count("<svg") > 4 and "http://" not in page and "<script" not in page
    assert page.index('id="h-1">fields') < page.index('id="h-2">ages'), "phases stand in the order of the study"


def test_the_rows_are_those_of_the_script(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "make_rows.py", tmp_path)
    subprocess.run([sys.executable, str(tmp_path / "make_rows.py")], check=True, timeout=60)
    for name in ("north.csv", "south.csv", "east.csv"):
        text = (EXAMPLE / name).read_text()
        assert (tmp_path / name).read_text() == text
        assert all(line.startswith("synthetic-") for line in text.splitlines()[1:])
