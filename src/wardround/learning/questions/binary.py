"""Ask a yes-or-no question: one score an example, the logit of the positive code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.questions import curves
from wardround.learning.questions.classes import BETTER, enough_by_class, guessing, label_codes, patients_by_class
from wardround.study.arrays import Arrays
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Batch, Question
from wardround.study.layout import Term
from wardround.study.protocol import Contract

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Binary(Question):
    """Predict which of two codes the label has.

    Attributes:
        positive: the code that counts as positive; None for the second one.
    """

    better = BETTER

    positive: str | None = None

    def outputs(self, contract: Contract) -> int:
        """Return 1: the logit of the positive code."""
        codes = label_codes(contract)
        if len(codes) != 2:
            raise ProtocolError(
                f"question.kind: 'binary' needs a label with two codes; {contract.label!r} has {len(codes)}.", "Use kind = 'multiclass'."
            )
        if self.positive is not None and self.positive not in codes:
            raise ProtocolError(
                f"question.positive: {self.positive!r} is not a code of {contract.label!r}.", f"Use one of: {', '.join(codes)}."
            )
        return 1

    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return int64 [N]: 1 for the positive code, 0 for the other."""
        codes = contract.fields[contract.label].codes or ()
        return np.asarray(columns[contract.label] == codes.index(self.positive or codes[1])).astype(np.int64)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of each example, float32 [B], from logits [B, 1]."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(output[:, 0], batch["y"].to(output.dtype), reduction="none")

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout: histogram [2, 256] and summed loss, with a leading [1 + replicates] axis where there are replicates."""
        lead = (1 + replicates,) if replicates else ()
        heavy = most * (curves.HEAVIEST if replicates else 1)
        histogram = Term.count("histogram", (*lead, 2, curves.BINS), heavy, sites)
        return histogram, Term.sized("loss", lead, heavy * LARGEST_LOSS, sites, bits=64)

    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return histogram and summed loss of logits [N, 1]."""
        logit, y = output[:, 0], batch["y"]
        hist = curves.histogram(logit, y, weights)
        losses = np.minimum(np.logaddexp(0.0, logit) - y * logit, LARGEST_LOSS)
        return {"histogram": hist, "loss": np.sum(losses) if weights is None else np.sum(weights * losses, axis=1)}

    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return AUROC, AUPRC, accuracy or balanced accuracy at 0.5, Brier score, calibration error or mean loss."""
        if name == "loss":
            return curves.ratio(sums["loss"], np.sum(sums["histogram"], axis=(-1, -2)))
        return curves.MEASURES[name](sums["histogram"])

    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return sensitivity and specificity at the threshold chosen on validation."""
        sensitivity, reached = curves.rates(sums["histogram"], curves.threshold(validation["histogram"], specificity))
        return {"sensitivity": sensitivity, "specificity": reached}

    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return the metrics of a model that gives everybody the share of positives as probability."""
        hist = sums["histogram"] if sums["histogram"].ndim == 2 else sums["histogram"][0]
        return guessing(np.sum(hist, axis=-1))

    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return counts of patients: in all, with a negative, with a positive example."""
        return patients_by_class(batch, 2)

    def groups(self, outputs: int) -> int:
        """Return 3."""
        return 3

    def enough(self, tally: np.ndarray) -> bool:
        """Say whether there are at least 30 patients and 5 of each class."""
        return enough_by_class(tally)

    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return float64 [N, 2]: probability of the negative and of the positive code."""
        positive = 1 / (1 + np.exp(-np.clip(output[:, 0], -700, 700)))
        return np.stack([1 - positive, positive], axis=1)

    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return the raw scores [N, 1] that give these probabilities."""
        clipped = np.clip(probability, 1e-12, 1 - 1e-12)
        return np.asarray(np.log(clipped[:, 1:] / clipped[:, :1]))


LARGEST_LOSS = 64.0
