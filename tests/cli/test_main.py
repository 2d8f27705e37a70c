"""Help answers at once, and every error ends as one sentence, a remedy and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.cli.terminal import Terminal
from wardround.study.errors import DataError, QuorumNotMet, VerificationError

HEAVY = (
    "numpy",
    "polars",
    "pydantic",
    "torch",
    "sklearn",
    "rich",
    "cryptography",
    "jinja2",
    "wardround.study.protocol",
    "wardround.coordinator",
)


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    code = f"""
import sys
from wardround.cli.main import app
try:
    app(["--help"])
except SystemExit:
    pass
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, timeout=60)
        seconds.append(time.perf_counter() - began)
    if os.getloadavg()[0] < 2 * (os.cpu_count() or 1):  # a busy machine makes a timing meaningless, not wrong
        assert min(seconds) < 0.3


def test_version(wardround: Terminal) -> None:
    from importlib.metadata import version

    assert wardround("--version") == (0, f"wardround {version('wardround')}\n", "")


@pytest.mark.parametrize("words", [(), ("nothing",), ("study",), ("simulate",), ("study", "check", "a", "b"), ("doctor", "--jsn")])
def test_wrong_use_exits_with_two(wardround: Terminal, words: tuple[str, ...]) -> None:
    said = wardround(*words)
    assert said.code == 2
    assert "Usage: " in said.out + said.err


@pytest.mark.parametrize("words", [("simulate",), ("verify", "a", "b"), ("next", "--jsn"), ("study", "new")])
def test_wrong_use_of_a_command_that_answers_a_machine_is_a_document(wardround: Terminal, words: tuple[str, ...]) -> None:
    said = wardround(*words, "--json")
    assert (said.code, said.document["error"]["kind"]) == (2, "WrongUse")
    assert said.document["error"]["message"] in said.err


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("The data is wrong.", "Mend it."), 2),
        (QuorumNotMet("Too few.", "Ask again."), 1),
        (VerificationError("Not what it claims.", "Fetch it."), 1),
    ],
)
def test_our_errors_are_a_sentence_and_a_remedy(wardround: Terminal, monkeypatch: pytest.MonkeyPatch, error: DataError, code: int) -> None:
    monkeypatch.setattr("wardround.simulation.load_study", failing(error))
    said = wardround("study", "check", "study.toml", "--json")
    assert said.code == code
    assert said.err == f"Error: {error.message}\nWhat to do: {error.remedy}\n"
    assert said.document == {"error": {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}}


def test_an_unexpected_error_shows_no_value_and_no_traceback(wardround: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardround.simulation.load_study", failing(ValueError("patient Miller has 7.5")))
    said = wardround("study", "check", "study.toml")
    assert said.code == 2
    assert "Miller" not in said.out + said.err
    assert "Traceback" not in said.err
    assert "ValueError in test_main.py, line" in said.err
    monkeypatch.setenv("WARDROUND_TRACEBACK", "1")
    assert "Traceback" in wardround("study", "check", "study.toml").err


def test_a_full_disk_is_a_sentence(wardround: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardround.simulation.load_study", failing(OSError(28, "No space left on device", "results/state")))
    said = wardround("study", "check", "study.toml")
    assert (said.code, said.err.splitlines()[0]) == (2, "Error: results/state: No space left on device.")
