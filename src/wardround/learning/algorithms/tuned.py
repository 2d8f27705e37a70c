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
from wardround.learning.options import FedAvgOptions
from wardround.study.arrays import Arrays, put_under, under
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

    parent: str = ""

    @property
    def place(self) -> str:
        """Return the name of the phase that chooses."""
        return self.parent

    def cut_short(self, state: State) -> Done | None:
        """Return the best round before training diverged, which may be the initial parameters with no score."""
        return self.finish(state.arrays, state.round, state.round, "quorum")


@dataclass(frozen=True)
class Tuned(FedAvg):
    """Choose among trained candidates by validation; refit the choice where the protocol says so."""

    candidates: tuple[Candidate, ...] = field(default=())

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return plain federated averaging; or, with a grid or a refit, one candidate for each setting and the choice between them."""
        settings = grid(protocol, phase)
        plain = FedAvg.expand(protocol, phase.model_copy(update={"options": asdict(settings[0])}))
        if len(settings) == 1 and not protocol.evaluation.refit:
            return plain
        names = [f"{phase.name}.{number}" for number in range(len(settings))]
        tried = tuple(Candidate(name, protocol, setting, phase.name) for name, setting in zip(names, settings, strict=True))
        return (*tried, cls(phase.name, protocol, settings[0], tried))

    def leaves(self) -> tuple[int, str]:
        """Return the answers of the refit, if there is one."""
        most = max(candidate.options.rounds for candidate in self.candidates)
        return (most if self.protocol.evaluation.refit else 0), super().leaves()[1]

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State | Done:
        """Return the best candidate as it is, or the first state of its refit.

        Raises:
            ProtocolError: training diverged with every setting.
        """
        found = [earlier[candidate.phase] for candidate in self.candidates]
        kept = [float(done.results["scores"][int(done.results["kept_round"])]) for done in found]
        if all(np.isnan(score) for score in kept) and all(done.stopped == "quorum" for done in found):
            message = f"phases.{self.phase}: training diverges with every setting that was tried."
            raise ProtocolError(message, "Try smaller learning rates.")
        choice = int(np.argmax([-np.inf if np.isnan(score) else protocol.direction * score for score in kept]))
        done, rounds = found[choice], int(found[choice].results["kept_round"])
        if not protocol.evaluation.refit or rounds == 0:
            return Done(self.phase, 0, {**done.results, "choice": np.asarray(choice)}, done.stopped, done.model)
        first = self.candidates[choice].begin(protocol, earlier, rng)
        assert isinstance(first, State)
        arrays = {name: value for name, value in first.arrays.items() if name.startswith(("params/", "norm/", "server/"))}
        validated = put_under("validated", under(done.results, "params"))
        return State(self.phase, 0, {**arrays, **validated, "choice": np.asarray(choice), "refit_rounds": np.asarray(rounds)})

    def ask(self, state: State) -> Ask:
        """Ask for an update on training and validation rows together."""
        choice = int(state.arrays["choice"])
        return self.candidates[choice].ask_for(state, ("train", "validation"), train=True, validate=False, choice=choice)

    def planned(self, ask: Ask, round: int) -> Ask:
        """Return the refit's ask for the choice that was sent."""
        return self.ask(State(self.phase, round, {**ask.arrays, "choice": np.asarray(int(ask.options["choice"]))}))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Train with the chosen setting."""
        return self.candidates[int(ask.options["choice"])].answer(ask, data, mine, rng)

    def advance(self, state: State, total: Total) -> State | Done:
        """Step; end after as many rounds as the chosen candidate's best had seen."""
        arrays = {**state.arrays, **self.candidates[int(state.arrays["choice"])].stepped(state.arrays, total)}
        if state.round + 1 < int(arrays["refit_rounds"]):
            return State(self.phase, state.round + 1, arrays)
        return self._refitted(arrays, state.round + 1, "params", "rounds")

    def cut_short(self, state: State) -> Done | None:
        """Return the chosen candidate as validation judged it, when its refit diverges."""
        return self._refitted(state.arrays, state.round, "validated", "quorum")

    def _refitted(self, arrays: Arrays, closed: int, which: str, stopped: str) -> Done:
        model = {**put_under("params", under(arrays, which)), **put_under("norm", under(arrays, "norm"))}
        facts = {"kept_round": arrays["refit_rounds"], "trained_rounds": arrays["refit_rounds"], "choice": arrays["choice"]}
        return Done(self.phase, closed, {**model, **put_under("validated", under(arrays, "validated")), **facts}, stopped, model)
