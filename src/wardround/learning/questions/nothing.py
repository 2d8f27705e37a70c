"""Be the question of a study that learns nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.study.arrays import Arrays
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Batch, Question
from wardround.study.layout import Term
from wardround.study.protocol import Contract

if TYPE_CHECKING:
    from torch import Tensor

_REMEDY = "Name a question, or write kind = 'statistics' at the top of the study file."


@dataclass(frozen=True)
class NoQuestion(Question):
    """Stand where a protocol names a question; no loss, no sums, and a metric that never has a value."""

    better = {"nothing": 1}  # noqa: RUF012

    def outputs(self, contract: Contract) -> int:
        """Return 0; refuse a contract with a label.

        Raises:
            ProtocolError: there is something to predict.
        """
        if contract.label:
            raise ProtocolError("question.kind: 'nothing' predicts nothing, and the contract has a label.", _REMEDY)
        return 0

    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return no labels."""
        return np.zeros(0)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Refuse.

        Raises:
            ProtocolError: always.
        """
        raise ProtocolError("question.kind: 'nothing' has no loss.", _REMEDY)

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return an empty layout."""
        return ()

    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return no sums."""
        return {}

    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return what does not exist."""
        return np.asarray(np.nan)

    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}

    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return nothing."""
        return {}

    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return no counts."""
        return np.zeros(0, dtype=np.int64)

    def groups(self, outputs: int) -> int:
        """Return 0."""
        return 0

    def enough(self, tally: np.ndarray) -> bool:
        """Say no: nothing is claimed."""
        return False

    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return nothing."""
        return np.zeros((len(output), 0))

    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return nothing."""
        return np.zeros((len(probability), 0))
