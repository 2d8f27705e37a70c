"""The gate, the coordinator, the verifier, the pages and `--help` load no torch; shown by loading them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.house.reading import ROOT, entry_point_modules, sources

ROOMS = ("study", "data", "combining", "record", "site", "coordinator", "engines", "pages", "cli", "top")

LOAD = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "torch" in sys.modules:
        sys.exit(f"loading {name} loaded torch")
"""


def complaint_on_loading(modules: Sequence[str], path: Path) -> str:
    """Import modules, in order, in an interpreter of their own; return what is wrong, or nothing."""
    env = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run([sys.executable, "-c", LOAD, *modules], env=env, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def test_everything_but_the_worker_is_loaded_without_torch() -> None:
    modules = [source.module for source in sources() if source.room in ROOMS and not source.module.endswith("__main__")]
    complaint = complaint_on_loading([*modules, *entry_point_modules()], ROOT / "src")
    assert not complaint, complaint


def test_a_planted_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "gate.py").write_text("from helper import answer")
    (tmp_path / "helper.py").write_text("import torch\nanswer = 42")
    assert complaint_on_loading(["json"], tmp_path) == ""
    assert "loading gate loaded torch" in complaint_on_loading(["json", "gate"], tmp_path)
