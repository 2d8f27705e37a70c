from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pages.fixtures import five_sites
from wardround.pages.figures import NOTHING, better, decimals, difference, figure, level

UNIT = st.floats(0, 1)


def compared(one: float, other: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    def of(value: float, *ends: float) -> dict[str, Any]:
        return {"all": {}, "sites": {"a": {"auroc": dict(zip(("value", "low", "high"), (value, *ends), strict=False))}}}

    models = {"federated": of(one), "local": of(other)}
    return {"primary": "auroc", "margin": 0.02, "metrics": models, "paired": {"local": of(one - other, low, high)}, **more}


def printed(text: str) -> Decimal:
    return Decimal(text.split(" (")[0].replace("\N{MINUS SIGN}", "-"))


@given(UNIT, UNIT, st.floats(0, 0.2), st.floats(0, 0.2))
def test_the_figures_on_a_page_can_be_subtracted(one: float, other: float, below: float, above: float) -> None:
    result = compared(one, other, one - other - below, one - other + above)
    gap = difference(result, "local", "auroc", "a")
    federated, local = (printed(level(result, model, "auroc", "a").text()) for model in ("federated", "local"))
    assert printed(gap.text(signed=True)) == federated - local
    assert abs(float(federated - local) - (one - other)) <= 10**-gap.places + 1e-12


@pytest.mark.parametrize(
    ("low", "high", "places"),
    [(-0.01, 0.05, 3), (0.0004, 0.05, 4), (0.0, 0.05, 3), (-0.0196, 0.05, 4), (-0.02, 0.05, 3), (0.0296, 0.05, 4)],
)
def test_an_interval_that_clears_a_line_or_ends_near_its_value_gets_another_decimal(low: float, high: float, places: int) -> None:
    assert decimals(compared(0.9303, 0.9006, low, high), "auroc") == places


def test_other_metrics_keep_three_decimals() -> None:
    assert decimals(compared(0.93, 0.9, 0.0004, 0.05), "accuracy") == 3


def test_the_margin_lies_on_the_other_side_where_less_is_better() -> None:
    assert decimals(compared(0.03, 0.05, -0.04, 0.0196), "auroc") == 3
    assert decimals(compared(0.03, 0.05, -0.04, 0.0196, lower_is_better=["auroc"]), "auroc") == 4


def test_a_difference_over_other_sites_than_its_levels_stays_as_it_is() -> None:
    result = compared(0.93, 0.9, 0.0, 0.1)
    result["paired"]["local"]["sites"]["a"]["auroc"]["value"] = 0.0456
    assert difference(result, "local", "auroc", "a").text(signed=True) == "+0.046 (0.000 to +0.100)"


def test_the_result_says_which_metrics_are_better_when_small() -> None:
    assert better({"lower_is_better": ["minutes"]}, "minutes") == -1 and better({}, "minutes") == 1


@pytest.mark.parametrize("site", [{"patients": 40, "test": "<10"}, {"patients": "<10"}, {"patients": 40, "test": 9}])
def test_neither_levels_nor_differences_stand_on_fewer_than_ten_test_patients(site: dict[str, Any]) -> None:
    result = five_sites()
    result["sites"]["Aachen"] = site
    assert level(result, "federated", "auroc", "Aachen").value is difference(result, "local", "auroc", "Aachen").low is None
    assert level(result, "federated", "auroc", "Basel").value is not None
    result["sites"] = {"Aachen": site}
    assert level(result, "federated", "auroc").value is difference(result, "local", "auroc").low is None


@pytest.mark.parametrize("cell", [None, {}, {"value": None}, {"value": float("nan")}, {"value": True}, "0.9", float("inf")])
def test_what_is_no_number_is_no_figure(cell: Any) -> None:
    assert figure(cell) == NOTHING
