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


def test_verdicts_are_what_their_words_say() -> None:
    found = verdicts(
        {
            "gains": Difference(0.10, 0.01, True),
            "no_worse": Difference(0.001, 0.005, True),
            "loses": Difference(-0.10, 0.01, True),
            "cannot_say": Difference(0.0, 0.05, True),
        },
        margin=0.03,
    )
    assert found == {name: name for name in found}


def test_too_few_patients_never_get_a_verdict() -> None:
    assert verdicts({"a": Difference(0.5, 0.001, False)}, 0.02) == {"a": "cannot_say"}


def test_many_sites_need_more_evidence() -> None:
    just = Difference(0.0205, 0.01, True)  # p = 0.0202, one-sided
    assert verdicts({"a": just}, 0.0)["a"] == "gains"
    many = verdicts({f"s{number}": just if number == 0 else Difference(0.0, 0.01, True) for number in range(10)}, 0.0)
    assert many["s0"] == "cannot_say"


def test_identical_models_are_no_worse() -> None:
    assert verdicts({"a": Difference(0.0, 0.0, True)}, 0.02) == {"a": "no_worse"}
