from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from tests.pages.fixtures import five_sites
from wardround.pages.curve import kept, learning, picture, says


def history(**phases: list[float | None]) -> dict[str, Any]:
    rows = [
        {"phase": phase.replace("_", "."), "round": round_, "auroc": value}
        for phase, values in phases.items()
        for round_, value in enumerate(values)
    ]
    return {"primary": "auroc", "history": rows}


def test_the_best_round_of_the_best_setting_was_kept() -> None:
    found = learning(five_sites(), {})
    assert found is not None
    assert found.curve.phase == "train.1" and [one.phase for one in found.others] == ["train.0", "train.2"]
    assert found.kept[1] == max(value for _, value in found.curve.points)


def test_the_first_of_equal_rounds_counts_as_in_training() -> None:
    found = learning(history(train=[0.5, 0.7, 0.7, 0.6]), {})
    assert found is not None and found.kept == (1, 0.7)


def test_the_last_round_where_the_protocol_keeps_the_last() -> None:
    found = learning(history(train=[0.5, 0.7, 0.6]), {"stop": {"keep": "last"}})
    assert found is not None and found.kept == (2, 0.6)


def test_what_the_result_says_was_kept_comes_first() -> None:
    result = history(train_0=[0.5, 0.7, 0.6], train_1=[0.5, 0.65])
    for row in result["history"]:
        row["kept"] = (row["phase"], row["round"]) in {("train.0", 2), ("train.1", 1)}
    found = learning(result, {})
    assert found is not None and (found.curve.phase, found.kept) == ("train.1", (1, 0.65))


def test_the_smallest_where_less_is_better() -> None:
    rows = [{"phase": "train", "round": round_, "brier": value} for round_, value in enumerate([0.2, 0.1, 0.15])]
    found = learning({"primary": "brier", "lower_is_better": ["brier"], "history": rows}, {})
    assert found is not None and found.kept == (1, 0.1)


def test_a_single_evaluation_is_no_curve_beside_training() -> None:
    found = learning(history(train=[0.5, 0.6], evaluate=[0.9]), {})
    assert found is not None and found.curve.phase == "train"


def test_the_kept_round_is_said_in_a_few_words() -> None:
    found = learning(history(train=[0.5, 0.7, 0.6]), {})
    assert kept(found, refit=False) == "round 1 kept" and kept(None, refit=False) == ""
    assert kept(found, refit=True) == "as validation chose, then trained anew"
    assert kept(learning(history(train=[0.7, 0.5]), {}), refit=True) == "initial model kept"


@pytest.mark.parametrize("values", [[], [None, None]])
def test_without_values_there_is_no_curve(values: list[float | None]) -> None:
    assert learning(history(train=values), {}) is None


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.5, None, 0.7], [0.9, 0.1], list(range(200))])
def test_any_curve_is_a_whole_picture(values: list[float | None]) -> None:
    found = learning(history(train=values), {"stop": {"target": 0.8}})
    assert found is not None
    svg = ElementTree.fromstring(picture(found, "Learning <curve>"))
    assert svg[0].text == "Learning <curve>" and svg[1].text == says(found)
    assert any("target 0.800" in (one.text or "") for one in svg.iter())
