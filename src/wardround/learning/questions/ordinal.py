"""Ask for a grade: one of several codes in order, such as no, mild, moderate, severe and proliferative retinopathy.

Of K grades a model gives K - 1 numbers, one a step: the logit that a patient who has reached grade k goes on to grade k + 1. Any K - 1
numbers make K probabilities that add up to 1, so every model serves as it is: no thresholds to be kept in order, no special last layer. The
loss is the negative log of the probability of the true grade, summed over the steps that a patient came to.

The grade predicted is the highest that is reached with a probability of 0.5 or more, the median. For a decision the grades are cut in two:
"referable" is a stated grade and all above it, judged as a yes-or-no question is.

Source: Shi, Cao and Raschka, Deep neural networks for rank-consistent ordinal regression based on conditional probabilities, Pattern
Analysis and Applications 2023, equations 3 to 6 (here each patient counts alike, not each step); Tutz, Sequential models in categorical
regression, Computational Statistics and Data Analysis 1991. Kappa: Cohen, Weighted kappa, Psychological Bulletin 1968.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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

_HALF = -math.log(2.0)
_CUT = ("auroc", "auprc", "brier", "calibration_error")
"""What is asked of "referable or not", from its histogram."""


@dataclass(frozen=True)
class Ordinal(Question):
    """Predict which of K ordered codes the label has.

    Attributes:
        referable: the code from which on a grade counts as referable; None for the second one, so that only the lowest does not.
    """

    better = MappingProxyType({"quadratic_kappa": 1, "mae": -1, **BETTER})
    units = MappingProxyType({"mae": "grades"})
    validated = "a table of true and predicted grades or, where the first metric needs it, a histogram of the received model's scores"
    tested = "tables of true and predicted grades and histograms of the scores"
    few = "fewer than 30, or fewer than 5 of a grade"
    later = MappingProxyType(
        {
            "histogram": (*_CUT, "interval"),
            "loss": ("loss",),
            "confusions": ("quadratic_kappa", "mae", "accuracy", "balanced_accuracy", "loss"),
        }
    )

    referable: str | None = None

    @property
    def cut(self) -> int:
        """Return the first referable grade, counted from 0; of a question that has not met a contract, the second."""
        return 1

    def about(self, contract: Contract) -> Question:
        """Return this question with the place of the first referable grade."""
        field = contract.fields.get(contract.label)
        codes = () if field is None or field.codes is None else field.codes
        at = codes.index(self.referable) if self.referable in codes[1:] else 1
        return InContract(**asdict(self), at=at, code=codes[at] if codes[1:] else "")

    def outputs(self, contract: Contract) -> int:
        """Return K - 1, one number for each step between K grades."""
        codes = label_codes(contract)
        if len(codes) < 3:
            raise ProtocolError(
                f"question.kind: 'ordinal' needs three codes or more; {contract.label!r} has {len(codes)}.", "Use kind = 'binary'."
            )
        if self.referable is not None and self.referable not in codes[1:]:
            what = "the lowest grade, so everybody would be" if self.referable == codes[0] else f"not a code of {contract.label!r}"
            raise ProtocolError(f"question.referable: {self.referable!r} is {what}.", f"Use one of: {', '.join(codes[1:])}.")
        return len(codes) - 1

    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return int64 [N], the grade counted from 0."""
        return np.asarray(columns[contract.label]).astype(np.int64)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the negative log of the true grade's probability, float32 [B], from the logits of the steps [B, K - 1]."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        grade, steps = batch["y"][:, None], torch.arange(output.shape[1], device=output.device)
        each = binary_cross_entropy_with_logits(output, (grade > steps).to(output.dtype), reduction="none")
        return torch.sum(each * (grade >= steps), dim=1)

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout.

        Confusions [K, K] (truth, prediction), histogram [2, 256] of "referable or not" and summed loss; a leading axis with replicates.
        """
        lead = (1 + replicates,) if replicates else ()
        heavy = most * (curves.HEAVIEST if replicates else 1)
        return (
            Term.count("confusions", (*lead, outputs + 1, outputs + 1), heavy, sites),
            Term.count("histogram", (*lead, 2, curves.BINS), heavy, sites),
            Term.sized("loss", lead, heavy * LARGEST_LOSS, sites, bits=64),
        )

    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return confusions, histogram and summed loss of the logits of the steps [N, K - 1]."""
        curves.bins(output)
        grades, grade = output.shape[1] + 1, batch["y"]
        reached = _log_reached(output)
        steps = np.arange(grades - 1)
        each = np.logaddexp(0.0, output) - (grade[:, None] > steps) * output
        losses = np.minimum(np.sum(each * (grade[:, None] >= steps), axis=1), LARGEST_LOSS)
        referable = reached[:, self.cut - 1]
        hist = curves.histogram(referable - _log_rest(referable), grade >= self.cut, weights)
        table = confusions(grade, np.sum(reached >= _HALF, axis=1), grades, weights)
        return {"confusions": table, "histogram": hist, "loss": np.sum(losses) if weights is None else np.sum(weights * losses, axis=1)}

    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return kappa, accuracies, mean absolute error or loss of the grade; areas, Brier score or calibration of "referable or not"."""
        if name in _CUT:
            return curves.MEASURES[name](sums["histogram"])
        table = sums["confusions"].astype(np.float64)
        rows, right = np.sum(table, axis=(-1, -2)), table * np.eye(table.shape[-1])
        if name == "quadratic_kappa":
            return quadratic_kappa(table)
        if name == "mae":
            return curves.ratio(np.sum(table * _apart(table), axis=(-1, -2)), rows)
        if name == "accuracy":
            return curves.ratio(np.sum(right, axis=(-1, -2)), rows)
        if name == "balanced_accuracy":
            return present_mean(curves.ratio(np.sum(right, axis=-1), np.sum(table, axis=-1)))
        return curves.ratio(sums["loss"], rows)

    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return sensitivity and specificity for "referable or not" at the threshold chosen on validation."""
        sensitivity, reached = curves.rates(sums["histogram"], curves.threshold(validation["histogram"], specificity))
        return {"sensitivity": sensitivity, "specificity": reached}

    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return the best that one gets who knows the shares of the grades alone: says them, the commonest, or for `mae` the median."""
        table = sums["confusions"] if sums["confusions"].ndim == 2 else sums["confusions"][0]
        counts = np.sum(table, axis=-1)
        said = int(np.searchsorted(np.cumsum(counts), np.sum(counts) / 2))
        of_grade, whole = guessing(counts), max(float(np.sum(counts)), 1.0)
        cut = guessing(np.array([np.sum(counts[: self.cut]), np.sum(counts[self.cut :])]))
        mae = float(np.sum(counts * np.abs(np.arange(len(counts)) - said))) / whole
        return {**of_grade, **{name: cut[name] for name in _CUT}, "quadratic_kappa": 0.0, "mae": mae}

    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return counts of patients: in all, then with an example of each grade."""
        return patients_by_class(batch, outputs + 1)

    def groups(self, outputs: int) -> int:
        """Return 1 + K."""
        return outputs + 2

    def enough(self, tally: np.ndarray) -> bool:
        """Say whether there are at least 30 patients and 5 of each grade."""
        return enough_by_class(tally)

    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return float64 [N, K], the probability of each grade."""
        reached = np.exp(np.pad(_log_reached(output), ((0, 0), (1, 0))))
        return np.asarray(reached - np.pad(reached[:, 1:], ((0, 0), (0, 1))))

    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return the logits of the steps [N, K - 1] that give these probabilities."""
        clipped = np.clip(probability, 1e-12, 1.0)
        beyond = np.cumsum(clipped[:, ::-1], axis=1)[:, ::-1]
        return np.asarray(np.log(beyond[:, 1:]) - np.log(clipped[:, :-1]))


