"""Ask several yes-or-no questions at once: which findings a chest X-ray shows, in which assays a substance is active.

A model gives one logit a finding. A finding that nobody looked for is unknown: it is left out of loss and metrics, at one row or at a whole
site, and changes nothing for the others. The loss of a row is the sum over its known findings, divided by the number of all findings, so
that every known answer of every row and site weighs alike; the metric `loss` is the mean over all known answers.

All other metrics are worked out by finding, and their plain mean is the metric of the study. Where one finding has none (no patient with
it, or none without), the mean has none either: the page says "cannot say" and shows the findings one by one. So no finding drops out of a
mean in silence, and a site that never looks for one is not compared with others by easier findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.learning.evaluation import Estimate
from wardround.learning.questions import curves
from wardround.learning.questions.binary import LARGEST_LOSS
from wardround.learning.questions.classes import BETTER, enough_by_class, guessing
from wardround.study.arrays import Arrays, under
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Batch, Question
from wardround.study.layout import Term
from wardround.study.protocol import Contract

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = -1
"""Target of a finding that nobody looked for."""

FEWEST = 10
"""Test patients with, and without, a finding under which its own figures are withheld."""

KNOWN = 30
"""Test patients of whom a finding is known, under which nothing is claimed of it."""


@dataclass(frozen=True)
class Multilabel(Question):
    """Predict of each of several labels which of its two codes it has.

    Attributes:
        positive: the code that counts as positive, the same for all labels; None for the second one of each.
    """

    several = True
    better = BETTER
    validated = "for each label the loss and a histogram of the received model's scores, over known answers,"
    tested = "histograms of the scores for each label, over known answers,"
    few = "fewer than 30, or of one finding fewer than 5 with or without it"

    positive: str | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """Return the names of the labels; of a question that has not met a contract, none."""
        return ()

    def about(self, contract: Contract) -> Question:
        """Return this question with the names of the labels."""
        return InContract(**asdict(self), names=contract.labels)

    def outputs(self, contract: Contract) -> int:
        """Return L, one logit a label.

        Raises:
            ProtocolError: there are no labels, or one of them has not two codes.
        """
        if not contract.labels:
            remedy = 'Write labels = ["first", "second"] in place of label; or kind = \'binary\' for one.'
            raise ProtocolError("contract.labels: is missing, and 'multilabel' predicts several labels.", remedy)
        for name in contract.labels:
            codes = contract.fields[name].codes
            if codes is None or len(codes) != 2:
                message = f"contract.labels: {name!r} has {'no' if codes is None else len(codes)} codes, and each label needs two."
                raise ProtocolError(message, 'Write such as type = "code", codes = ["no", "yes"]; "unknown" is no code but missing.')
            if self.positive is not None and self.positive not in codes:
                message = f"question.positive: {self.positive!r} is not a code of {name!r}."
                raise ProtocolError(message, "Give all labels the same two codes, or leave positive out: the second code then counts.")
        return len(contract.labels)

    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return int64 [N, L]: 1 for the positive code, 0 for the other, -1 for unknown."""
        found = []
        for name in contract.labels:
            codes, column = contract.fields[name].codes or (), np.asarray(columns[name])
            found.append(np.where(column < 0, UNKNOWN, column == codes.index(self.positive or codes[1])))
        return np.stack(found, axis=1).astype(np.int64)

    def batch(self, contract: Contract, columns: Arrays, rows: np.ndarray, norm: Arrays) -> dict[str, np.ndarray]:
        """Return `y`, the targets of these rows, int64 [N, L]."""
        return {"y": self.target(contract, {name: columns[name][rows] for name in contract.labels})}

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy over the known labels of each row, divided by L, float32 [B], from logits [B, L]."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        known = batch["y"] >= 0
        each = binary_cross_entropy_with_logits(output, (batch["y"] > 0).to(output.dtype), reduction="none")
        return torch.sum(torch.where(known, each, torch.zeros_like(each)), dim=1) / output.shape[1]

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout: histograms [L, 2, 256] and summed losses [L] of known labels; a leading axis where there are replicates."""
        lead = (1 + replicates,) if replicates else ()
        heavy = most * (curves.HEAVIEST if replicates else 1)
        histogram = Term.count("histogram", (*lead, outputs, 2, curves.BINS), heavy, sites)
        return histogram, Term.sized("loss", (*lead, outputs), heavy * LARGEST_LOSS, sites, bits=64)

    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return histograms and summed losses of logits [N, L], over the rows where each label is known."""
        curves.bins(output)
        hists, losses = [], []
        for place, y in enumerate(batch["y"].T):
            known = y >= 0
            logit, truth, counts = output[known, place], y[known], None if weights is None else weights[:, known]
            each = np.minimum(np.logaddexp(0.0, logit) - truth * logit, LARGEST_LOSS)
            hists.append(curves.histogram(logit, truth, counts))
            losses.append(np.sum(each) if counts is None else np.sum(counts * each, axis=1))
        return {"histogram": np.stack(hists, axis=-3), "loss": np.stack(losses, axis=-1)}

    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return the mean over findings of a metric of `Binary`, NaN where one has none; `loss` is the mean over all known answers."""
        if name == "loss":
            return curves.ratio(np.sum(sums["loss"], axis=-1), np.sum(sums["histogram"], axis=(-1, -2, -3)))
        return np.asarray(np.mean(curves.MEASURES[name](sums["histogram"]), axis=-1))

    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return mean sensitivity and specificity, each finding at its own threshold from validation."""
        pairs = [
            curves.rates(sums["histogram"][..., place, :, :], curves.threshold(hist, specificity))
            for place, hist in enumerate(validation["histogram"])
        ]
        sensitivity, reached = (np.mean(np.stack(parts, axis=-1), axis=-1) for parts in zip(*pairs, strict=True))
        return {"sensitivity": np.asarray(sensitivity), "specificity": np.asarray(reached)}

    def further(self, total: Arrays, sites: Mapping[str, Arrays]) -> dict[str, Any]:
        """Return under "findings" each finding's own figures over all sites, and by site of those that show theirs.

        How many patients have a finding stands in the total alone: beside it, single sites' counts would tell those that are withheld.

        Args:
            total: `test/...`, `validation/...` and `patients` of the federated model over all sites.
            sites: the same by site, of those that show theirs.
        """
        told = self._figures(under(total, "test"), total["patients"])
        for place, name in enumerate(self.findings):
            if "metrics" in told[name]:
                without, with_it = (int(one) for one in total["patients"][1 + 2 * place : 3 + 2 * place])
                told[name] |= {"with": with_it, "without": without}
        apart = {site: self._figures(under(one, "test"), one["patients"]) for site, one in sorted(sites.items())}
        return {"findings": {"all": told, "sites": apart}}

    def here(self, told: Mapping[str, Any], test: Arrays) -> dict[str, Any]:
        """Return under "findings" the figures at one site.

        Args:
            told: the released result.
            test: the site's own sums of the federated model on test rows.
        """
        return {"findings": self._figures(test)} if told.get("findings") and "histogram" in test else {}

    def _figures(self, test: Arrays, tally: np.ndarray | None = None) -> dict[str, Any]:
        """Return each finding's metrics with intervals; of one with too few patients (without a tally: rows) that it cannot be said."""
        found: dict[str, Any] = {}
        for place, name in enumerate(self.findings):
            hist = test["histogram"][..., place, :, :]
            rows = np.sum(hist if hist.ndim == 2 else hist[0], axis=-1)
            counts = rows if tally is None else tally[1 + 2 * place : 3 + 2 * place]
            if np.min(counts) < FEWEST or np.sum(counts) < KNOWN:
                note = f"of fewer than {KNOWN} test patients it is known, or fewer than {FEWEST} are with or without it"
                found[name] = {"verdict": "cannot_say", "note": note}
                continue
            values = {metric: measure(hist) for metric, measure in curves.MEASURES.items()}
            values["loss"] = curves.ratio(test["loss"][..., place], np.sum(hist, axis=(-1, -2)))
            found[name] = {"metrics": {metric: asdict(Estimate.of(value)) for metric, value in values.items()}}
        return found

    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return the metrics of a model that gives everybody the share of each finding as its probability."""
        counts = np.sum(_plain(sums["histogram"]), axis=-1)
        each = [guessing(one) for one in counts]
        found = {name: float(np.mean([one[name] for one in each])) for name in self.better}
        known = np.sum(counts, axis=-1)
        losses = float(np.sum(known * np.array([one["loss"] for one in each])))
        return {**found, "loss": losses / max(float(np.sum(known)), 1.0)}

    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return counts of patients: with any known label, then of each label without and with a positive example."""
        return np.array(list(_counts(batch)), dtype=np.int64)

    def groups(self, outputs: int) -> int:
        """Return 1 + 2 L."""
        return 1 + 2 * outputs

    def enough(self, tally: np.ndarray) -> bool:
        """Say whether there are at least 30 patients, and 5 with and 5 without each finding that anybody looked for."""
        return enough_by_class(np.concatenate([tally[:1], _looked_for(tally)]))

    def smallest_of(self, tally: np.ndarray) -> int:
        """Return the smallest count of a tally, that of a finding that nobody looked for left out."""
        return int(min(tally[0], np.min(_looked_for(tally), initial=tally[0])))

    def taught(self, batch: Batch) -> np.ndarray:
        """Return float64 [L], 1 for the labels of which these rows know an answer."""
        return np.asarray(np.any(batch["y"] >= 0, axis=0), dtype=np.float64)

    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return float64 [N, L], the probability of each finding; they do not add up to 1, since several may be there."""
        return np.asarray(1 / (1 + np.exp(-np.clip(output, -700, 700))))

    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return the logits [N, L] that give these probabilities."""
        clipped = np.clip(probability, 1e-12, 1 - 1e-12)
        return np.asarray(np.log(clipped) - np.log1p(-clipped))


@dataclass(frozen=True)
class InContract(Multilabel):
    """Ask for findings whose names are known.

    Attributes:
        names: of the labels, in order.
    """

    names: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """Return the names of the labels."""
        return self.names


def _counts(batch: Batch) -> Iterator[int]:
    patient, y = batch["patient"], batch["y"]
    yield len(np.unique(patient[np.any(y >= 0, axis=1)]))
    for column in y.T:
        yield from (len(np.unique(patient[column == value])) for value in (0, 1))


def _looked_for(tally: np.ndarray) -> np.ndarray:
    """Return the counts without and with each finding, but of those that are known of nobody."""
    each = np.asarray(tally[1:]).reshape(-1, 2)
    return each[np.any(each > 0, axis=1)].reshape(-1)


def _plain(hist: np.ndarray) -> np.ndarray:
    """Return the histograms [L, 2, 256] without their replicates."""
    return hist if hist.ndim == 3 else hist[0]
