"""Test the model once, at every site, on its test patients, beside the site's own model.

Sites send histograms of scores and the same histograms under bootstrap weights that are private and keyed by patient: the same for all
models of one ask, so that differences pair; public weights would give single patients' scores away. A site keeps its own sums, for its
own report.

Source: Hanley and McNeil 1982 (AUROC); Chamandy et al., Estimating uncertainty for massive data streams, Google 2012 (Poisson bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from wardround.learning.algorithms.fedavg import PRIVATE
from wardround.learning.norm import no_norm, norm_here
from wardround.learning.questions.curves import HEAVIEST
from wardround.learning.rows import batch_of
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

OF_A_SITE: Mapping[str, str] = MappingProxyType({"local": "own model", "personalised": "personal model"})
"""Models of a site's own, by what the phases that make them give (`Algorithm.gives`)."""

INTERVAL = "interval"
"""What validation rows are asked for at the end: whatever chooses a threshold or an interval."""


@dataclass(frozen=True)
class Evaluate(Algorithm):
    """Judge the last model and, where an earlier phase trained them, each site's own."""

    gives = "judgement"

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once there is a model to test."""
        if protocol.giving("model", before=phase.name) is None:
            raise ProtocolError(f"phases.{phase.name}: there is no model to test yet.", "Put a phase of kind 'fedavg' before it.")
        return super().expand(protocol, phase)

    def leaves(self) -> tuple[int, str]:
        """Return one answer: histograms of scores."""
        replicates = self.protocol.evaluation.replicates
        again = f", those of test rows also {replicates} times with random private counts" if replicates else ""
        words = {"federated": "the trained", "local": "of the local", "personalised": "of the hospital's personalised"}
        models = f"{' and '.join(words[name] for name in self.models)} model"
        question = self.protocol.question_plugin
        by_class = ", in all and by class," if question.groups(self.protocol.outputs) > 1 else ""
        return (
            1,
            f"counts of test patients{by_class} and {question.tested} of {models} on test and validation rows{again}",
        )

    @property
    def models(self) -> tuple[str, ...]:
        """Return the names of the models that are tested."""
        return ("federated", *(name for name, what in OF_A_SITE.items() if self.protocol.giving(what, before=self.phase) is not None))

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the model to be tested; after a refit also the one that validation judged, since the other has seen validation rows."""
        return State(self.phase, 0, shared_model(protocol, earlier, self.phase))

    def ask(self, state: State) -> Ask:
        """Ask for histograms on test rows, with replicates, and on validation rows."""
        bounds, question, outputs = self.protocol.bounds, self.protocol.question_plugin, self.protocol.outputs
        replicates = self.protocol.evaluation.replicates
        terms: list[Term] = []
        for model in self.models:
            terms.append(Term.count(f"{model}/patients", (question.groups(outputs),), bounds.examples, bounds.sites))
            for role, drawn in (("test", replicates), ("validation", 0)):
                wanted = question.terms(outputs, bounds.examples, bounds.sites, drawn)
                needed = [term for term in wanted if role == "test" or INTERVAL in question.later.get(term.name, (INTERVAL,))]
                terms += [replace(term, name=f"{model}/{role}/{term.name}") for term in needed]
        return Ask(state.arrays, tuple(terms), {"replicates": replicates})

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Score this site's test and validation rows with each model; keep the sums for the site's own report.

        A site that was absent when local models were trained has none; it sends zeros for it, its count of patients among them. So does
        one whose test or validation patients are too few for the question to let sums about them be seen.
        """
        weights = bootstrap_weights(data, int(ask.options["replicates"]), rng)
        trained = str(self.protocol.giving("model", before=self.phase))
        shared = norm_here(self.protocol, under(ask.arrays, "norm"), data)
        federated = scorer(self.protocol, as_used_here(ask.arrays, mine, trained), shared, data)
        sums = put_under("federated", judged(self.protocol, federated, data, weights))
        for name, what in OF_A_SITE.items():
            own = mine.get(str(self.protocol.giving(what, before=self.phase)))
            if own is not None and name in self.models:
                score = scorer(self.protocol, own, under(own, "norm"), data)
                sums.update(put_under(name, judged(self.protocol, score, data, weights)))
        held = self._held(data)
        told = {name: value for name, value in sums.items() if name.split("/")[1] not in held}
        return Answer({term.name: told.get(term.name, np.zeros(term.shape)) for term in ask.layout}), sums

    def _held(self, data: Dataset) -> set[str]:
        """Return which parts of this site's sums stay with it: of "test" (with its count of patients) and "validation"."""
        least = 0 if self.protocol.hides else self.protocol.question_plugin.smallest
        held = {role for role in ("test", "validation") if len(np.unique(data.patient[data.rows(role)])) < least}
        return held | ({"patients"} if "test" in held else set())

    def advance(self, state: State, total: Total) -> Done:
        """Return the sums as they are; curves and intervals are for reports."""
        return Done(self.phase, 1, total.sums)


