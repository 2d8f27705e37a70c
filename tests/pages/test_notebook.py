from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pages.fixtures import bare, counted_only, five_sites, forty_sites, no_better_than_guessing, trained_only
from tests.pages.test_report import Page
from wardround.pages.headline import headline
from wardround.pages.notebook import result_card

FOLDER = Path("run")


@pytest.mark.parametrize("result", [five_sites, no_better_than_guessing, trained_only, counted_only, bare, dict])
def test_every_result_makes_a_card_with_its_answer(result: Callable[[], dict[str, Any]]) -> None:
    text = Page(result_card(result(), FOLDER)).text
    assert headline(result()).replace("\xa0", " ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") in text and "run/report.html" in text


@pytest.mark.parametrize("result", [trained_only, counted_only, dict])
def test_without_metrics_there_is_no_table(result: Callable[[], dict[str, Any]]) -> None:
    assert "<table" not in result_card(result(), FOLDER)


def test_models_stand_with_their_intervals() -> None:
    text = Page(result_card(five_sites(), FOLDER)).text
    assert "Federated 0.930 (0.918 to 0.943)" in text and "Best single site 0.889" in text
    assert "Federated not defined" in Page(result_card(bare(), FOLDER)).text


def test_warnings_stand_between_answer_and_figures() -> None:
    text = Page(result_card(no_better_than_guessing(), FOLDER)).text
    assert text.index("evidence") < text.index("Warning. The federated model is not shown") < text.index("Federated 0.93")


def test_synthetic_and_smaller_is_better_stand_beside_the_figures() -> None:
    text = Page(result_card({**forty_sites(), "primary": "brier"}, FOLDER)).text
    assert "Brier score, smaller is better (synthetic data)" in text


def test_hostile_words_stay_text() -> None:
    result = {**five_sites(), "warnings": ["<img src=x>"], "primary": "<img>"}
    assert not Page(result_card(result, FOLDER)).all("img")
