"""Learn to tell pictures apart without any label, at all sites together, so that training starts from something: federated SimCLR.

Each picture of a batch is varied twice; the network shall find, among all others, the one that comes from the same picture. Labels are not
looked at, so a site may bring pictures that nobody has read. What is learnt is everything but the last layer: in its place stands a
projection that every site makes from the study's seed, and that is neither trained nor sent. The training phase after it starts from there;
so do its comparisons in a simulation that are trained in the federation. A hospital alone starts where it would start alone.

Source: Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020, equation 1 (here with a fixed
projection); Zhang et al., Federated unsupervised representation learning, arXiv 2010.08982.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field

from wardround.learning.algorithms.fedavg import FedAvg, Visit
from wardround.learning.augment import augmented, refuse_unfit
from wardround.learning.norm import need_moments, norm_here, shared_norm
from wardround.learning.options import FedAvgOptions, known
from wardround.learning.rows import batch_of
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.plugins import validated
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class PretrainOptions(FedAvgOptions):
    """Take the options of federated averaging, with batches in which there is something to tell apart.

    Attributes:
        temperature: by which likenesses are divided.
        dimensions: of the projection in which pictures are compared.
    """

    rounds: Annotated[int, Field(ge=1, le=100_000)] = 10
    batch_size: Annotated[int, Field(ge=4, le=1_000_000)] = 64
    augment: tuple[Annotated[str, AfterValidator(known)], ...] = ("shift", "rotate", "scale", "contrast", "brightness", "noise")
    temperature: Annotated[float, Field(gt=0, le=10)] = 0.5
    dimensions: Annotated[int, Field(ge=2, le=4096)] = 64


@dataclass(frozen=True)
class Pretrain(FedAvg):
    """Average updates of sites that each learn to tell their pictures apart."""

    Options: ClassVar[type] = PretrainOptions
    gives: ClassVar[Literal["start", "model"]] = "start"
    options: PretrainOptions = field(default_factory=PretrainOptions)

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm; settings are tuned for the training phase alone."""
        if len(protocol.inputs) < 2:
            remedy = "Leave the phase out, or give the contract an image."
            raise ProtocolError(f"phases.{phase.name}: 'pretrain' varies pictures, and the inputs are columns of a table.", remedy)
        if "body" in protocol.model.frozen:
            raise ProtocolError(f"phases.{phase.name}: the body is frozen, so there is nothing to pretrain.", "Leave the phase out.")
        found = cls(phase.name, protocol, validated(cls.Options, phase.options, f"phases.{phase.name}"))
        if not found.options.augment:
            raise ProtocolError(f"phases.{phase.name}.augment: without it a picture is only like itself.", "Name some changes.")
        refuse_unfit(found.options.augment, protocol.inputs)
        need_moments(protocol, phase.name)
        if protocol.giving("start", before=protocol.giving("model")) != phase.name:
            raise ProtocolError(f"phases.{phase.name}: no training starts from what it learns.", "Put it right before the training phase.")
        return (found,)

    def leaves(self) -> tuple[int, str]:
        """Return one answer a round: updates alone."""
        return (
            self.options.rounds,
            "the number of training rows and that many times the change of each parameter but the last layer's",
        )

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the initial parameters and the shared normalisation."""
        parameters = dict(earlier["initial"].results)
        server_state = put_under("server", self.start_server(self.moving(parameters)))
        norm = put_under("norm", shared_norm(protocol, self.place, earlier))
        return State(self.phase, 0, {**put_under("params", parameters), **server_state, **norm})

    def moving(self, parameters: Arrays) -> dict[str, np.ndarray]:
        """Return what is trained: all shared numbers but those of the last layer."""
        return {name: value for name, value in super().moving(parameters).items() if "head" not in self.protocol.model_plugin.parts(name)}

    def ask(self, state: State) -> Ask:
        """Ask for an update; there is nothing to validate."""
        return self.ask_for(state, ("train",), train=True, validate=False)

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Train the received body under the common projection on this site's pictures."""
        from wardround.learning.network import fill, parameters_of, reproducible

        norm = norm_here(self.protocol, under(ask.arrays, "norm"), data)
        sent = under(ask.arrays, "params")
        received, network = self.moving(sent), self._with_projection()
        with reproducible(rng):
            projection = {name: value for name, value in parameters_of(network).items() if "head" in self.protocol.model_plugin.parts(name)}
            fill(network, {**sent, **projection})
            batch = batch_of(self.protocol, data, norm, "train")
            visit = Visit(network, batch, received, mine, ask, rng, self.options.at(int(ask.options.get("round", 0))))
            self.train(visit)
            sums = self.weighed(visit, self.moved(visit))
        return Answer({term.name: sums[term.name] for term in ask.layout}), None

    def _with_projection(self) -> nn.Module:
        """Return a network whose last layer is the projection that all sites have in common; only what is sent is trained."""
        from wardround.learning.network import reproducible

        public = Stream.public(self.protocol.evaluation.seed).child("projection", self.phase)
        with reproducible(public):
            network = self.protocol.model_plugin.build(self.protocol.inputs, self.options.dimensions)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self.protocol.moves(name) and "head" not in self.protocol.model_plugin.parts(name))
        return network

    def train(self, visit: Visit) -> int:
        """Train on pairs of varied pictures and return how many steps it took; batches of one picture teach nothing and are left out."""
        import torch

        from wardround.learning.train import batches, optimiser_for

        optimiser = optimiser_for(visit.network, visit.options)
        drawn, steps = visit.rng.generator("augment"), 0
        visit.network.train()
        for rows in batches(len(visit.batch["mask"]), visit.options, visit.rng):
            if len(rows) < 2:
                continue
            x = torch.from_numpy(visit.batch["x"][rows])
            both = torch.cat([augmented(x, self.options.augment, drawn) for _ in range(2)])
            optimiser.zero_grad(set_to_none=True)
            contrast(visit.network(both), self.options.temperature).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            steps += 1
        return steps

    def advance(self, state: State, total: Total) -> State | Done:
        """Step; end after the last round."""
        arrays = {**state.arrays, **self.stepped(state.arrays, total)}
        if state.round + 1 < self.options.rounds:
            return State(self.phase, state.round + 1, arrays)
        return self._ended(arrays, state.round + 1, "rounds")

    def cut_short(self, state: State) -> Done | None:
        """Return what was learnt before training diverged."""
        return self._ended(state.arrays, state.round, "quorum")

    def _ended(self, arrays: Arrays, closed: int, stopped: str) -> Done:
        return Done(self.phase, closed, put_under("params", self.moving(under(arrays, "params"))), stopped)


def contrast(projected: Tensor, temperature: float) -> Tensor:
    """Return the mean loss of finding each picture's other half among all others: NT-Xent.

    Args:
        projected: float32 [2 B, dimensions]; rows i and i + B come from the same picture.
        temperature: by which cosines are divided.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    unit = normalize(projected, dim=1)
    alike = unit @ unit.T / temperature
    alike.fill_diagonal_(-torch.inf)
    half = len(projected) // 2
    other = torch.cat([torch.arange(half, 2 * half), torch.arange(half)])
    return cross_entropy(alike, other)
