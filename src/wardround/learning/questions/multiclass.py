"""Ask which of several codes: one score a code, judged one against the rest and by a table of confusions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.questions import curves
from wardround.learning.questions.binary import LARGEST_LOSS
from wardround.learning.questions.classes import BETTER, confusions, enough_by_class, guessing, label_codes, patients_by_class, present_mean
from wardround.study.arrays import Arrays
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Batch, Question
from wardround.study.layout import Term
from wardround.study.protocol import Contract

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Multiclass(Question):
    """Predict which of K codes the label has."""

    better = BETTER

    def outputs(self, contract: Contract) -> int:
        """Return K, the number of codes."""
        codes = label_codes(contract)
        if len(codes) < 3:
            raise ProtocolError(
                f"question.kind: 'multiclass' needs three codes or more; {contract.label!r} has {len(codes)}.", "Use kind = 'binary'."
            )
        return len(codes)

    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return int64 [N], an index into the label's codes."""
        return np.asarray(columns[contract.label]).astype(np.int64)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of each example, float32 [B], from logits [B, K]."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(output, batch["y"], reduction="none")

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout.

        Histograms [K, 2, 256], confusions [K, K] (truth, prediction) and summed loss; a leading axis with replicates.
        """
        lead = (1 + replicates,) if replicates else ()
        heavy = most * (curves.HEAVIEST if replicates else 1)
        return (
            Term.count("histogram", (*lead, outputs, 2, curves.BINS), heavy, sites),
            Term.count("confusions", (*lead, outputs, outputs), heavy, sites),
            Term.sized("loss", lead, heavy * LARGEST_LOSS, sites, bits=64),
        )

    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return histograms one against the rest, confusions and summed loss of logits [N, K]."""
        curves.bins(output)
        classes, target = output.shape[1], batch["y"]
        top = np.max(output, axis=1, keepdims=True)
        log_total = top[:, 0] + np.log(np.sum(np.exp(output - top), axis=1))
        log_p = output - log_total[:, None]
        rest = np.log(np.maximum(-np.expm1(np.minimum(log_p, -1e-300)), 1e-300))
        hist = np.stack([curves.histogram(log_p[:, k] - rest[:, k], target == k, weights) for k in range(classes)], axis=-3)
        table = confusions(target, np.argmax(output, axis=1), classes, weights)
        losses = np.minimum(-log_p[np.arange(len(target)), target], LARGEST_LOSS)
        return {"histogram": hist, "confusions": table, "loss": np.sum(losses) if weights is None else np.sum(weights * losses, axis=1)}

    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return a metric of `Binary`: areas and calibration averaged over the classes present, the Brier score summed over classes."""
        table = sums["confusions"]
        right = table * np.eye(table.shape[-1], dtype=np.int64)
        if name == "loss":
            return curves.ratio(sums["loss"], np.sum(table, axis=(-1, -2)))
        if name == "accuracy":
            return curves.ratio(np.sum(right, axis=(-1, -2)), np.sum(table, axis=(-1, -2)))
        if name == "balanced_accuracy":
            return present_mean(curves.ratio(np.sum(right, axis=-1), np.sum(table, axis=-1)))
        each = curves.MEASURES[name](sums["histogram"])
        return np.asarray(np.sum(each, axis=-1)) if name == "brier" else present_mean(each)

    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return macro sensitivity and specificity, each class against the rest at its own threshold from validation."""
        classes = validation["histogram"].shape[0]
        pairs = [
            curves.rates(sums["histogram"][..., k, :, :], curves.threshold(validation["histogram"][k], specificity)) for k in range(classes)
        ]
        return {
            "sensitivity": present_mean(np.stack([pair[0] for pair in pairs], axis=-1)),
            "specificity": present_mean(np.stack([pair[1] for pair in pairs], axis=-1)),
        }

    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return the metrics of a model that gives everybody the shares of the classes as probabilities."""
        table = sums["confusions"] if sums["confusions"].ndim == 2 else sums["confusions"][0]
        return guessing(np.sum(table, axis=-1))

    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return counts of patients: in all, then with an example of each class."""
        return patients_by_class(batch, outputs)

    def groups(self, outputs: int) -> int:
        """Return 1 + K."""
        return 1 + outputs

    def enough(self, tally: np.ndarray) -> bool:
        """Say whether there are at least 30 patients and 5 of each class."""
        return enough_by_class(tally)

    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return float64 [N, K] softmax probabilities."""
        shifted = np.exp(output - np.max(output, axis=1, keepdims=True))
        return np.asarray(shifted / np.sum(shifted, axis=1, keepdims=True))

    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return raw scores [N, K] that give these probabilities."""
        return np.asarray(np.log(np.clip(probability, 1e-12, 1.0)))
