"""The page of a study without a model shows what the result holds, and draws nothing of what is hidden."""

from __future__ import annotations

import re
from typing import Any

from wardround.pages.plots import bars, steps
from wardround.pages.report import render
from wardround.pages.statistics import _BLOCKS

HIDDEN: dict[str, Any] = {"code": "b", "count": "<10"}
RESULT: dict[str, Any] = {
    "kind": "statistics",
    "study": "s",
    "title": "Wards <&>",
    "synthetic": True,
    "smallest_count": 10,
    "sites": {"north": {"patients": 40}, "south": {"patients": "<10"}},
    "privacy": {"secure_sum": True},
    "statistics": {
        "wards": {
            "kind": "histogram",
            "sites": ["north", "south"],
            "fields": [
                {"field": "ward", "cells": [{"code": "a", "count": 30}, HIDDEN], "missing": {"count": "withheld", "held_back_at": 1}}
            ],
        },
        "stay": {
            "kind": "survival",
            "sites": ["north"],
            "field": "days",
            "unit": "d",
            "until": 50.0,
            "groups": [
                {"group": "a", "rows": 30, "events": 20, "median": 7.0, "points": [{"time": 7.0, "survival": 0.4, "at_risk": 30}]},
                {"group": "b", "rows": "<10", "points": []},
            ],
            "log_rank": {"chi_square": 4.2, "degrees_of_freedom": 1, "p": 0.04},
        },
    },
}


def test_the_page_names_what_it_shows() -> None:
    page = render(RESULT, None, {"phases": [{"name": "stay"}, {"name": "wards"}]})
    assert "2 tables over 2 sites; no model was trained." in page
    assert "Wards &lt;&amp;&gt;" in page and "Wards <&>" not in page
    assert "withheld (+ 1 site held back)" in page and "&lt;10" in page
    assert "Log-rank chi-square 4.2, 1 degrees of freedom, p 0.040." in page
    assert page.index('id="h-1">stay') < page.index('id="h-2">wards')
    assert "Synthetic data" in page and "<script" not in page


def test_a_hidden_count_has_a_mark_of_one_height_whatever_it_is() -> None:
    drawn = bars(["a", "b"], [30, None], "x")
    assert re.findall(r'class="none"[^>]*height="([\d.]+)"', drawn) == ["4.0"]
    assert "b: not told" in drawn


def test_steps_go_down_to_the_share_that_is_left() -> None:
    drawn = steps({"a": [{"time": 25.0, "survival": 0.5}, {"time": 50.0, "survival": None}]}, 50.0, "x")
    assert 'd="M44.0 10H332.0V110.0"' in drawn


def test_a_number_at_risk_stands_at_the_time_it_is_of() -> None:
    points = [
        {"time": 7.0, "survival": 0.8, "at_risk": 100, "events": 20, "censored": 0},
        {"time": 30.0, "survival": 0.4, "at_risk": 80, "events": 40, "censored": 15},
    ]
    stay = {**RESULT["statistics"]["stay"], "groups": [{"group": "a", "rows": 100, "events": 60, "median": "not told", "points": points}]}
    rows = _BLOCKS["survival"](stay)[1].rows
    assert list(rows) == [("a", "7", "80"), ("a", "30", "25")], "100 were at risk at the start, not on day 7"
