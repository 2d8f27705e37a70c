from __future__ import annotations

import numpy as np
import pytest

from tests.support import protocol
from wardround.outcome import _apart, _warnings
from wardround.study.arrays import Arrays, put_under
from wardround.study.protocol import Protocol


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        ({"train": 60, "validation": 20, "test": 15}, {"train": 60, "validation": 20, "test": 15}),
        ({"train": 60, "validation": 20, "test": 5}, {"train": 60, "validation": "10-49", "test": "<10"}),
        ({"train": 60, "validation": 4, "test": 5}, {"train": 60, "validation": "<10", "test": "<10"}),
        ({"train": 60, "validation": 0, "test": 5}, {"train": "50-99", "validation": 0, "test": "<10"}),
    ],
)
def test_one_hidden_count_cannot_be_told_from_the_total(count: dict[str, int], shown: dict[str, int | str]) -> None:
    assert _apart(count) == shown


def judged(agreed: Protocol, spread: float) -> Arrays:
    """Return the sums of a model whose scores are that far apart between the classes, with bootstrap replicates."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    batch = {"y": y, "patient": np.arange(300)}
    output = (spread * (y - 0.5) + rng.normal(0, 1, 300))[:, None]
    weights = np.concatenate([np.ones((1, 300), dtype=np.int64), rng.poisson(1, (60, 300))])
    question = agreed.question_plugin
    return {**put_under("test", question.metrics(output, batch, weights)), **put_under("validation", question.metrics(output, batch))}


@pytest.mark.parametrize("metric", ["auroc", "brier", "loss"])
def test_a_model_no_better_than_guessing_is_said_to_be_so(metric: str) -> None:
    agreed = protocol(evaluation={"metrics": [metric]})
    assert _warnings(agreed, judged(agreed, 4.0)) == []
    (warning,) = _warnings(agreed, judged(agreed, -0.5))
    assert "better than guessing" in warning
