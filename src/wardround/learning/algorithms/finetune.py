"""Fit the shared model further at each hospital, as far as its own validation rows say that this helps.

A phase after training. Each hospital takes the shared model as it uses it (with its private parts, where there are any) and fits the parts
that the plan names to its own training rows, pulled towards what it received. Among the settings that the plan lists, and leaving the model
as it is, its validation rows choose; where the protocol refits, the choice is fitted again to training and validation rows together. A
hospital with too few validation patients to choose keeps the shared model. Only where the plan states one pull and an exact solution is
there nothing to choose: then even thirty patients can move an intercept, by as much as their number weighs against the pull.

Nothing of the model leaves: the only sum is how many hospitals took part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from wardround.learning.algorithms.evaluate import as_used_here, shared_model
from wardround.learning.norm import norm_here
from wardround.learning.options import FedAvgOptions
from wardround.learning.rows import batch_of, joined
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm, Batch
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

if TYPE_CHECKING:
    from wardround.learning.personal import Tuned

Pull = Annotated[float, Field(ge=0, le=1e6)]
Pulls = Annotated[tuple[Pull, ...], Field(min_length=1, max_length=20)]
Rate = Annotated[float, Field(gt=0, le=100)]
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, max_length=20)]

STAYED = -1
"""Choice of a hospital that keeps the shared model."""


@dataclass(frozen=True)
class FineTuneOptions:
    """Hold how a shared model is fitted further.

    Attributes:
        parts: what is fitted: "intercept", "head" (the last layer), "norm" (normalising layers); none named: everything.
        solver: "passes" of stochastic gradient descent; or "exact", where only the last layer is fitted.
        passes: over the training rows, at most.
        batch_size: examples in one step.
        learning_rate: of a pass; several are tried.
        momentum: of a pass.
        mu: pull towards the shared model beside the mean loss of an example (the lambda of Ditto); several are tried.
        prior: pull beside the sum of all examples' losses: it weighs less the more patients a hospital has; several are tried.
        least: validation patients under which a hospital does not choose.
    """

    parts: tuple[Literal["intercept", "head", "norm"], ...] = ()
    solver: Literal["passes", "exact"] = "passes"
    passes: Annotated[int, Field(ge=1, le=10_000)] = 10
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    learning_rate: Rate | Rates = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mu: Pull | Pulls = 0.0
    prior: Pull | Pulls = 0.0
    least: Annotated[int, Field(ge=1, le=1_000_000)] = 20

    @property
    def settings(self) -> tuple[tuple[float, float, float], ...]:
        """Return what is tried: mu, prior and learning rate; an exact solution knows no learning rate."""
        rates = _several(self.learning_rate)[: 1 if self.solver == "exact" else None]
        return tuple(product(_several(self.mu), _several(self.prior), rates))

    @property
    def stated(self) -> bool:
        """Return whether the plan leaves nothing to choose: one pull, and an exact solution."""
        return self.solver == "exact" and len(self.settings) == 1


def _several(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True)
class FineTune(Algorithm):
    """Make a model of each hospital's own out of the shared one."""

    Options: ClassVar[type] = FineTuneOptions
    gives = "personal model"
    options: FineTuneOptions = field(default_factory=FineTuneOptions)

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once there is a model to fit further and an exact solution where one is asked for."""
        need_shared(protocol, phase.name)
        (made,) = super().expand(protocol, phase)
        if made.options.solver == "exact":
            _need_exact(protocol, made.options, f"phases.{phase.name}")
        return (made,)

    def leaves(self) -> tuple[int, str]:
        """Return one answer that says nothing but that the site took part."""
        return 1, "the number 1 and nothing else: the model that is fitted further here stays at the hospital"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the shared model, after a refit also as validation judged it.

        Raises:
            ProtocolError: the model has none of the parts that are to be fitted.
        """
        model, parts = shared_model(protocol, earlier, self.phase), self.options.parts
        if parts and not any(protocol.model_plugin.parts(name).intersection(parts) for name in under(model, "params")):
            message = f"phases.{self.phase}.parts: the model {protocol.model.kind!r} has no {' or '.join(parts)}."
            raise ProtocolError(message, "Name other parts, or none to fit everything.")
        return State(self.phase, 0, model)

    def ask(self, state: State) -> Ask:
        """Ask each site to fit the model further and to say that it did."""
        return Ask(state.arrays, (Term.count("sites", (), 1, self.protocol.bounds.sites),))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Fit, keep the model here, and count one."""
        from wardround.learning.network import reproducible

        used = as_used_here(ask.arrays, mine, str(self.protocol.giving("model", before=self.phase)))
        norm = norm_here(self.protocol, under(ask.arrays, "norm"), data)
        training, validation = (batch_of(self.protocol, data, norm, role) for role in ("train", "validation"))
        shared = under(used, "params")
        before = under(used, "validated") or shared
        with reproducible(rng):
            choice, passes, tuned = self._chosen(before, training, validation, rng)
            final = tuned
            if self.protocol.evaluation.refit and len(validation["mask"]):
                final = shared if choice == STAYED else self._again(shared, choice, passes, training, validation, rng)
            elif choice == STAYED:
                final = shared
        model = {**put_under("params", final), **put_under("validated", tuned), **put_under("norm", norm)}
        return Answer({"sites": np.ones(())}), {**model, "choice": np.asarray(choice), "passes": np.asarray(passes)}

    def _chosen(self, shared: Arrays, training: Batch, validation: Batch, rng: Stream) -> tuple[int, int, Arrays]:
        """Return which setting (`STAYED` for none), after how many passes, and the parameters; only validation rows choose."""
        from wardround.learning.fit import validation_score
        from wardround.learning.network import fill, new_network

        many = range(len(self.options.settings))
        if self.options.stated and len(training["mask"]):
            return 0, 1, self._fit(0, shared, training, validation, rng).parameters
        if len(np.unique(validation["patient"])) < self.options.least or not len(training["mask"]):
            return STAYED, 0, shared
        network = new_network(self.protocol)
        fill(network, shared)
        best = (validation_score(self.protocol, network, validation), STAYED, 0, shared)
        for number in many:
            found = self._fit(number, shared, training, validation, rng.child("setting", number))
            if found.passes and found.score > best[0]:
                best = (found.score, number, found.passes, found.parameters)
        return best[1:]

    def _again(self, shared: Arrays, choice: int, passes: int, training: Batch, validation: Batch, rng: Stream) -> Arrays:
        """Return the choice fitted again, to training and validation rows together, for as many passes as it had."""
        rows = joined([training, validation])
        nothing = {name: value[:0] for name, value in validation.items()}
        return self._fit(choice, shared, rows, nothing, rng.child("refit"), passes).parameters

    def _fit(self, number: int, shared: Arrays, training: Batch, validation: Batch, rng: Stream, passes: int | None = None) -> Tuned:
        from wardround.learning.personal import Setting, exactly, in_passes

        options, (mu, prior, rate) = self.options, self.options.settings[number]
        pull = mu + prior / len(training["mask"])
        if options.solver == "exact":
            return exactly(self.protocol, shared, options.parts, training, validation, pull)
        local = FedAvgOptions(batch_size=options.batch_size, learning_rate=rate, momentum=options.momentum)
        how = Setting(pull, passes or options.passes, local)
        return in_passes(self.protocol, shared, options.parts, (training, validation), how, rng)

    def advance(self, state: State, total: Total) -> Done:
        """Return how many sites have a personalised model."""
        return Done(self.phase, 1, {"sites": total.sums["sites"]})


def need_shared(protocol: Protocol, phase: str) -> None:
    """Refuse a phase that needs a model that was trained together before there is one.

    Raises:
        ProtocolError: there is none.
    """
    if protocol.giving("model", before=phase) is None:
        raise ProtocolError(f"phases.{phase}: there is no shared model to personalise yet.", "Put a phase of kind 'fedavg' before it.")


def _need_exact(protocol: Protocol, options: FineTuneOptions, key: str) -> None:
    """Refuse an exact solution where there is none: beyond the last layer, or where nothing holds it.

    Raises:
        ProtocolError: saying which.
    """
    all_is_head = "head" in protocol.model_plugin.parts("")  # a model of one layer calls every name the head's
    if not (all_is_head or (options.parts and set(options.parts) <= {"intercept", "head"})):
        remedy = "Write parts = ['head'] or ['intercept'], or solver = 'passes'."
        raise ProtocolError(f"{key}.solver: an exact solution exists for the last layer alone.", remedy)
    if any(mu + prior <= 0 for mu, prior, _ in options.settings):
        wrong = f"{key}.solver: an exact solution needs a pull above 0, or few patients could have none."
        raise ProtocolError(wrong, "Write prior = 1.0 (or another, or several), or mu.")
