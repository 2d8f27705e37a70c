"""A patient flow is drawn as what it is: a number that is only a lower bound is grey, and says so."""

from __future__ import annotations

import re
from typing import Any

from wardround.pages.flow import flow
from wardround.pages.statistics import _feasibility

STEPS: list[tuple[str, dict[str, Any]]] = [
    ("old enough", {"count": 200, "held_back_at": 1}),
    ("on the ward", {"count": 166}),
    ("seen twice", {"count": "withheld", "held_back_at": 3}),
]


def table() -> dict[str, Any]:
    steps = [{"name": name, "excluded": {"count": 34, "held_back_at": 1}, "remaining": left} for name, left in STEPS]
    return {"start": {"count": 280}, "steps": steps, "criteria": [], "label": None}


def test_a_lower_bound_is_grey_and_says_so() -> None:
    drawn = str(flow(["all", "some", "none"], [280, 200, None], [False, True, True], "Left"))
    assert re.findall(r'<rect class="(\w+)"', drawn) == ["bar", "none", "none"]
    assert re.findall(r"<title>([^<]*)</title>", drawn) == ["Left", "all: 280", "some: at least 200", "none: not told"]
    assert ">at least 200</text>" in drawn


def test_the_table_says_where_a_number_is_a_lower_bound() -> None:
    block = _feasibility(table())[0]
    assert [row[2] for row in block.rows] == ["280", "at least 200 (1 site held back)", "166", "withheld (+ 3 sites held back)"]
    assert block.rows[1][1] == "34 (+ 1 site held back)" and "at least so many are left" in block.note
    assert "old enough: at least 200" in str(block.picture) and "on the ward: 166" in str(block.picture)