def shared_model(protocol: Protocol, earlier: Mapping[str, Done], before: str) -> dict[str, np.ndarray]:
    """Return the last model that was trained together before a phase, as a later phase sends it to every site."""
    trained = earlier[str(protocol.giving("model", before=before))].results
    model = {name: value for name, value in trained.items() if name.startswith(("params/", "norm/", "validated/"))}
    chosen = {"choice": trained["choice"]} if protocol.model.private and "choice" in trained else {}
    return {**model, **chosen}


def as_used_here(model: Arrays, mine: Mapping[str, Arrays], trained: str) -> Arrays:
    """Return a federated model as a site uses it: with the site's own private parts, where there are any.

    Args:
        model: `params/...`, and `validated/...` where others than these were judged by validation rows; "choice" of a grid.
        mine: what the site kept, by phase.
        trained: name of the training phase.
    """
    own = under(mine.get(trained, {}), PRIVATE)
    before = under(mine.get(f"{trained}.{int(model['choice'])}", {}), PRIVATE) if "choice" in model else own
    aborted = "validated" in {name.split("/")[0] for name in model} and all(
        np.array_equal(model[f"params/{name}"], value) for name, value in under(model, "validated").items()
    )  # a refit that diverged: what was judged before it stands, with the parts of that time
    used = {**model, **put_under("params", before if aborted else own or before)}
    return {**used, **put_under("validated", before)} if under(model, "validated") else used


def _poisson_steps() -> np.ndarray:
    """Return where a uniform 32-bit word passes from one value of Poisson(1), cut at `HEAVIEST`, to the next."""
    shares = np.cumsum([1 / math.factorial(value) for value in range(HEAVIEST)]) / math.e
    return np.asarray(np.floor(shares * 2.0**32), dtype=np.int64)


POISSON_STEPS = _poisson_steps()


def bootstrap_weights(data: Dataset, replicates: int, rng: Stream, role: str = "test") -> np.ndarray | None:
    """Return int64 [1 + replicates, N] weights of the rows of a role: ones, then Poisson(1) by patient; None for no replicates.

    Args:
        data: the site's snapshot.
        replicates: how many.
        rng: the site's private stream; weights that somebody can guess give single patients' scores away.
        role: whose rows.
    """
    if not replicates:
        return None
    patients = data.patient[data.rows(role)]
    known, place = np.unique(patients, return_inverse=True)
    words = rng.words(replicates * len(known), "bootstrap").reshape(replicates, len(known))
    drawn = np.searchsorted(POISSON_STEPS, words, side="right").astype(np.int64)
    return np.concatenate([np.ones((1, len(patients)), dtype=np.int64), drawn[:, place]])


Scorer = Callable[[str], np.ndarray]
"""Gives what `Question.metrics` takes [N, outputs] of a site's rows of one role ("test" or "validation")."""


def scorer(protocol: Protocol, model: Arrays, norm: Arrays, data: Dataset) -> Scorer:
    """Return what scores a site's rows with one model under one normalisation.

    Args:
        protocol: builds the network.
        model: `params/...`, and `validated/...` where others than these were judged by validation rows.
        norm: "mean" and "deviation".
        data: the site's snapshot.
    """
    from wardround.learning.network import fill, new_network, scores

    def score(role: str) -> np.ndarray:
        network = new_network(protocol)
        fill(network, (role == "validation" and under(model, "validated")) or under(model, "params"))
        batch = batch_of(protocol, data, norm, role)
        return protocol.question_plugin.told(scores(network, batch["x"]), batch)

    return score


def judged(protocol: Protocol, score: Scorer, data: Dataset, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return one model's sums at a site.

    `test/...` on test rows, with replicates; `validation/...` on validation rows; `patients`, the tally of test patients.
    """
    question, raw = protocol.question_plugin, no_norm(protocol)
    parts: dict[str, np.ndarray] = {}
    for role, drawn in (("test", weights), ("validation", None)):
        parts.update(put_under(role, question.metrics(score(role), batch_of(protocol, data, raw, role), drawn)))
    return {**parts, "patients": question.tally(batch_of(protocol, data, raw, "test"), protocol.outputs)}
