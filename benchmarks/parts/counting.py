"""Count the lines of code that a program enters: whole functions, without docstrings, comments and blank lines.

A function counts once, with its decorators and signature, however little of it ran; what is defined inside it counts with it. Class headers
and fields, and code at the level of a module, ran at import and do not count. What a decorator generates has no lines.

Source: Python's `sys.setprofile`, `ast` and `tokenize`.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}


@dataclass(frozen=True, order=True)
class Function:
    """Name one function and how long it is.

    Attributes:
        file: relative to the folder that was counted.
        name: with its class, such as "Book.admit".
        lines: of code.
    """

    file: str
    name: str
    lines: int


def entered(action: Callable[[], Any], begins: Callable[[FrameType], bool], ends: Callable[[FrameType], bool]) -> set[CodeType]:
    """Run something and return the code that was entered between two calls.

    Args:
        action: to be run in this thread.
        begins: says of a frame just entered whether watching begins with it; only asked until it does.
        ends: says of a frame just entered whether watching ends before it; only asked once watching has begun.
    """
    seen: set[CodeType] = set()
    state = "before"

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal state
        if event != "call" or state == "after":
            return
        if state == "before" and begins(frame):
            state = "within"
        elif state == "within" and ends(frame):
            state = "after"
        if state == "within":
            seen.add(frame.f_code)

    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(None)
    if state != "after":
        raise ValueError("what was to be watched never began, or never ended")
    return seen


def counted(codes: Iterable[CodeType], folder: Path, without: Iterable[str] = ()) -> list[Function]:
    """Return the functions below a folder that some code belongs to, each once, the longest first.

    Args:
        codes: from `entered`.
        folder: of the package.
        without: subfolders that are left out.
    """
    found: set[Function] = set()
    by_file: dict[Path, dict[int, Function]] = {}
    for code in codes:
        path = Path(code.co_filename)
        if not path.is_relative_to(folder) or path.relative_to(folder).parts[0] in without:
            continue
        if path not in by_file:
            by_file[path] = _functions(path.read_text(encoding="utf-8"), str(path.relative_to(folder)))
        function = by_file[path].get(code.co_firstlineno)
        if function is not None:
            found.add(function)
    return sorted(found, key=lambda one: (-one.lines, one))


def functions(text: str, file: str = "") -> list[Function]:
    """Return every outermost function and every method in a module's text."""
    return sorted(set(_functions(text, file).values()))


def _functions(text: str, file: str) -> dict[int, Function]:
    """Return, by number of line, the outermost function that the line belongs to."""
    lines: dict[int, Function] = {}
    spoken = _lines_of_code(text)
    for name, node in _outermost(ast.parse(text), ""):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        span = range(first, (node.end_lineno or first) + 1)
        function = Function(file, name, len(spoken.intersection(span)))
        lines.update(dict.fromkeys(span, function))
    return lines


def _outermost(parent: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(parent):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
        else:
            yield from _outermost(child, f"{prefix}{child.name}." if isinstance(child, ast.ClassDef) else prefix)


def _lines_of_code(text: str) -> set[int]:
    """Return the numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            doc = node.body[0]
            lines.difference_update(range(doc.lineno, (doc.end_lineno or doc.lineno) + 1))
    return lines
