"""Every goal can be measured, and the one that needs no measuring is met: a round stays small enough to be read."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks import spine
from benchmarks.__main__ import verdict
from tests.house.reading import ROOT

GOALS = tomllib.loads((ROOT / "benchmarks" / "goals.toml").read_text())


def names_in(text: str) -> Iterator[re.Pattern[str]]:
    """Yield a pattern for each text in a module that could name a figure; what an f-string fills in may be anything."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.compile(re.escape(node.value))
        elif isinstance(node, ast.JoinedStr):
            yield re.compile("".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in node.values))


def unmeasured(goals: Mapping[str, object], text: str) -> list[str]:
    """Return the goals that no text in a benchmark could name."""
    known = [pattern for pattern in names_in(text) if pattern.pattern != ".+"]
    return [what for what in goals if not any(pattern.fullmatch(what) for pattern in known)]


@pytest.mark.parametrize("name", sorted(GOALS))
def test_every_goal_is_one_that_its_benchmark_can_measure(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
    assert callable(module.run)
    assert unmeasured(GOALS[name], Path(str(module.__file__)).read_text()) == []


def test_a_goal_that_nobody_measures_is_found() -> None:
    text = 'WHAT = "lines"\ndef f(x): return f"{x} normalisation"\n'
    assert unmeasured({"lines": 1, "site normalisation": 1, "seconds": 1, "normalisation": 1}, text) == ["seconds", "normalisation"]


@pytest.mark.parametrize("name", sorted(GOALS))
def test_every_goal_is_a_bound(name: str) -> None:
    for what, goal in GOALS[name].items():
        assert goal and goal.keys() <= {"min", "max"}, what
        assert all(isinstance(bound, int | float) for bound in goal.values()), what


def test_a_figure_is_held_against_its_goal() -> None:
    figures = [spine.figure("lines", 600, "lines", 1), spine.figure("start", 0.2, "s", 7)]
    assert verdict("lines", {"max": 600}, figures, 0.0).startswith("MET lines: 600 lines")
    assert verdict("lines", {"max": 599}, figures, 0.0).startswith("MISSED")
    assert verdict("lines", {"min": 601}, figures, 0.0).startswith("MISSED")
    assert verdict("lines", {"max": 600}, figures, 9.0).startswith("MET")
    assert verdict("start", {"max": 0.3}, figures, 9.0).startswith("INCOMPLETE")
    assert verdict("other", {"max": 1}, figures, 0.0).startswith("INCOMPLETE")


def test_a_training_round_can_be_read(tmp_path: Path) -> None:
    functions = spine.functions_of_a_round(tmp_path)
    named = {one.name for one in functions}
    assert {"run_phase", "accept", "release", "FedAvg.answer", "train", "Plain.collect", "FedAvg.advance"} <= named
    assert not any(one.file.startswith(("record/", "cli/")) for one in functions)
    longest = "\n".join(f"{one.lines:4} {one.file} {one.name}" for one in functions[:25])
    lines = sum(one.lines for one in functions)
    assert lines <= GOALS["spine"][spine.LINES]["max"], f"{lines} lines; the longest:\n{longest}"
