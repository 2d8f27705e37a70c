"""Let each site train a model of its own, tuned with the same care, to know what it would have had alone.

Nothing of the model leaves: the only sum is how many sites took part. The model is kept at the site for the evaluation phase and for the
hospital's own use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wardround.learning.algorithms.tuned import grid
from wardround.learning.norm import own_norm
from wardround.learning.rows import batch_of
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total


def training_phase(protocol: Protocol, before: str | None = None) -> Phase:
    """Return the training phase whose options and grid a comparison shares.

    Raises:
        ProtocolError: there is none before the comparing phase.
    """
    name = protocol.giving("model", before)
    for phase in protocol.phases:
        if phase.name == name:
            return phase
    raise ProtocolError(f"phases.{before}: there is no training phase to compare with.", "Put a phase of kind 'fedavg' before it.")


@dataclass(frozen=True)
class Local(Algorithm):
    """Train alone, with the training phase's options, grid and budget, normalised by the site's own moments."""

    gives = "own model"

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once there is a training phase to compare with."""
        training_phase(protocol, phase.name)
        return super().expand(protocol, phase)

    def leaves(self) -> tuple[int, str]:
        """Return one answer that says nothing but that the site took part."""
        return 1, "the number 1 and nothing else: the model that is trained here stays at the hospital"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the initial parameters: a site alone starts where all start."""
        return State(self.phase, 0, put_under("params", earlier["initial"].results))

    def ask(self, state: State) -> Ask:
        """Ask each site to train alone and to say that it did."""
        return Ask(state.arrays, (Term.count("sites", (), 1, self.protocol.bounds.sites),))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Train, keep the model here, and count one."""
        from wardround.learning.fit import fit

        norm = own_norm(self.protocol, data)
        training, validation = (batch_of(self.protocol, data, norm, role) for role in ("train", "validation"))
        settings = grid(self.protocol, training_phase(self.protocol, self.phase))
        best = fit(self.protocol, training, validation, settings, under(ask.arrays, "params"), rng)
        model = {**put_under("params", best.parameters), **put_under("validated", best.validated), **put_under("norm", norm)}
        return Answer({"sites": np.ones(())}), {**model, "choice": np.asarray(best.choice), "passes": np.asarray(best.passes)}

    def advance(self, state: State, total: Total) -> Done:
        """Return how many sites have a model of their own."""
        return Done(self.phase, 1, {"sites": total.sums["sites"]})
