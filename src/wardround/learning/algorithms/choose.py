"""Let each hospital choose the model that it will use: the shared one, its personalised one, or the one that it trained alone.

A phase after all of these. Each hospital scores its validation rows with each model that it has, and leaves the shared model only for one
that is better by the primary metric *beyond noise*: by more than `errors` standard errors of the paired difference, from bootstrap
replicates by patient. With few validation patients the standard error is large and the hospital stays; under `least` patients it does not
look at all. Where the primary metric does not exist on its validation rows (one class only), the loss takes its place.

What is chosen is kept as the hospital's personalised model, in the place of an earlier phase's. Who adds up learns how many hospitals
chose which, and where the plan does not let counts leave in plain sums, how many chose at all.

Source: the rule of Breiman et al., Classification and regression trees, 1984, section 3.4.3 (there one standard error), turned round: here
it keeps the shared model. Two are the default, since there may be two others to choose from: of equal models one site in twenty leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from wardround.learning.algorithms.evaluate import as_used_here, bootstrap_weights, scorer, shared_model
from wardround.learning.algorithms.finetune import need_shared
from wardround.learning.evaluation import LEAST
from wardround.learning.norm import no_norm, norm_here
from wardround.learning.rows import batch_of
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

FEDERATED, PERSONALISED, LOCAL = WORDS = ("federated", "personalised", "local")
"""What can be chosen; a hospital keeps the place of its choice in this list."""

GIVING: Mapping[str, str] = {PERSONALISED: "personal model", LOCAL: "own model"}
"""By word: what a phase that makes such a model gives."""


@dataclass(frozen=True)
class ChooseOptions:
    """Hold when a hospital leaves the shared model.

    Attributes:
        errors: by how many standard errors of the paired difference another model must be better.
        least: validation patients under which a hospital stays with the shared model.
        replicates: of the bootstrap by patient that gives the standard error.
    """

    errors: Annotated[float, Field(ge=0, le=10)] = 2.0
    least: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    replicates: Annotated[int, Field(ge=50, le=10_000)] = 200


@dataclass(frozen=True)
class Choose(Algorithm):
    """Keep at each hospital the model that its validation rows like best, the shared one unless another is better beyond noise."""

    Options: ClassVar[type] = ChooseOptions
    gives = "personal model"
    options: ChooseOptions = field(default_factory=ChooseOptions)

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once there is a shared model and another one to choose from."""
        need_shared(protocol, phase.name)
        if not any(protocol.giving(what, before=phase.name) for what in GIVING.values()):
            message = f"phases.{phase.name}: there is nothing to choose from beside the shared model."
            raise ProtocolError(message, "Put a phase of kind 'local', 'finetune' or 'ditto' before it.")
        return super().expand(protocol, phase)

    @property
    def words(self) -> tuple[str, ...]:
        """Return what can be chosen in this study."""
        return (FEDERATED, *(word for word, what in GIVING.items() if self.protocol.giving(what, before=self.phase) is not None))

    @property
    def told(self) -> bool:
        """Return whether it is told who chose what: in totals that hide the single hospital, or where the plan lets counts leave."""
        return self.protocol.hides or self.protocol.privacy.counts

    def leaves(self) -> tuple[int, str]:
        """Return one answer: that the site chose, and where this may be told, what."""
        which = f", and which model was chosen ({', '.join(self.words[:-1])} or {self.words[-1]})" if self.told else ""
        return 1, f"the number 1{which}; the model that is chosen stays at the hospital"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the shared model, after a refit also as validation judged it."""
        return State(self.phase, 0, shared_model(protocol, earlier, self.phase))

    def ask(self, state: State) -> Ask:
        """Ask each site to choose, and to say that it did."""
        names = ("sites", *(f"chosen/{word}" for word in self.words)) if self.told else ("sites",)
        return Ask(state.arrays, tuple(Term.count(name, (), 1, self.protocol.bounds.sites) for name in names))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Score the validation rows with each model, choose, and keep the choice here."""
        models = self._models(ask, data, mine)
        choice = self._choice(models, data, rng)
        sums = {"sites": np.ones(()), **{f"chosen/{word}": np.asarray(float(word == choice)) for word in self.words}}
        kept = {name: value for name, value in models[choice].items() if name.startswith(("params/", "validated/", "norm/"))}
        return Answer({term.name: sums[term.name] for term in ask.layout}), {**kept, "choice": np.asarray(WORDS.index(choice))}

    def _models(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays]) -> dict[str, Arrays]:
        """Return by word each model that this site has: a site that was absent in a phase lacks that phase's."""
        shared = as_used_here(ask.arrays, mine, str(self.protocol.giving("model", before=self.phase)))
        model = {name: value for name, value in shared.items() if not name.startswith("norm/")}
        norm = norm_here(self.protocol, under(ask.arrays, "norm"), data)
        own = {word: mine.get(str(self.protocol.giving(what, before=self.phase))) for word, what in GIVING.items()}
        return {FEDERATED: {**model, **put_under("norm", norm)}, **{word: found for word, found in own.items() if found is not None}}

    def _choice(self, models: Mapping[str, Arrays], data: Dataset, rng: Stream) -> str:
        if len(np.unique(data.patient[data.rows("validation")])) < self.options.least:
            return FEDERATED
        weights = bootstrap_weights(data, self.options.replicates, rng, "validation")
        scorers = {word: scorer(self.protocol, model, under(model, "norm"), data) for word, model in models.items()}
        question, batch = self.protocol.question_plugin, batch_of(self.protocol, data, no_norm(self.protocol), "validation")
        sums = {word: question.metrics(score("validation"), batch, weights) for word, score in scorers.items()}
        for metric, sign in ((self.protocol.primary, self.protocol.direction), ("loss", -1)):
            values = {word: sign * np.atleast_1d(question.finalise(one, metric)) for word, one in sums.items()}
            if not np.isnan(values[FEDERATED][0]):
                break
        return beyond_noise(values, self.options.errors)

    def advance(self, state: State, total: Total) -> Done:
        """Return how many sites chose, and where it is told, what."""
        return Done(self.phase, 1, total.sums)


def beyond_noise(values: Mapping[str, np.ndarray], errors: float) -> str:
    """Return the model with the largest gain over the federated one among those whose gain is beyond noise; else the federated one.

    Args:
        values: by model, a metric of which larger is better as [1 + R]: the plain value, then bootstrap replicates, the same draws for all.
        errors: how many standard errors of the paired difference are noise.
    """
    best, most = FEDERATED, 0.0
    for word, value in values.items():
        gain = value - values[FEDERATED]
        known = gain[1:][~np.isnan(gain[1:])]
        if len(known) >= LEAST and gain[0] > most and gain[0] > errors * np.std(known):
            best, most = word, float(gain[0])
    return best
