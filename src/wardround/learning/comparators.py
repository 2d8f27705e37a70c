"""Train and test what only a simulation can have.

The pooled model, the ensemble of all local models, and the best single site's model everywhere see the data of all sites at once. So they
are no phases, leave no message and stand in no record; a federation of hospitals has none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wardround.learning.algorithms.evaluate import Scorer, bootstrap_weights, judged, scorer
from wardround.learning.algorithms.local import training_phase
from wardround.learning.algorithms.tuned import grid
from wardround.learning.evaluation import all_sites
from wardround.learning.fit import fit
from wardround.learning.norm import mean_and_deviation, moment_sums, no_norm
from wardround.learning.rows import batch_of, joined
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Done, SiteWork

Sums = dict[str, dict[str, np.ndarray]]
"""By site: what `judged` returns."""


def compare(protocol: Protocol, work: Mapping[str, SiteWork], earlier: Mapping[str, Done]) -> dict[str, Sums]:
    """Return, by comparator and site, the sums on the very same rows and bootstrap weights as in the evaluation phase.

    Args:
        protocol: says which comparators are wanted.
        work: by site: its snapshot, what it kept, and the private stream of the evaluation's ask.
        earlier: results of the phases.
    """
    wanted = protocol.evaluation.compare
    weights = {site: bootstrap_weights(one.data, protocol.evaluation.replicates, one.rng) for site, one in work.items()}

    def everywhere(scores: Mapping[str, Scorer]) -> Sums:
        return {site: judged(protocol, scores[site], work[site].data, weights[site]) for site in work}

    found: dict[str, Sums] = {}
    if "pooled" in wanted:
        model = _pooled(protocol, work, earlier)
        found["pooled"] = everywhere({site: scorer(protocol, model, under(model, "norm"), one.data) for site, one in work.items()})
    local = protocol.giving("own model")
    models = {site: one.mine[local] for site, one in work.items() if local is not None and local in one.mine}
    if models and "ensemble" in wanted:
        raw, question = no_norm(protocol), protocol.question_plugin
        votes = np.stack([question.taught(batch_of(protocol, work[site].data, raw, "train")) for site in sorted(models)])
        found["ensemble"] = everywhere({site: _ensemble(protocol, models, votes, one) for site, one in work.items()})
    if models and "best_single" in wanted:
        best = models[_best_single(protocol, models, work)]
        found["best_single"] = everywhere({site: scorer(protocol, best, under(best, "norm"), one.data) for site, one in work.items()})
    return found


def _pooled(protocol: Protocol, work: Mapping[str, SiteWork], earlier: Mapping[str, Done]) -> Arrays:
    """Return the model trained on all sites' rows in one place, with its normalisation."""
    sums = all_sites([moment_sums(protocol, one.data) for one in work.values()])
    norm = no_norm(protocol) if protocol.model.normalise == "none" else mean_and_deviation(sums)
    training, validation = (
        joined([batch_of(protocol, work[site].data, norm, role) for site in sorted(work)]) for role in ("train", "validation")
    )
    settings = grid(protocol, training_phase(protocol))
    public = Stream.public(protocol.evaluation.seed).child("pooled")
    best = fit(protocol, training, validation, settings, earlier["initial"].results, public)
    return {**put_under("params", best.parameters), **put_under("validated", best.validated), **put_under("norm", norm)}


def _ensemble(protocol: Protocol, models: Mapping[str, Arrays], votes: np.ndarray, one: SiteWork) -> Scorer:
    """Return what scores a site's rows by the mean probability of all sites' local models that learnt what is asked.

    Args:
        protocol: gives the question.
        models: by site.
        votes: [sites, L] by site in order: 1 where its rows taught a label; where no site's did, all models vote.
        one: the site whose rows are scored.
    """
    question = protocol.question_plugin
    scorers = [scorer(protocol, models[site], under(models[site], "norm"), one.data) for site in sorted(models)]
    share = np.where(np.any(votes, axis=0), votes, 1.0)[:, None, :]
    share = share / np.sum(share, axis=0)
    return lambda role: question.score(np.sum(share * np.stack([question.probability(score(role)) for score in scorers]), axis=0))


def _best_single(protocol: Protocol, models: Mapping[str, Arrays], work: Mapping[str, SiteWork]) -> str:
    """Return the site whose local model does best on all sites' validation rows together."""
    question, raw = protocol.question_plugin, no_norm(protocol)

    def value(site: str) -> float:
        model, parts = models[site], []
        for one in work.values():
            output = scorer(protocol, model, under(model, "norm"), one.data)("validation")
            parts.append(question.metrics(output, batch_of(protocol, one.data, raw, "validation")))
        score = protocol.direction * float(question.finalise(all_sites(parts), protocol.primary))
        return -np.inf if np.isnan(score) else score

    return max(sorted(models), key=value)
