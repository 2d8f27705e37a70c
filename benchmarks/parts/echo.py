"""A phase without training, for measuring what everything else costs: each site gives back what it received, plus one step.

Everything but the local computation is what hospitals run: gate, fixed point, signatures, logs, hub, fold, store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wardround.learning.options import FedAvgOptions
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

TENSOR = 1_000_000
"""Numbers in one tensor, as in a layer of a large network."""

LIMIT = 16.0


@dataclass(frozen=True)
class Echo(Algorithm):
    """Ask each site for the sum of what it received and a constant, for some rounds.

    Attributes:
        numbers: float32 parameters of the model.
        rounds: to be run.
        tensor: the most numbers in one tensor.
    """

    Options: ClassVar[type] = FedAvgOptions
    options: Any = field(default_factory=FedAvgOptions)
    numbers: int = 8
    rounds: int = 3
    tensor: int = TENSOR

    def leaves(self) -> tuple[int, str]:
        """Return how many answers a site gives at most: more than any case asks for, and what its hospitals allow."""
        return 1_000, "what was received, and a constant"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return parameters of noise, so that nothing can be saved by their being alike."""
        sizes = [min(self.tensor, self.numbers - at) for at in range(0, self.numbers, self.tensor)]
        noise = np.random.default_rng(7)
        return State(self.phase, 0, {f"params/{n:04d}": noise.random(size, dtype=np.float32) for n, size in enumerate(sizes)})

    def ask(self, state: State) -> Ask:
        """Ask for one step of every parameter."""
        shapes = {name: value.shape for name, value in state.arrays.items()}
        terms = tuple(Term.sized(name, shape, LIMIT, self.protocol.bounds.sites) for name, shape in sorted(shapes.items()))
        return Ask(state.arrays, terms)

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return what was received, plus a thousandth."""
        return Answer({term.name: ask.arrays[term.name] + np.float32(0.001) for term in ask.layout}), None

    def advance(self, state: State, total: Total) -> State | Done:
        """Return the mean."""
        new = {name: (total.sums[name] / total.sites).astype(np.float32) for name in sorted(state.arrays)}
        if state.round + 1 < self.rounds:
            return State(self.phase, state.round + 1, new)
        return Done(self.phase, self.rounds, {"last": new["params/0000"][:1]})


def stand_in(protocol: Protocol, numbers: int = 8, rounds: int = 3, tensor: int = TENSOR) -> Echo:
    """Return the echo, and make it the only phase of a protocol in this process: where sites repeat the rounds, they repeat this one."""
    algorithm = Echo("train", protocol, numbers=numbers, rounds=rounds, tensor=tensor)
    vars(protocol).update(algorithms=(algorithm,), by_phase={"train": algorithm})
    return algorithm


def peak_memory() -> float:
    """Return the most memory that this process has had resident, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1000
