"""Train where all rows lie in one place: a site's own model, and the pooled one of a simulation.

Baselines get the same care as the federated model: the same grid, the same budget of passes, the same choice by validation, the same refit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wardround.learning.network import fill, new_network, parameters_of, reproducible, scores
from wardround.learning.options import FedAvgOptions
from wardround.learning.train import optimiser_for, train
from wardround.study.arrays import Arrays
from wardround.study.errors import DataError
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream


@dataclass(frozen=True)
class Fitted:
    """Hold a model trained in one place: its parameters, which setting of the grid, after how many passes, and its validation score."""

    parameters: Arrays
    choice: int
    passes: int
    score: float


@dataclass(frozen=True)
class Rows:
    """Hold float32 [N, F] inputs and [N] targets of training and of validation rows."""

    x: np.ndarray
    y: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray


def _score(protocol: Protocol, output: np.ndarray, target: np.ndarray) -> float:
    """Return what the stop rule looks at, larger is better; the loss where the metric does not exist (one class only)."""
    question, metric = protocol.question_plugin, protocol.evaluation.metrics[0]
    if not len(target):
        return float("nan")
    found = question.metrics(question.sums(output, target))
    value = question.better(metric) * float(found[metric])
    return -float(found["loss"]) if np.isnan(value) else value


def _run(protocol: Protocol, rows: Rows, options: FedAvgOptions, start: Arrays, rng: Stream, passes: int) -> Fitted:
    """Train from `start` for some passes and return the best by validation, or the last where there is no validation."""
    network = new_network(protocol)
    fill(network, start)
    optimiser = optimiser_for(network, options)
    best = Fitted(start, 0, 0, _score(protocol, scores(network, rows.x_validation), rows.y_validation))
    for number in range(passes):
        train(network, protocol.question_plugin, rows.x, rows.y, options, rng.child("pass", number), optimiser)
        try:
            score = _score(protocol, scores(network, rows.x_validation), rows.y_validation)
        except DataError:  # training diverged: the best before it stands, as in a federation
            break
        if np.isnan(score) or np.isnan(best.score) or score > best.score or protocol.stop.keep == "last":
            best = Fitted(parameters_of(network), 0, number + 1, score)
        elif protocol.stop.patience is not None and number + 1 - best.passes >= protocol.stop.patience:
            break
    return best


def fit(protocol: Protocol, rows: Rows, settings: Sequence[FedAvgOptions], start: Arrays, rng: Stream) -> Fitted:
    """Return the model that validation likes best over a grid of settings.

    Args:
        protocol: gives question, model, stop rule and whether to refit.
        rows: of one place.
        settings: the grid; one pass is what one federated round sees (epochs or steps).
        start: initial parameters.
        rng: names the order of batches.
    """
    with reproducible(rng):
        tried = [
            _run(protocol, rows, setting, start, rng.child("setting", number), setting.rounds) for number, setting in enumerate(settings)
        ]
        choice = int(np.argmax([-np.inf if np.isnan(one.score) else one.score for one in tried]))
        best = tried[choice]
        if protocol.evaluation.refit and best.passes > 0 and len(rows.x_validation):
            x, y = np.concatenate([rows.x, rows.x_validation]), np.concatenate([rows.y, rows.y_validation])
            everything = Rows(x, y, rows.x_validation[:0], rows.y_validation[:0])
            again = _run(protocol, everything, settings[choice], start, rng.child("refit"), best.passes)
            return Fitted(again.parameters, choice, again.passes, best.score)
    return Fitted(best.parameters, choice, best.passes, best.score)
