from __future__ import annotations

from typing import Any

import pytest

from tests.pages.fixtures import bare, five_sites, forty_sites, one_site, several_rows, three_models, totals_only
from wardround.pages.headline import headline


def plain(result: dict[str, Any]) -> str:
    return (
        headline(result).replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )


def with_verdicts(*verdicts: str, **more: Any) -> dict[str, Any]:
    names = [f"site-{letter}" for letter in "abcdefghijklmnopq"[: len(verdicts)]]
    return {"sites": {name: {} for name in names}, "verdicts": dict(zip(names, verdicts, strict=True)), **more}


def test_names_who_gains_who_loses_and_who_cannot_say() -> None:
    assert plain(five_sites()) == (
        "Two of five sites gain from the federated model (Aachen and Charleroi), one does no worse (Basel), one loses (Dresden) and one "
        "cannot say (Eindhoven); over all test patients the federated model's AUROC is 0.022 higher than that of the sites' own models "
        "(95 % interval 0.011 to 0.034)."
    )


def test_many_sites_are_counted_and_the_losers_still_named() -> None:
    sentence = plain(forty_sites())
    assert sentence.startswith(
        "On synthetic data 18 of 40 sites gain from the federated model, 11 do no worse, 1 loses (hospital-26) and 10 cannot say; over"
    )


@pytest.mark.parametrize(
    ("verdicts", "start"),
    [
        (("gains",) * 3, "All three sites gain from the federated model."),
        (("gains",) * 2, "Both sites gain from the federated model."),
        (("cannot_say",) * 3, "For none of the three sites is there enough evidence to say whether it gains from the federated model."),
        (("cannot_say",) * 2, "For neither of the two sites is there enough evidence to say whether it gains from the federated model."),
        (("no_worse", "no_worse"), "None of two sites gains from the federated model, two do no worse (site-a and site-b) and none loses."),
        (
            ("gains", "cannot_say"),
            "One of two sites gains from the federated model (site-a), none loses and one cannot say (site-b).",
        ),
        (("loses",), "The one site, site-a, loses with the federated model."),
        (
            ("made_up", "gains"),
            "One of two sites gains from the federated model (site-b), none loses and one cannot say (site-a).",
        ),
    ],
)
def test_every_mix_of_verdicts_is_a_sentence(verdicts: tuple[str, ...], start: str) -> None:
    assert plain(with_verdicts(*verdicts)) == start


def test_an_interval_over_zero_is_not_sold_as_a_gain() -> None:
    result = with_verdicts("no_worse", primary="auroc", paired={"local": {"all": {"auroc": {"value": 0.004, "low": -0.01, "high": 0.018}}}})
    assert plain(result).endswith("own models, and the 95 % interval (-0.010 to +0.018) does not settle which is better.")


def test_a_loss_is_said_as_one() -> None:
    result = with_verdicts(
        "loses", "loses", primary="accuracy", paired={"local": {"all": {"accuracy": {"value": -0.05, "low": -0.08, "high": -0.02}}}}
    )
    assert "the federated model's accuracy is 0.050 lower than that of the sites" in plain(result)
    assert plain(result).endswith("(95 % interval 0.020 to 0.080).")


def test_a_metric_of_which_less_is_better_says_so() -> None:
    result = with_verdicts(
        "gains",
        "gains",
        primary="brier",
        lower_is_better=["brier"],
        paired={"local": {"all": {"brier": {"value": -0.05, "low": -0.08, "high": -0.02}}}},
    )
    assert "the federated model's Brier score is 0.050 lower (which is better) than that of" in plain(result)


def test_without_local_models_the_level_stands_alone() -> None:
    result = one_site()
    result["paired"] = {}
    assert plain(result).endswith("over all test patients the federated model's AUROC is 0.930 (95 % interval 0.918 to 0.943).")


def test_without_verdicts_or_metrics_it_says_so() -> None:
    assert plain(bare()) == "No verdict was reached for any site."
    assert plain({}) == "No verdict was reached for any site."


def test_of_a_study_among_hospitals_it_says_where_the_rest_is() -> None:
    assert plain(totals_only()) == (
        "The federated model's AUROC over all test patients is 0.022 higher than that of the sites' own models "
        "(95 % interval 0.011 to 0.034); each hospital's own figures stay at that hospital."
    )
    alone = {**totals_only(), "paired": {}, "synthetic": True}
    assert plain(alone).startswith("On synthetic data the federated model's AUROC over all test patients is 0.930 (95 % interval 0.918 to")
    untested = {**totals_only(), "metrics": {}, "paired": {}}
    assert plain(untested) == "No model was judged over all sites; each hospital's own figures stay at that hospital."


def test_without_verdicts_the_model_is_named() -> None:
    result = five_sites()
    result["verdicts"] = {}
    assert "over all test patients the federated model's AUROC is 0.022 higher" in plain(result)


def test_rows_without_patients_are_not_called_patients() -> None:
    result = five_sites()
    result["unit"] = "image"
    assert "patients" not in plain(result) and "over all test examples" in plain(result)


def test_rows_are_not_called_patients() -> None:
    assert "over all rows of the 90 test patients the federated model's AUROC is 0.022 higher" in plain(several_rows())


def test_the_difference_is_that_of_the_two_figures_on_the_page() -> None:
    result = with_verdicts(
        "gains",
        "gains",
        primary="auroc",
        metrics={"federated": {"all": {"auroc": {"value": 0.9154}}}, "local": {"all": {"auroc": {"value": 0.9056}}}},
        paired={"local": {"all": {"auroc": {"value": 0.9154 - 0.9056, "low": 0.002, "high": 0.017}}}},
    )
    assert "the federated model's AUROC is 0.009 higher" in plain(result)


def test_equal_to_the_last_decimal_is_said_so() -> None:
    result = with_verdicts("no_worse", primary="auroc", paired={"local": {"all": {"auroc": {"value": 0.0001, "low": -0.01, "high": 0.01}}}})
    assert "equals that of the sites' own models to three decimals" in plain(result)


def test_the_personalised_model_is_what_is_judged_where_there_is_one() -> None:
    assert plain(three_models()) == (
        "Two of five sites gain from the personalised federated model (Aachen and Charleroi), one does no worse (Basel), one loses "
        "(Dresden) and one cannot say (Eindhoven); over all test patients the personalised federated model's AUROC is 0.032 higher than "
        "that of the sites' own models (95 % interval 0.021 to 0.044)."
    )
