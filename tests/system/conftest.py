"""Give the tests of whole studies a terminal."""

from __future__ import annotations

import pytest

from tests.cli.terminal import Terminal


@pytest.fixture
def wardround(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Return what runs a command: `wardround("simulate", ...)`."""
    return Terminal(monkeypatch, capsys)
