"""Fit a shared model further to one hospital's rows, without forgetting where it came from.

What is minimised is the mean loss on the hospital's training rows plus `pull / 2` times the squared distance from the shared parameters:
with a large pull the model stays what all hospitals made it, with none it becomes the hospital's own. Only the parts that the plan names
are fitted (the intercept, the last layer, normalising layers, or everything); all else stays as it came.

Two ways lead there. In passes of stochastic gradient descent, like all training here, where validation rows say after how many passes to
stop (after none, the shared model stays). Or exactly, where only the last layer is fitted: its inputs are worked out once, the objective is
convex, and L-BFGS in double precision finds the one answer, whatever the order of the rows.

Source: Li et al., Ditto: Fair and robust federated learning through personalization, ICML 2021, equation 2 (the pull is its lambda).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.learning.fit import validation_score
from wardround.learning.network import fill, new_network, parameters_of, use_as_it_is
from wardround.learning.options import FedAvgOptions
from wardround.learning.pictures import Pictures
from wardround.learning.pull import pull
from wardround.learning.train import corrected, optimiser_for, train
from wardround.study.arrays import Arrays
from wardround.study.errors import DataError
from wardround.study.interfaces import Batch
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from torch import Tensor, nn

ITERATIONS = 200
"""Of L-BFGS at most; a last layer needs some tens."""

AT_ONCE = 4096
"""Rows of a table whose inputs of the last layer are worked out in one step; of pictures, a batch."""


@dataclass(frozen=True)
class Setting:
    """Hold one way to fit a shared model further.

    Attributes:
        pull: towards the shared parameters, per mean loss: larger stays nearer.
        passes: over the rows, at most.
        local: batch size and learning rate of a pass.
    """

    pull: float
    passes: int
    local: FedAvgOptions


@dataclass(frozen=True)
class Tuned:
    """Hold a model that was fitted further.

    Attributes:
        parameters: all of the model's, fitted or not.
        passes: after how many passes; 0 where it stayed what it was, 1 where it was solved exactly.
        score: on validation rows, larger is better; NaN without any.
    """

    parameters: Arrays
    passes: int
    score: float


def fitted(protocol: Protocol, shared: Arrays, parts: Collection[str]) -> frozenset[str]:
    """Return the names of the parameters that are fitted further: numbers of these parts, and all where no part is named."""
    model = protocol.model_plugin
    return frozenset(
        name for name, value in shared.items() if value.dtype.kind == "f" and (not parts or model.parts(name).intersection(parts))
    )


def in_passes(protocol: Protocol, shared: Arrays, parts: Collection[str], rows: tuple[Batch, Batch], how: Setting, rng: Stream) -> Tuned:
    """Fit in passes and return what validation likes best, the shared model among it; without validation rows what the last pass gave.

    Args:
        protocol: gives model and question.
        shared: parameters to start from and to be pulled towards.
        parts: what is fitted.
        rows: to train on, and to stop by.
        how: pull, passes and learning rate.
        rng: names the order of batches.
    """
    training, validation = rows
    network, chosen = new_network(protocol), fitted(protocol, shared, parts)
    fill(network, shared)
    _hold(protocol, network, chosen, parts)
    optimiser = optimiser_for(network, how.local)
    if how.pull:
        corrected(optimiser, network, pull(network, how.pull))
    best = Tuned(shared, 0, validation_score(protocol, network, validation))
    for number in range(1, how.passes + 1):
        try:
            train(network, protocol.question_plugin, training, how.local, rng.child("pass", number), optimiser)
            score = validation_score(protocol, network, validation)
        except DataError:
            break  # it diverges: the best pass before it stands
        if np.isnan(score) or np.isnan(best.score) or score > best.score:
            own = {name: value for name, value in parameters_of(network).items() if name in chosen}
            best = Tuned({**shared, **own}, number, score)
    return best


def _hold(protocol: Protocol, network: nn.Module, chosen: Collection[str], parts: Collection[str]) -> None:
    """Let only the chosen parameters be trained; BatchNorm that is not fitted keeps its running figures and is used as in prediction."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in chosen)
    if not parts or "norm" in parts:
        return
    use_as_it_is(network, lambda name: "norm" in protocol.model_plugin.parts(name))


def exactly(protocol: Protocol, shared: Arrays, parts: Collection[str], training: Batch, validation: Batch, pull: float) -> Tuned:
    """Return the one model that minimises the objective over the last layer, or over its intercept alone.

    Args:
        protocol: gives model and question.
        shared: parameters to be pulled towards.
        parts: what is fitted: all of it belongs to the last layer.
        training: rows to fit.
        validation: rows that tell how good it is.
        pull: above 0, so that there is one answer, and a finite one.
    """
    network, chosen = new_network(protocol), fitted(protocol, shared, parts)
    fill(network, shared)
    place, head = _head(protocol, network)
    if len(training["mask"]):
        solved = _solved(protocol, network, head, training, {name: shared[f"{place}{name}"] for name in _own(head, place, chosen)}, pull)
        shared = {**shared, **{f"{place}{name}": value for name, value in solved.items()}}
        fill(network, shared)
    return Tuned(shared, 1, validation_score(protocol, network, validation))


def _own(head: nn.Module, place: str, chosen: Collection[str]) -> list[str]:
    return [name for name, _ in head.named_parameters() if f"{place}{name}" in chosen]


def _head(protocol: Protocol, network: nn.Module) -> tuple[str, nn.Module]:
    """Return the last layer, and what its parameters' names begin with."""
    names = [name for name, _ in network.named_parameters() if "head" in protocol.model_plugin.parts(name)]
    path = names[0].rpartition(".")[0]
    return (f"{path}." if path else ""), network.get_submodule(path)


def _solved(
    protocol: Protocol, network: nn.Module, head: nn.Module, training: Batch, centre: Arrays, pull: float
) -> Mapping[str, np.ndarray]:
    """Return the head's fitted parameters, by their names in it and in the type in which they came."""
    import torch

    features = _features(network, head, training["x"])
    batch: dict[str, Any] = {name: torch.from_numpy(value) for name, value in training.items() if name != "x"}
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    fine = deepcopy(head).double()
    free = {name: parameter.requires_grad_(name in centre) for name, parameter in fine.named_parameters() if name in centre}
    start = {name: parameter.detach().clone() for name, parameter in free.items()}
    optimiser = torch.optim.LBFGS(
        list(free.values()), max_iter=ITERATIONS, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimiser.zero_grad()
        away = sum(((parameter - start[name]) ** 2).sum() for name, parameter in free.items())
        value: Tensor = protocol.question_plugin.loss(fine(features), batch).mean() + 0.5 * pull * away
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(objective)  # type: ignore[no-untyped-call]
    return {name: parameter.detach().numpy().astype(centre[name].dtype) for name, parameter in free.items()}


def _features(network: nn.Module, head: nn.Module, x: np.ndarray | Pictures) -> Tensor:
    """Return the last layer's inputs of all rows, float64, as in prediction (nothing dropped out)."""
    import torch

    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0].double()))
    network.eval()
    step = 64 if isinstance(x, Pictures) else AT_ONCE
    with torch.inference_mode():
        for first in range(0, len(x), step):
            network(torch.from_numpy(x[first : first + step]))
    hook.remove()
    return torch.cat(seen).clone()
