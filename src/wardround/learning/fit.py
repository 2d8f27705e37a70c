"""Train where all rows lie in one place: a site's own model, and the pooled one of a simulation.

Baselines get the same care as the federated model: the same grid, the same budget of passes, the same choice by validation, the same refit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.network import fill, new_network, parameters_of, reproducible, scores
from wardround.learning.options import ONLY_FEDERATED, FedAvgOptions
from wardround.learning.rows import joined
from wardround.learning.train import optimiser_for, train
from wardround.study.arrays import Arrays
from wardround.study.errors import DataError
from wardround.study.interfaces import Batch
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Fitted:
    """Hold a model trained in one place.

    Attributes:
        parameters: for use.
        validated: those that validation judged; others than `parameters` after a refit, which has seen the validation rows.
        choice: which setting of the grid.
        passes: after how many passes.
        score: on validation, larger is better.
    """

    parameters: Arrays
    validated: Arrays
    choice: int
    passes: int
    score: float


def validation_score(protocol: Protocol, network: nn.Module, batch: Batch) -> float:
    """Return what the stop rule looks at, larger is better; the loss where the metric does not exist (one class only)."""
    if not len(batch["mask"]):
        return float("nan")
    question = protocol.question_plugin
    sums = question.metrics(question.told(scores(network, batch["x"]), batch), batch)
    value = protocol.direction * float(question.finalise(sums, protocol.primary))
    return -float(question.finalise(sums, "loss")) if np.isnan(value) else value


def _run(protocol: Protocol, training: Batch, validation: Batch, options: FedAvgOptions, start: Arrays, rng: Stream, passes: int) -> Fitted:
    """Train from `start` for some passes and return what the stop rule keeps, or the last where there is no validation."""
    rule, network = protocol.stop, new_network(protocol)
    fill(network, start)
    optimiser = optimiser_for(network, options)
    best = Fitted(start, start, 0, 0, validation_score(protocol, network, validation))
    for number in range(passes + 1):
        try:
            score = validation_score(protocol, network, validation)
        except DataError:
            break  # it diverges: the best pass before it stands
        if number > 0 and (rule.keep == "last" or np.isnan(score) or np.isnan(best.score) or score > best.score):
            kept = parameters_of(network)
            best = Fitted(kept, kept, 0, number, score)
        if rule.target is not None and score >= protocol.direction * rule.target:
            break
        if rule.patience is not None and number - best.passes >= rule.patience:
            break
        if number < passes:
            for group in optimiser.param_groups:
                group["lr"] = options.at(number).learning_rate
            train(network, protocol.question_plugin, training, options, rng.child("pass", number), optimiser)
    return best


def _alike(options: FedAvgOptions) -> FedAvgOptions:
    """Return what of the options matters where all rows lie in one place: without the server's side and without a method's own."""
    plain = {one.name: getattr(options, one.name) for one in fields(FedAvgOptions) if one.name not in ONLY_FEDERATED}
    return FedAvgOptions(**plain)


def fit(protocol: Protocol, training: Batch, validation: Batch, settings: Sequence[FedAvgOptions], start: Arrays, rng: Stream) -> Fitted:
    """Return the model that validation likes best over a grid of settings.

    Args:
        protocol: gives question, model, stop rule and whether to refit.
        training: rows to train on.
        validation: rows that choose.
        settings: the grid; one pass is what one federated round sees (epochs or steps).
        start: initial parameters.
        rng: names the order of batches, and torch's own numbers, by setting.
    """
    tried: list[Fitted] = []
    for number, setting in enumerate(settings):
        same = next((other for other in range(number) if _alike(settings[other]) == _alike(setting)), None)
        if same is not None:  # they differ in what only a federation has
            tried.append(tried[same])
            continue
        with reproducible(rng.child("setting", number)):
            tried.append(_run(protocol, training, validation, setting, start, rng.child("setting", number), setting.rounds))
    choice = int(np.argmax([-np.inf if np.isnan(one.score) else one.score for one in tried]))
    best = tried[choice]
    if protocol.evaluation.refit and best.passes > 0 and len(validation["mask"]):
        nothing = {name: value[:0] for name, value in validation.items()}
        with reproducible(rng.child("refit")):
            again = _run(protocol, joined([training, validation]), nothing, settings[choice], start, rng.child("refit"), best.passes)
        return Fitted(again.parameters, best.parameters, choice, best.passes, best.score)
    return Fitted(best.parameters, best.parameters, choice, best.passes, best.score)
