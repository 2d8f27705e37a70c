"""What a report says of who saw what must be what the protocol let happen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pages.fixtures import five_sites, totals_only, trained_only
from wardround.pages.guards import guards

SECURE = {"unit": "patient", "epsilon": None, "delta": None, "secure_sum": True}


def said(result: dict[str, Any], combine: str = "secure", **privacy: Any) -> dict[str, str]:
    """Return each term with what is said of it, as one would type it."""
    found = guards(result, {"rounds": {"combine": combine}, "privacy": privacy})
    return {term: means.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") for term, means in found}


def test_a_secure_sum_is_said_to_hide_sums_and_not_totals() -> None:
    found = said({**totals_only(), "privacy": SECURE}, counts=True)
    assert "Plain sums" not in found and "Counts" not in found and "In this simulation" not in found
    assert "as long as few enough sites act together" in found["Secure sums"]
    assert "what a total shows about a patient" in found["Not hidden by them"] and "reviewed" in found["Not hidden by them"]


@pytest.mark.parametrize(
    ("combine", "word"), [("one_message", "two of them together with the coordinator"), ("bucketed", "each group's total")]
)
def test_other_ways_to_add_say_what_they_give_up(combine: str, word: str) -> None:
    assert word in said({**totals_only(), "privacy": SECURE}, combine)["Secure sums"]


def test_a_simulation_is_not_said_to_have_hidden_anything_from_who_ran_it() -> None:
    found = said({**five_sites(), "privacy": SECURE})
    assert "whoever ran them could see everything" in found["In this simulation"] and "Figures of one site" not in found
    assert "In this simulation" not in said(five_sites(), "plain")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("told", "word"),
    [("blinded", "all others see only the median"), ("open", "everybody who has this result sees them"), ("own", "were not sent")],
)
def test_it_says_whom_a_hospitals_own_figures_reached(told: str, word: str, secure: bool) -> None:
    result = {**totals_only(), "site_results": told}
    own = said({**result, "privacy": SECURE} if secure else result)["Figures of one site"]
    assert word in own
    assert ("sent to the coordinator under its name" in own) is (told != "own")
    assert ("not under masks" in own) is (secure and told != "own")
    assert ("could work them out too" in own) is (not secure and told == "own")


def test_without_a_test_there_are_no_figures_to_speak_of() -> None:
    assert "Figures of one site" not in said({**trained_only(), "simulation": False, "site_results": "own", "metrics": {}})
