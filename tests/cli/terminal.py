"""Run a command as the terminal would, in this process."""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple

import pytest


class Said(NamedTuple):
    """What a command came to: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """Runs `wardround` with words, through its outermost function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> Said:
        from wardround.cli.main import main

        self._monkeypatch.setattr(sys, "argv", ["wardround", *map(str, words)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        captured = self._capsys.readouterr()
        return Said(code if isinstance(code, int) else int(code is not None), captured.out, captured.err)
