"""Give the tests of whole studies a terminal, and what a small study comes to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.cli.terminal import Terminal
from tests.system.secure_studies import TINY, ran


@pytest.fixture
def wardround(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Return what runs a command: `wardround("simulate", ...)`."""
    return Terminal(monkeypatch, capsys)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return what seven sites come to with the plain sum, in a study of three rounds."""
    return ran(tmp_path_factory.mktemp("tiny") / "plain", "plain", phases=TINY)[0]
