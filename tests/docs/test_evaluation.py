"""The commands of `docs/evaluation.md` run as they stand, and the example's rows and model are those that its script writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_readme import blocks, run
from tests.house.reading import ROOT
from tests.learning.finished_studies import need_onnx

EXAMPLE = ROOT / "examples" / "evaluation"


@pytest.mark.slow
def test_the_commands_run_and_give_a_passport(tmp_path: Path) -> None:
    need_onnx()
    if not (Path(sys.executable).parent / "wardround").exists():
        pytest.skip("wardround is not installed beside this Python; ./test installs it")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    found = blocks((ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8"))
    assert found, "the page shows no command to run"
    for block in found:
        wrong = run(block, tmp_path)
        assert not wrong, wrong
    passport = json.loads((tmp_path / "passport-run" / "passport.json").read_bytes())["passport"]
    assert passport["verdict"]["word"] == "meets" and len(passport["subgroups"]) == 7 and passport["verdicts"]["north"] == "meets"
    page = (tmp_path / "passport-run" / "passport.html").read_text(encoding="utf-8")
    assert "it meets the bar of 0.65" in page and page.count("<svg") > 10 and "http://" not in page and "<script" not in page


def test_rows_and_model_are_those_of_the_script(tmp_path: Path) -> None:
    need_onnx()
    shutil.copy(EXAMPLE / "make_example.py", tmp_path)
    subprocess.run([sys.executable, str(tmp_path / "make_example.py")], check=True, timeout=60)
    for name in ("north.csv", "south.csv", "east.csv"):
        text = (EXAMPLE / name).read_text()
        assert (tmp_path / name).read_text() == text
        assert all(line.startswith("synthetic-") for line in text.splitlines()[1:])
    assert (tmp_path / "model.onnx").read_bytes() == (EXAMPLE / "model.onnx").read_bytes()