@dataclass(frozen=True)
class InContract(Ordinal):
    """Ask for a grade of a known label.

    Attributes:
        at: the first referable grade, counted from 0.
        code: its code.
    """

    at: int = 1
    code: str = ""

    def further(self, total: Arrays, sites: Mapping[str, Arrays]) -> dict[str, Any]:
        """Return under "referable" from which grade on a patient is."""
        return {"referable": {"from": self.code}}

    @property
    def cut(self) -> int:
        """Return the first referable grade."""
        return self.at


def _log_reached(output: np.ndarray) -> np.ndarray:
    """Return float64 [N, K - 1], the log of the probability that each grade from the second on is reached."""
    return np.asarray(np.cumsum(-np.logaddexp(0.0, -output), axis=1))


def _log_rest(log_p: np.ndarray) -> np.ndarray:
    """Return log(1 - exp(log_p)), at least log(1e-300)."""
    return np.asarray(np.log(np.maximum(-np.expm1(np.minimum(log_p, -1e-300)), 1e-300)))


def _apart(table: np.ndarray) -> np.ndarray:
    """Return [K, K], by how many grades truth and prediction differ."""
    place = np.arange(table.shape[-1])
    return np.asarray(np.abs(place[:, None] - place[None, :]))


def quadratic_kappa(table: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa with quadratic weights of [..., K, K]; NaN where truth and prediction know one and the same grade only.

    Source: Cohen 1968, equation 8, with weights (i - j) squared.
    """
    cost = _apart(table) * _apart(table)
    by_chance = np.sum(table, axis=-1)[..., :, None] * np.sum(table, axis=-2)[..., None, :]
    seen, expected = np.sum(cost * table, axis=(-1, -2)), np.sum(cost * by_chance, axis=(-1, -2))
    return np.asarray(1.0 - curves.ratio(seen * np.sum(table, axis=(-1, -2)), expected))
