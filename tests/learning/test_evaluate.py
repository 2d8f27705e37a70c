from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support import plan, rows
from wardround.learning.algorithms.evaluate import bootstrap_weights, scorer
from wardround.learning.comparators import _best_single
from wardround.learning.network import initial_parameters
from wardround.learning.norm import no_norm
from wardround.study.arrays import put_under
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import SiteWork


def linear(agreed: Protocol, slope: float) -> dict[str, np.ndarray]:
    """Return a model whose score is a slope times the first input, the number that the label follows."""
    parameters = {name: np.zeros_like(value) for name, value in initial_parameters(agreed).items()}
    parameters["weight"][0, 0] = slope
    return parameters


@pytest.fixture
def agreed() -> Protocol:
    return Protocol.model_validate({**plan(evaluation={"metrics": ["auroc"]}), "model": {"kind": "logistic"}}).complete()


def test_validation_rows_are_scored_by_the_model_that_had_not_seen_them(agreed: Protocol) -> None:
    data = rows(1)
    model = {**put_under("params", linear(agreed, 3.0)), **put_under("validated", linear(agreed, -3.0))}
    alone = [scorer(agreed, put_under("params", linear(agreed, slope)), no_norm(agreed), data) for slope in (3.0, -3.0)]
    score = scorer(agreed, model, no_norm(agreed), data)
    assert np.array_equal(score("test"), alone[0]("test")) and np.array_equal(score("validation"), alone[1]("validation"))


def test_bootstrap_weights_are_the_site_s_secret_and_go_by_patient() -> None:
    data = rows(1, 400)
    several = replace(data, patient=data.patient // 4, role=np.full(400, 2, dtype=np.int8))
    weights, again, other = (bootstrap_weights(several, 100, Stream.public(seed)) for seed in (1, 1, 2))
    assert weights is not None and again is not None and other is not None
    assert weights.shape == (101, 400) and np.all(weights[0] == 1)
    assert np.array_equal(weights, again) and not np.array_equal(weights, other)
    by_patient = weights.reshape(101, 100, 4)
    assert np.all(by_patient == by_patient[:, :, :1])
    assert abs(np.mean(weights[1:]) - 1) < 0.05 and abs(np.var(by_patient[1:, :, 0]) - 1) < 0.1
    assert bootstrap_weights(several, 0, Stream.public(1)) is None


def test_the_best_single_model_is_the_one_that_validation_rows_of_all_sites_like(agreed: Protocol) -> None:
    data: dict[str, Dataset] = {f"s{number}": rows(number, 80) for number in range(3)}
    models = {
        site: {**put_under("params", linear(agreed, slope)), **put_under("norm", no_norm(agreed))}
        for site, slope in (("s0", -2.0), ("s1", 2.0), ("s2", 0.0))
    }
    work = {site: SiteWork(one, {}, Stream.public(0)) for site, one in data.items()}
    assert _best_single(agreed, models, work) == "s1"
