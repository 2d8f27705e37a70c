"""Try a grid of settings and keep the one that validation likes best.

Each setting is a phase of its own ("train.0", "train.1", ...); the phase with the plain name chooses among them, and, where the protocol
says so, trains the choice again on training and validation rows together. Only validation rows decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import product

import numpy as np

from wardround.learning.algorithms.fedavg import FedAvg
from wardround.learning.norm import need_moments
from wardround.learning.options import FedAvgOptions
from wardround.study.arrays import Arrays, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.plugins import validated
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total


def grid(protocol: Protocol, phase: Phase) -> list[FedAvgOptions]:
    """Return the settings that the protocol wants tried for a training phase; one when there is nothing to tune.

    Raises:
        ProtocolError: `evaluation.tune` names something that is not an option, or gives an impossible value.
    """
    tune = protocol.evaluation.tune
    settings: list[FedAvgOptions] = []
    for values in product(*tune.values()):
        options = {**phase.options, **dict(zip(tune, values, strict=True))}
        try:
            settings.append(validated(FedAvgOptions, options, f"phases.{phase.name}"))
        except ProtocolError as error:
            raise ProtocolError(f"evaluation.tune: {error.message}", error.remedy) from error
    return settings


@dataclass(frozen=True)
class Candidate(FedAvg):
    """Train with one setting of the grid; one that diverges at once is a bad setting, not the end of the study."""

    def cut_short(self, state: State) -> Done | None:
        """Return the best round before training diverged, which may be the initial parameters with no score."""
        return self.finish(state.arrays, state.round, state.round, "quorum")


@dataclass(frozen=True)
class Tuned(FedAvg):
    """Choose among trained candidates by validation; refit the choice where the protocol says so."""

    candidates: tuple[FedAvg, ...] = field(default=())

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return plain federated averaging; or, with a grid, one candidate for each setting and the choice between them."""
        settings = grid(protocol, phase)
        if len(settings) == 1:
            tuned = phase.model_copy(update={"options": asdict(settings[0])})
            return FedAvg.expand(protocol, tuned)
        need_moments(protocol, phase.name)
        candidates = tuple(Candidate(f"{phase.name}.{number}", protocol, setting) for number, setting in enumerate(settings))
        return (*candidates, cls(phase.name, protocol, settings[0], candidates))

    def leaves(self) -> tuple[int, str]:
        """Return the answers of the refit, if there is one."""
        return (self.options.rounds if self.protocol.evaluation.refit else 0), super().leaves()[1]

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State | Done:
        """Return the best candidate as it is, or the first state of its refit."""
        sign = protocol.question_plugin.better(protocol.evaluation.metrics[0])
        found = [earlier[candidate.phase] for candidate in self.candidates]
        kept = [float(done.results["scores"][int(done.results["kept_round"])]) for done in found]
        if all(np.isnan(score) for score in kept):
            message = f"phases.{self.phase}: training diverges with every setting in evaluation.tune."
            raise ProtocolError(message, "Try smaller learning rates.")
        choice = int(np.argmax([-np.inf if np.isnan(score) else sign * score for score in kept]))
        done = found[choice]
        chosen = {"choice": np.asarray(choice)}
        rounds = int(done.results["kept_round"])
        if not protocol.evaluation.refit or rounds == 0:
            return Done(self.phase, 0, {**done.results, **chosen}, done.stopped, done.model)
        first = self.candidates[choice].begin(protocol, earlier, rng)
        assert isinstance(first, State)
        arrays = {name: value for name, value in first.arrays.items() if name.startswith(("params/", "norm/", "server/"))}
        return State(self.phase, 0, {**arrays, **chosen, "refit_rounds": np.asarray(rounds)})

    def ask(self, state: State) -> Ask:
        """Ask for an update on training and validation rows together."""
        choice = int(state.arrays["choice"])
        params = under(state.arrays, "params")
        return self.candidates[choice].ask_for(state, params, train=True, validate=False, roles=("train", "validation"), choice=choice)

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Train with the chosen setting."""
        return self.candidates[int(ask.options["choice"])].answer(ask, data, mine, rng)

    def advance(self, state: State, total: Total) -> State | Done:
        """Step; end after as many rounds as the chosen candidate's best had seen."""
        choice, rounds = int(state.arrays["choice"]), int(state.arrays["refit_rounds"])
        arrays = {**state.arrays, **self.candidates[choice].stepped(state.arrays, total)}
        if state.round + 1 < rounds:
            return State(self.phase, state.round + 1, arrays)
        kept = {name: value for name, value in arrays.items() if name.startswith(("params/", "norm/"))}
        results = {**kept, "kept_round": np.asarray(rounds), "trained_rounds": np.asarray(rounds), "choice": np.asarray(choice)}
        return Done(self.phase, state.round + 1, results, "rounds", kept)
