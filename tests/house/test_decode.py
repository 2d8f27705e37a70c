"""Every site decodes a codec's totals as the coordinator does, bit for bit; so what `decode` calls is held to what `advance` is held to."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

import pytest

from tests.house.reading import Source, functions, planted, sources
from tests.house.test_advance import _called, _inexact

CODECS = "wardround.combining.codecs"


def reached(house: Sequence[Source]) -> list[tuple[Source, ast.AST]]:
    """Return `decode` and `begin` of every codec, and all of ours that they call by name."""
    defined: dict[str, list[tuple[Source, ast.AST]]] = {}
    todo: list[str] = []
    for source in house:
        for function in functions(source):
            name = f"{source.module}.{function.name}"
            defined.setdefault(name, []).append((source, function))
            if source.module.startswith(CODECS) and function.name in ("decode", "begin"):
                todo.append(name)
    found: list[tuple[Source, ast.AST]] = []
    while todo:
        for source, place in defined.pop(todo.pop(), []):
            found.append((source, place))
            todo += _called(source, place)
    return found


def inexact(house: Sequence[Source]) -> Iterator[str]:
    """Complain of arithmetic whose last bit depends on the processor."""
    for source, place in reached(house):
        for part in ast.walk(place):
            if what := _inexact(part):
                yield f"{source.path}:{getattr(part, 'lineno', 1)}: {what} in what every site decodes alike"


def test_the_house_is_in_order() -> None:
    assert list(inexact(sources())) == []


def test_the_way_is_followed() -> None:
    names = {f"{source.module}.{getattr(place, 'name', '')}" for source, place in reached(sources())}
    assert {f"{CODECS}.topk.decode", f"{CODECS}.quantised.begin", f"{CODECS}.floats.decode", f"{CODECS}.scale.steps"} <= names


@pytest.mark.parametrize("line", ["np.exp(a)", "a @ b", "a ** 2", "np.log2(a)"])
def test_a_planted_violation_is_found(line: str) -> None:
    house = [
        planted(f"{CODECS}.x", f"def _far(a, b):\n    return {line}\nclass A:\n    def decode(self, a, b):\n        return _far(a, b)\n")
    ]
    (complaint,) = inexact(house)
    assert "decodes alike" in complaint
