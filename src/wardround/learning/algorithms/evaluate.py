"""Test the model once, at every site, on its test patients, beside the site's own model.

Sites send histograms of scores and the same histograms under bootstrap weights that are private and keyed by patient: the same for all
models of one ask, so that differences pair; public weights would give single patients' scores away. A site keeps its own sums, for its
own report.

Source: Hanley and McNeil 1982 (AUROC); Chamandy et al., Estimating uncertainty for massive data streams, Google 2012 (Poisson bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from wardround.learning.algorithms.fedavg import renamed
from wardround.learning.norm import norm_here
from wardround.learning.questions.curves import HEAVIEST
from wardround.learning.rows import inputs_and_targets
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError, ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Term, Total


def phase_of_kind(protocol: Protocol, kind: str) -> str | None:
    """Return the name of the last phase of a kind, if there is one."""
    return next((phase.name for phase in reversed(protocol.phases) if phase.kind == kind), None)


@dataclass(frozen=True)
class Evaluate(Algorithm):
    """Judge the trained model and, where there is a phase "local", each site's own."""

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once there is a model to test."""
        names = [one.name for one in protocol.phases]
        trained = phase_of_kind(protocol, "fedavg")
        if trained is None or names.index(trained) > names.index(phase.name):
            raise ProtocolError(f"phases.{phase.name}: there is no model to test yet.", "Put a phase of kind 'fedavg' before it.")
        return super().expand(protocol, phase)

    def leaves(self) -> tuple[int, str]:
        """Return one answer: histograms of scores."""
        replicates = self.protocol.evaluation.replicates
        again = f", those of test rows also {replicates} times with random private counts" if replicates else ""
        models = "the trained and of the local model" if len(self.models()) > 1 else "the trained model"
        return 1, f"the number of test patients, and histograms of the scores of {models} on test and validation rows{again}"

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that are tested."""
        return ("federated", "local") if phase_of_kind(self.protocol, "local") is not None else ("federated",)

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the model to be tested."""
        trained = earlier[str(phase_of_kind(protocol, "fedavg"))].results
        return State(self.phase, 0, {name: value for name, value in trained.items() if name.startswith(("params/", "norm/"))})

    def ask(self, state: State) -> Ask:
        """Ask for histograms on test rows, with replicates, and on validation rows."""
        bounds, question, replicates = self.protocol.bounds, self.protocol.question_plugin, self.protocol.evaluation.replicates
        outputs = question.outputs(self.protocol.contract)
        terms = [Term.count("patients", (), bounds.examples, bounds.sites)]
        for model in self.models():
            terms += [
                renamed(term, f"{model}/test/{term.name}") for term in question.terms(outputs, bounds.examples, bounds.sites, replicates)
            ]
            terms += [renamed(term, f"{model}/validation/{term.name}") for term in question.terms(outputs, bounds.examples, bounds.sites)]
        return Ask(state.arrays, tuple(terms), {"replicates": replicates})

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Score this site's test and validation rows with each model; keep the sums for the site's own report."""
        weights = bootstrap_weights(data, int(ask.options["replicates"]), rng)
        sums: dict[str, np.ndarray] = {"patients": np.asarray(len(np.unique(data.patient[data.rows("test")])))}
        shared = under(ask.arrays, "norm")
        for model in self.models():
            arrays = ask.arrays if model == "federated" else self.own_model(mine)
            norm = norm_here(self.protocol, shared, data) if model == "federated" else under(arrays, "norm")
            score = scorer(self.protocol, under(arrays, "params"), norm, data)
            sums.update(put_under(model, judged(self.protocol, score, data, weights)))
        return Answer(sums), sums

    def own_model(self, mine: Mapping[str, Arrays]) -> Arrays:
        """Return this site's own model.

        Raises:
            DataError: the site was not there when local models were trained.
        """
        local = str(phase_of_kind(self.protocol, "local"))
        if local not in mine:
            remedy = "It cannot be compared in this study; a new study can include it from the start."
            raise DataError(f"This site has no model of its own: it has no part in phase {local!r}.", remedy)
        return mine[local]

    def advance(self, state: State, total: Total) -> Done:
        """Return the sums as they are; curves and intervals are for reports."""
        return Done(self.phase, 1, total.sums)


def bootstrap_weights(data: Dataset, replicates: int, rng: Stream) -> np.ndarray | None:
    """Return int64 [1 + replicates, N] weights of the test rows: ones, then Poisson(1) by patient; None for no replicates.

    Args:
        data: the site's snapshot.
        replicates: how many.
        rng: the site's private stream.
    """
    if not replicates:
        return None
    rows = data.rows("test")
    drawn = np.minimum(rng.generator("bootstrap").poisson(1.0, (replicates, int(data.patient.max(initial=-1)) + 1)), HEAVIEST)
    return np.concatenate([np.ones((1, len(rows)), dtype=np.int64), drawn[:, data.patient[rows]]])


Scorer = Callable[[str], np.ndarray]
"""Gives the raw scores [N, outputs] of a site's rows of one role ("test" or "validation")."""


def scorer(protocol: Protocol, parameters: Arrays, norm: Arrays, data: Dataset) -> Scorer:
    """Return what scores a site's rows with one model under one normalisation."""
    from wardround.learning.network import fill, new_network, scores

    network = new_network(protocol)
    fill(network, parameters)
    return lambda role: scores(network, inputs_and_targets(protocol, data, norm, role)[0])


def judged(protocol: Protocol, score: Scorer, data: Dataset, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the question's sums of one model on test rows (`test/...`, with replicates) and validation rows (`validation/...`)."""
    parts: dict[str, np.ndarray] = {}
    for role, drawn in (("test", weights), ("validation", None)):
        target = protocol.question_plugin.target(protocol.contract, data.columns)[data.rows(role)]
        parts.update(put_under(role, protocol.question_plugin.sums(score(role), target, drawn)))
    return parts
