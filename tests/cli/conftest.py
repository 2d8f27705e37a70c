"""Give the tests of commands a terminal."""

from __future__ import annotations

import pytest

from tests.cli.terminal import Terminal


@pytest.fixture
def wardround(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Return what runs a command: `wardround("study", "check", path)`."""
    return Terminal(monkeypatch, capsys)
