"""Harmonise numbers between sites before training: linear ComBat in two rounds of sums.

In the first, sites send sums of products of numbers and covariates, about their own means; level, effects of the covariates and the common
spread follow. In the second each site takes its own shift and scale away and sends the moments of what is left, by which the inputs are
then normalised. What it gives is a normalisation, like that of `moments`; a site's own shift and scale stay with it (`learning/combat.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from wardround.learning import combat
from wardround.learning.inputs import measured
from wardround.learning.norm import mean_and_deviation, moment_sums
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.findings import nearest
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

_FAR = 1024.0
"""How far a harmonised value may lie from the middle of the contract's range, in units of half of it, on average over a site's rows."""


@dataclass(frozen=True)
class CombatOptions:
    """Say what is harmonised.

    Attributes:
        fields: numbers to harmonise; none named: all number inputs that are no covariates.
        covariates: fields whose effects stay: what truly differs between patients, such as age and sex.
        shrink: draw each site's shift and scale of a field towards the mean over its fields (empirical Bayes).
    """

    fields: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    shrink: bool = True


@dataclass(frozen=True)
class Combat(Algorithm):
    """Give `mean` and `deviation` of the harmonised inputs, and under `combat/` what every site needs to harmonise its own."""

    Options: ClassVar[type] = CombatOptions
    gives = "norm"
    options: CombatOptions = field(default_factory=CombatOptions)

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once its fields are numbers and its covariates never missing.

        Raises:
            ProtocolError: an option does not fit the contract, or the model is not normalised by this phase.
        """
        found = super().expand(protocol, phase)
        for one in found:
            if isinstance(one, Combat):
                one._check()
        return found

    def _check(self) -> None:
        contract, where = self.protocol.contract, f"phases.{self.phase}"
        if self.protocol.model.normalise != "combat":
            message = f"{where}: a phase of kind 'combat' is for model.normalise = 'combat'."
            raise ProtocolError(message, "Write normalise = 'combat' under [model], or leave the phase out.")
        for name in (*self.options.fields, *self.options.covariates):
            if name not in contract.fields:
                raise ProtocolError(f"{where}: the contract has no field {name!r}.", nearest(name, contract.fields))
        for name in self.about.fields:
            if name not in contract.inputs or contract.fields[name].range is None:
                raise ProtocolError(f"{where}.fields: {name!r} is no number among the inputs.", "Name number inputs.")
        for name in self.options.covariates:
            if name in contract.targets or name in self.about.fields:
                reason = "is the label, which nobody knows of a new patient" if name in contract.targets else "is itself harmonised"
                raise ProtocolError(f"{where}.covariates: {name!r} {reason}.", "Leave it out.")
            if contract.fields[name].missing != "refuse" or contract.fields[name].outside != "refuse":
                message = f"{where}.covariates: {name!r} may be missing, and a covariate may not."
                raise ProtocolError(message, "Leave the field's keys missing and outside out of the contract, or the covariate here.")
        if not self.about.fields:
            raise ProtocolError(f"{where}: no number is left to harmonise.", "Name fields, or fewer covariates.")
        twice = [*self.about.fields, *self.options.covariates]
        if len(set(twice)) < len(twice):
            raise ProtocolError(f"{where}: names a field twice.", "Leave out the second.")

    @property
    def about(self) -> combat.Fields:
        """Return what is harmonised, and by what."""
        return combat.Fields.of(self.protocol.contract, self.options.fields, self.options.covariates)

    def leaves(self) -> tuple[int, str]:
        """Return two answers: sums of products, and moments."""
        numbers = f"{len(self.about.fields)} numbers"
        with_covariates = f" and with {', '.join(self.options.covariates)}" if self.options.covariates else ""
        return 2, (
            f"sums over training rows of {numbers}, and of their products with themselves{with_covariates}; then, with the site's shift "
            "and scale taken away, how many values of each input are known, their sum and their sum of squares"
        )

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the first of two states."""
        return State(self.phase, 0, {})

    def ask(self, state: State) -> Ask:
        """Ask for sums of products; then, with what follows from them, for the moments of harmonised inputs."""
        bounds = self.protocol.bounds
        if state.round == 0:
            return Ask({}, self._products())
        columns = measured(self.protocol.contract)
        reach = np.full(columns, float(bounds.examples) * _FAR)
        return Ask(
            dict(state.arrays),
            (
                Term.count("present", (columns,), bounds.examples, bounds.sites),
                Term.sized("sum", (columns,), reach, bounds.sites, bits=64),
                Term.sized("squares", (columns,), reach * _FAR, bounds.sites, bits=64),
            ),
        )

    def _products(self) -> tuple[Term, ...]:
        bounds, fields, columns = self.protocol.bounds, len(self.about.fields), self.about.columns
        shapes = {"y": (fields,), "yy": (fields,), "x": (fields, columns), "xy": (fields, columns), "xx": (fields, columns, columns)}
        terms = [Term.count("known", (fields,), bounds.examples, bounds.sites)]
        for name, shape in shapes.items():
            if all(shape):
                # A scaled value is at most 1 in size, and at most 2 from a mean.
                most = float(bounds.examples) * (4.0 if len(name) == 2 else 1.0)
                terms.append(Term.sized(name, shape, np.full(shape, most), bounds.sites, bits=64))
        return tuple(terms)

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's sums; with the second ones, keep its own shift and scale here, for its own eyes."""
        about, shared = self.about, under(ask.arrays, combat.PREFIX)
        if not shared:
            found = combat.sums(about, data)
            return Answer({term.name: np.asarray(found[term.name]) for term in ask.layout}), None
        shift, scale = combat.site_effects(about, shared, data, self.options.shrink)
        return Answer(moment_sums(self.protocol, data, ask.arrays)), {"shift": shift, "scale": scale}

    def advance(self, state: State, total: Total) -> State | Done:
        """Return level, effects and spread; then mean and deviation of the harmonised inputs with them."""
        if state.round == 1:
            return Done(self.phase, 2, {**mean_and_deviation(total.sums), **state.arrays})
        fields = len(self.about.fields)
        nothing = {"x": np.zeros((fields, 0)), "xy": np.zeros((fields, 0)), "xx": np.zeros((fields, 0, 0))}
        return State(self.phase, 1, put_under(combat.PREFIX, combat.solved({**nothing, **total.sums})))
