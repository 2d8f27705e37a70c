"""The README's commands run as they stand, one after another, in one fresh folder.

Run are the blocks marked `bash` whose first word is `wardround`. A block that needs a network says so: "```bash network".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.reading import ROOT

README = ROOT / "README.md"


def blocks(text: str) -> list[str]:
    """Return the blocks of commands to run, in order."""
    found = re.findall(r"^```bash([^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for words, body in found if "network" not in words.split() and body.split()[:1] == ["wardround"]]


def run(block: str, folder: Path) -> str:
    """Run one block in a folder; return what went wrong, or nothing."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return f"{block}\nexits with {done.returncode}:\n{done.stdout}{done.stderr}" if done.returncode else ""


def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    if not (Path(sys.executable).parent / "wardround").exists():
        pytest.skip("wardround is not installed beside this Python; ./test installs it")
    if (ROOT / "examples").is_dir():
        shutil.copytree(ROOT / "examples", tmp_path / "examples")
    found = blocks(README.read_text(encoding="utf-8"))
    assert found, "the README shows no command to run"
    for block in found:
        wrong = run(block, tmp_path)
        assert not wrong, wrong


def test_blocks_are_found_and_a_failing_one_is_told(tmp_path: Path) -> None:
    text = "```bash\nwardround a\nls\n```\n\n```bash network\nwardround b\n```\n\n```bash\n./demo\n```\n\n```text\nwardround c\n```\n"
    assert blocks(text) == ["wardround a\nls\n"]
    assert run("true", tmp_path) == ""
    wrong = run("echo said\nfalse | cat\ntrue", tmp_path)
    assert "exits with 1" in wrong
    assert "said" in wrong
