from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.learning.questions.classes import BETTER
from wardround.pages import words

MODULES = (
    "words",
    "counted",
    "headline",
    "suppress",
    "scale",
    "figures",
    "charts",
    "curve",
    "traffic",
    "left",
    "sections",
    "report",
    "notebook",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"wardround.pages.{name}")).failed == 0


def test_the_room_loads_no_torch() -> None:
    code = "import sys; " + "; ".join(f"import wardround.pages.{name}" for name in MODULES) + "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": "src"}).returncode == 0


@given(st.integers(0, 10**15))
def test_a_size_is_short_and_close(count: int) -> None:
    value, unit = words.size(count).split("\N{NO-BREAK SPACE}")
    factor = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert len(value) <= 5 and abs(float(value) * factor - count) <= 0.051 * factor + 0.006 * count


@given(st.sets(st.integers(0, 300)))
def test_spans_lose_no_round(rounds: set[int]) -> None:
    found: set[int] = set()
    for run in filter(None, words.spans(rounds).split(", ")):
        first, _, last = run.partition("\N{EN DASH}")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == rounds


def test_no_value_is_a_dash_and_no_negative_zero() -> None:
    assert words.number(None) == "\N{EN DASH}" and words.number(-0.0004, signed=True) == "0.000"
    assert words.number(-0.5) == "\N{MINUS SIGN}0.500"


def test_every_metric_that_a_question_gives_is_explained() -> None:
    assert {*BETTER, "sensitivity", "specificity"} <= set(words.METRIC_MEANS) <= set(words.METRICS)


def test_long_lists_are_cut_but_never_by_one() -> None:
    assert words.listed(list("abc"), most=2) == "a, b and c"
    assert words.listed(list("abcd"), most=2) == "a, b and 2 others"


def test_settings_of_any_kind_can_be_shown() -> None:
    assert words.shown({"rate": 0.1, "sizes": [1, 2], "on": True, "none": None}) == "rate 0.1, sizes 1, 2, on yes, none \N{EN DASH}"
