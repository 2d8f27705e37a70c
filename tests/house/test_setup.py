"""`./demo` and `./test` set up once, begin anew after an interruption, and say in one sentence what is missing.

A pretended Python writes down what it is asked to install, so that nothing is downloaded here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.reading import ROOT

PRETENDED = """#!/bin/bash
if [ "$1" = -V ]; then echo "Python 3.11.0"; fi
if [ "$2" = venv ]; then
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '#!/bin/sh\\necho "wardround $* in $PWD"\\n' > "$3/bin/wardround"
    chmod +x "$3/bin/wardround"
fi
if [ "$2" = pip ]; then
    echo "$*" >> "$CALLS"
    case "$*" in *"$FAIL_AT"*) echo "no such wheel"; exit 1 ;; esac
fi
exit 0
"""


class Checkout:
    """A copy of what a set-up needs, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "a checkout", folder
        (self.folder / "scripts").mkdir(parents=True)
        for name in ("demo", "scripts/setup.sh", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder / name)
        self.python = folder / "a python"
        self.python.write_text(PRETENDED)
        self.python.chmod(0o755)
        self.calls = folder / "calls"

    def demo(self, *words: str, fail_at: str = "nowhere", python: str = "") -> tuple[int, str, str, list[str]]:
        """Run ./demo from another folder; return exit code, output, errors, and what was asked of pip."""
        self.calls.write_text("")
        env = {**os.environ, "PYTHON": python or str(self.python), "CALLS": str(self.calls), "FAIL_AT": fail_at}
        done = subprocess.run(
            ["bash", str(self.folder / "demo"), *words], env=env, cwd=self.home, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr, self.calls.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_second_run_starts_at_once_where_it_was_called(checkout: Checkout) -> None:
    code, out, _, asked = checkout.demo("--json")
    assert code == 0
    assert out.splitlines()[-1] == f"wardround demo --json in {checkout.home}"
    assert [("torch==" in line, "requirements.lock" in line, "--editable" in line) for line in asked] == [
        (True, False, False),
        (False, True, False),
        (True, False, False),
        (False, False, True),
        (False, False, False),
    ]
    assert "--require-hashes" in asked[1]
    assert checkout.demo() == (0, f"wardround demo in {checkout.home}\n", "", [])


@pytest.mark.parametrize("step", ["--no-deps torch", "requirements.lock", "install torch"])
def test_an_interrupted_installation_begins_anew(checkout: Checkout, step: str) -> None:
    code, out, err, _ = checkout.demo(fail_at=step)
    assert code == 1
    assert "wardround demo" not in out
    assert "no such wheel" in err
    assert "run the same command again" in err
    assert len(checkout.demo()[3]) == 5
    assert checkout.demo()[3] == []


def test_a_failed_installation_of_wardround_is_repeated_alone(checkout: Checkout) -> None:
    assert checkout.demo(fail_at="--editable")[0] == 1
    code, _, _, asked = checkout.demo()
    assert code == 0
    assert len(asked) == 2
    assert "--editable" in asked[0]


def test_what_changed_is_installed_again(checkout: Checkout) -> None:
    checkout.demo()
    with (checkout.folder / "pyproject.toml").open("a") as file:
        file.write("# a new entry point\n")
    assert len(checkout.demo()[3]) == 2
    with (checkout.folder / "requirements.lock").open("a") as file:
        file.write("# a new version\n")
    assert len(checkout.demo()[3]) == 5
    moved = checkout.folder.with_name("moved")
    checkout.folder.rename(moved)
    checkout.folder = moved
    assert len(checkout.demo()[3]) == 5
    assert checkout.demo()[3] == []


def test_without_a_fit_python_the_remedy_is_named(checkout: Checkout) -> None:
    code, out, err, asked = checkout.demo(python=str(checkout.home / "absent"))
    assert (code, out, asked) == (2, "", [])
    assert len(err.splitlines()) == 2
    assert "needs Python 3.11 to 3.14" in err
    assert "apt install python3" in err
    assert not (checkout.folder / ".venv").exists()
