"""Files, functions and the classes of the gate stay small enough to be read, and every public name is explained."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.house.reading import Source, functions, planted, sources

FILE, FUNCTION, GATE_CLASS = 400, 60, 150


def long_file(source: Source) -> Iterator[str]:
    """Complain of a file that holds more than one idea."""
    lines = len(source.text.splitlines())
    if lines > FILE:
        yield f"{source.path}:1: the file has {lines} lines, more than {FILE}; give each idea a file"


def long_function(source: Source) -> Iterator[str]:
    """Complain of a function that does not fit on a screen, docstring included."""
    for function in functions(source):
        lines = _lines(function)
        if lines > FUNCTION:
            yield f"{source.path}:{function.lineno}: {function.name} has {lines} lines, more than a screen of {FUNCTION}; name its parts"


def long_gate_class(source: Source) -> Iterator[str]:
    """Complain of a class of `site/` that grows towards a god class."""
    for part in ast.walk(source.tree):
        if source.room == "site" and isinstance(part, ast.ClassDef) and _lines(part) > GATE_CLASS:
            yield f"{source.path}:{part.lineno}: class {part.name} has {_lines(part)} lines, more than {GATE_CLASS}; split the gate"


def undocumented(source: Source) -> Iterator[str]:
    """Complain of modules, public classes, functions and methods without a docstring."""
    if not ast.get_docstring(source.tree):
        yield f"{source.path}:1: the module does not open with the paragraph that a newcomer needs"
    yield from _undocumented(source, source.tree.body, "")


def _undocumented(source: Source, body: list[ast.stmt], owner: str) -> Iterator[str]:
    for part in body:
        if not isinstance(part, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or part.name.startswith("_"):
            continue
        derived = {ast.unparse(decorator).rpartition(".")[2] for decorator in part.decorator_list} & {"overload", "override", "setter"}
        if not ast.get_docstring(part) and not derived:
            yield f"{source.path}:{part.lineno}: {owner}{part.name} is public and has no docstring"
        if isinstance(part, ast.ClassDef):
            yield from _undocumented(source, part.body, f"{owner}{part.name}.")


def _lines(part: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (part.end_lineno or part.lineno) - part.lineno + 1


CHECKS = (long_file, long_function, long_gate_class, undocumented)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_is_in_order(check: Callable[[Source], Iterator[str]]) -> None:
    complaints = [complaint for source in sources() for complaint in check(source)]
    assert not complaints, "\n" + "\n".join(complaints)


def _block(head: str, lines: int) -> str:
    return f"{head}\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    ("check", "module", "fits", "too_much"),
    [
        (long_file, "wardround.data.x", "x = 1\n" * FILE, "x = 1\n" * (FILE + 1)),
        (long_function, "wardround.data.x", _block("def f():", FUNCTION), _block("def f():", FUNCTION + 1)),
        (long_function, "wardround.data.x", "async def f(): ...", "class A:\n    async def f(self):\n" + "        x = 1\n" * FUNCTION),
        (long_gate_class, "wardround.site.x", _block("class A:", GATE_CLASS), _block("class A:", GATE_CLASS + 1)),
        (undocumented, "wardround.data.x", '"""Read."""\ndef _f(): ...', '"""Read."""\ndef f(): ...'),
        (undocumented, "wardround.data.x", '"""Read."""', "x = 1"),
        (
            undocumented,
            "wardround.data.x",
            '"""Read."""\nclass _A:\n    def f(self): ...',
            '"""Read."""\nclass A:\n    """Be."""\n    def f(self): ...',
        ),
    ],
)
def test_a_planted_violation_is_found(check: Callable[[Source], Iterator[str]], module: str, fits: str, too_much: str) -> None:
    assert list(check(planted(module, fits))) == []
    (complaint,) = check(planted(module, too_much))
    assert complaint.startswith("src/wardround/")
