from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks.parts.counting import Function, counted, entered, functions

MODULE = '''"""Docstring."""
import functools

LIMIT = 3


def plain(x):
    """Say so.

    At length.
    """
    # a comment

    text = """two
    lines"""
    return x, text  # another


class Thing:
    """Hold a field."""

    field = 1

    @functools.cache
    @staticmethod
    def method(
        x,
    ):
        def inner():
            return x

        return inner() + sum(y for y in (1, 2))


def never():
    return 0


def outside():
    return plain(1), Thing.method(2), never
'''


def test_lines_without_docstrings_comments_and_blanks() -> None:
    assert {one.name: one.lines for one in functions(MODULE)} == {"plain": 4, "Thing.method": 8, "never": 2, "outside": 2}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "planted_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "ours")
    import planted_module  # type: ignore[import-not-found]

    yield planted_module
    del sys.modules["planted_module"]


def named(frame: FrameType, name: str) -> bool:
    return frame.f_code.co_name == name


def test_what_is_entered_counts_once_and_whole(module: Any, tmp_path: Path) -> None:
    def action() -> None:
        module.never()
        module.outside()
        module.outside()
        module.never()

    seen = entered(action, lambda frame: named(frame, "outside"), lambda frame: named(frame, "never"))
    found = counted(seen, tmp_path)
    file = "ours/planted_module.py"
    assert found == [Function(file, "Thing.method", 8), Function(file, "plain", 4), Function(file, "outside", 2)]
    assert counted(seen, tmp_path, ["ours"]) == []
    assert sys.getprofile() is None


def test_what_never_begins_is_said(module: Any) -> None:
    with pytest.raises(ValueError, match="never began"):
        entered(module.never, lambda frame: named(frame, "outside"), lambda frame: True)
