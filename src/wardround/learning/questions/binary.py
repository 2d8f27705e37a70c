"""Ask a yes-or-no question: one score an example, the logit of the positive code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.questions import curves
from wardround.learning.questions.classes import label_codes, named_better
from wardround.study.arrays import Arrays
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Question
from wardround.study.protocol import Contract
from wardround.study.task import Term

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Binary(Question):
    """Predict which of two codes the label has.

    Attributes:
        positive: the code that counts as positive; None for the second one.
    """

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
        codes = label_codes(contract)
        return np.asarray(columns[contract.label] == codes.index(self.positive if self.positive is not None else codes[1])).astype(np.int64)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of each example, float32 [B], from logits [B, 1]."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(output[:, 0], target.to(output.dtype), reduction="none")

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout: histogram [2, 256] and summed loss, with a leading [1 + replicates] axis where there are replicates."""
        lead = (1 + replicates,) if replicates else ()
        heavy = most * (curves.HEAVIEST if replicates else 1)
        return (
            Term.count("histogram", (*lead, 2, curves.BINS), heavy, sites),
            Term.sized("loss", lead, heavy * LARGEST_LOSS, sites, bits=64),
        )

    def sums(self, output: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> Arrays:
        """Return histogram and summed loss of logits [N, 1]."""
        logit = output[:, 0]
        hist = curves.histogram(logit, target, weights)
        losses = np.minimum(np.logaddexp(0.0, logit) - target * logit, LARGEST_LOSS)
        return {"histogram": hist, "loss": np.sum(losses, keepdims=False) if weights is None else np.sum(weights * losses, axis=1)}

    def metrics(self, sums: Arrays) -> dict[str, np.ndarray]:
        """Return AUROC, AUPRC, accuracy and balanced accuracy at 0.5, Brier score, calibration error and mean loss."""
        hist = sums["histogram"]
        count = np.sum(hist, axis=(-1, -2)).astype(np.float64)
        half = curves.BINS // 2
        right = np.sum(hist[..., 1, half:], axis=-1) + np.sum(hist[..., 0, :half], axis=-1)
        safe = np.where(count > 0, count, 1)
        sensitivity, specificity = curves.rates(hist, half)
        return {
            "auroc": curves.auroc(hist),
            "auprc": curves.auprc(hist),
            "accuracy": np.where(count > 0, right / safe, np.nan),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "brier": curves.brier(hist),
            "calibration_error": curves.calibration_error(hist),
            "loss": np.where(count > 0, sums["loss"] / safe, np.nan),
        }

    def better(self, metric: str) -> int:
        """Return +1 or -1: whether larger is better."""
        return named_better(metric)

    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return sensitivity and specificity at the threshold chosen on validation."""
        sensitivity, reached = curves.rates(sums["histogram"], curves.threshold(validation["histogram"], specificity))
        return {"sensitivity": sensitivity, "specificity": reached}

    def enough(self, sums: Arrays, patients: int) -> bool:
        """Say whether there are at least 30 patients and 5 examples of each class."""
        return patients >= 30 and bool(np.all(np.sum(sums["histogram"], axis=-1) >= 5))

    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return float64 [N, 2]: probability of the negative and of the positive code."""
        positive = 1 / (1 + np.exp(-np.clip(output[:, 0], -700, 700)))
        return np.stack([1 - positive, positive], axis=1)

    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return the raw scores [N, 1] that give these probabilities."""
        clipped = np.clip(probability, 1e-12, 1 - 1e-12)
        return np.asarray(np.log(clipped[:, 1:] / clipped[:, :1]))


LARGEST_LOSS = 64.0
