"""Try a grid of settings and keep the one that validation likes best.

Each setting is a phase of its own ("train.0", "train.1", ...); the phase with the plain name chooses among them, and, where the protocol
says so, trains the choice again on training and validation rows together. Only validation rows decide. It is the same for every method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.plugins import find, validated
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

if TYPE_CHECKING:
    from wardround.learning.algorithms.fedavg import FedAvg


def grid(protocol: Protocol, phase: Phase) -> list[Any]:
    """Return the settings that the protocol wants tried for a training phase, each the method's options; one when there is nothing to tune.

    Raises:
        ProtocolError: `evaluation.tune` names something that is not an option, or gives an impossible value.
    """
    tune, options_class = protocol.evaluation.tune, find("algorithm", phase.kind).Options
    settings: list[Any] = []
    for values in product(*tune.values()):
        options = {**phase.options, **dict(zip(tune, values, strict=True))}
        try:
            settings.append(validated(options_class, options, f"phases.{phase.name}"))
        except ProtocolError as error:
            raise ProtocolError(f"evaluation.tune: {error.message}", error.remedy) from error
    return settings


def expanded(method: type[FedAvg], protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
    """Return a method once; or, with a grid or a refit, once for each setting, and the choice between them."""
    settings = grid(protocol, phase)
    if len(settings) == 1 and not protocol.evaluation.refit:
        return (method(phase.name, protocol, settings[0]),)
    names = [f"{phase.name}.{number}" for number in range(len(settings))]
    tried = tuple(method(name, protocol, setting, phase.name) for name, setting in zip(names, settings, strict=True))
    return (*tried, Tuned(phase.name, protocol, settings[0], tried))


@dataclass(frozen=True)
class Tuned(Algorithm):
    """Choose among trained candidates by validation; refit the choice where the protocol says so."""

    gives = "model"
    candidates: tuple[FedAvg, ...] = field(default=())

    def leaves(self) -> tuple[int, str]:
        """Return the answers of the refit, if there is one."""
        most = max(candidate.options.rounds for candidate in self.candidates)
        return (most if self.protocol.evaluation.refit else 0), self.candidates[0].leaves()[1]

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
        """Train with the chosen setting; what this site keeps of the refit is its own, not the candidate's."""
        chosen = self.candidates[int(ask.options["choice"])]
        return chosen.answer(ask, data, {chosen.phase: mine.get(self.phase, {})}, rng)

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
