from __future__ import annotations

import numpy as np
import pytest

from wardround.learning.evaluation import Difference, Estimate, verdicts


def test_an_estimate_takes_the_plain_value_and_the_replicates_percentiles() -> None:
    replicates = np.linspace(0, 1, 101)
    found = Estimate.of(np.concatenate([[0.4], replicates, [np.nan]]))
    assert [found.value, found.low, found.high] == pytest.approx([0.4, 0.025, 0.975])
    assert Estimate.of(np.array([np.nan, 1.0])) == Estimate(None, None, None)
    assert Estimate.of(np.array([0.5])) == Estimate(0.5, None, None)


def apart(value: float, deviation: float, enough: bool = True) -> Difference:
    """Return a difference whose interval is that of a normal distribution."""
    return Difference(value, deviation, value - 1.96 * deviation, value + 1.96 * deviation, enough)


def words(differences: dict[str, Difference], margin: float) -> dict[str, str]:
    return {site: one.word for site, one in verdicts(differences, margin).items()}


def test_verdicts_are_what_their_words_say() -> None:
    found = {
        "gains": apart(0.10, 0.01),
        "no_worse": apart(0.001, 0.005),
        "loses": apart(-0.10, 0.01),
        "cannot_say": apart(0.0, 0.05),
    }
    assert words(found, margin=0.03) == {name: name for name in found}


def test_too_few_patients_never_get_a_verdict() -> None:
    assert words({"a": apart(0.5, 0.001, enough=False)}, 0.02) == {"a": "cannot_say"}


def test_many_sites_need_more_evidence() -> None:
    just = apart(0.0205, 0.01)  # p = 0.0202, one-sided
    assert words({"a": just}, 0.0)["a"] == "gains"
    assert words({f"s{number}": just if number == 0 else apart(0.0, 0.01) for number in range(10)}, 0.0)["s0"] == "cannot_say"


def test_a_verdict_never_contradicts_the_interval_that_is_shown() -> None:
    skewed = Difference(-0.18, 0.07, -0.289, 0.003, True)
    assert words({"a": skewed}, 0.02) == {"a": "cannot_say"}


def test_identical_models_are_no_worse() -> None:
    assert words({"a": Difference(0.0, 0.0, 0.0, 0.0, True)}, 0.02) == {"a": "no_worse"}


def test_notes_give_the_corrected_p_value() -> None:
    found = verdicts({"a": apart(0.1, 0.01), "b": apart(0.0, 0.05)}, 0.02)
    assert "p < 0.001 after Holm's correction over 2 sites" in found["a"].note
