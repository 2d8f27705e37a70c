"""A figure of the statistics benchmark is bad where nothing is told, so that hiding everything reaches no goal."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.statistics import _smallest, curves, moments, remainders

POINT = {"time": 3.0, "survival": 0.5, "events": 12, "censored": 0}


def survival(**group: Any) -> dict[str, Any]:
    return {"survival": {"groups": [{"group": "1", "rows": 40, "events": 12, "points": [POINT], **group}]}}


def test_a_curve_without_points_is_all_wrong() -> None:
    truth = {"curves": {"1": {"3": 0.5}}}
    assert curves(survival(), truth) == (0.0, 1)
    assert curves(survival(points=[]), truth) == (1.0, 0)


def test_a_mean_or_a_correlation_not_told_is_all_wrong() -> None:
    columns = {"a": np.array([1.0, 2.0, 4.0]), "b": np.array([1.0, 3.0, 2.0])}
    tables = {
        "describe": {"fields": [{"field": "a", "mean": None, "deviation": None}]},
        "correlation": {"pairs": [{"fields": ["a", "b"], "r": None}]},
    }
    assert moments(tables, columns) == (1.0, 2.0)


def test_the_smallest_step_looks_at_what_is_left_too() -> None:
    assert _smallest(survival()) == 12
    assert _smallest(survival(events=15)) == 3, "12 of 15 events are shown"
    assert _smallest(survival(rows="withheld", events="withheld")) == 0


def test_differences_are_taken_from_all_rows_and_from_lines() -> None:
    def cells(*counts: Any) -> list[dict[str, Any]]:
        return [{"count": one} for one in counts]

    field = {"field": "a", "cells": cells(40, "withheld"), "missing": {"count": 0}}
    tables = {
        "describe": {"fields": [{"known": {"count": 45}, "missing": {"count": 0}}]},
        "histogram": {"fields": [field]},
        "crosstab": {
            "rows": {"field": "a"},
            "columns": {"field": "a"},
            "cells": [cells(40, 0, 0), cells(0, "withheld", 0), cells(0, 0, 0)],
        },
    }
    assert 5 in list(remainders(tables, {"a": np.zeros(45)})), "45 rows less 40 shown"
