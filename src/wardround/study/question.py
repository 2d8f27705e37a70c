"""Describe what a question is: the loss, and the sums that its metrics are made of.

One of the places where something new can be plugged in (`interfaces.py`); it has a file of its own since it says most.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wardround.study.arrays import Arrays
from wardround.study.layout import Term

if TYPE_CHECKING:
    from torch import Tensor

    from wardround.study.protocol import Contract

Batch = Mapping[str, Any]
"""Rows of one site, arrays or tensors: `x` inputs [B, ...], `y` targets [B, ...], `patient` int64 [B], `mask` bool [B] (False: padding)."""


class Question(ABC):
    """Describe what is to be learnt: the loss, and the sums that its metrics are made of."""

    validated: ClassVar[str] = "the loss and a histogram of the received model's scores"
    """What a training round tells of validation rows, in words for the one-page summary."""

    tested: ClassVar[str] = "histograms of the scores"
    """What the evaluation tells of a model on test and validation rows."""

    few: ClassVar[str] = "fewer than 30, or fewer than 5 of a class"
    """Test patients that `enough` finds too few, in words."""

    smallest: ClassVar[int] = 0
    """Patients under which a site's sums on validation or test rows do not leave it where they are seen singly."""

    several: ClassVar[bool] = False
    """Whether it predicts several labels (`contract.labels`) in place of one."""

    later: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})
    """Sums that validation rows are asked for only where they are needed, each with what needs it: a first metric, or "interval"."""

    @property
    @abstractmethod
    def better(self) -> Mapping[str, int]:
        """Return its metrics, each with +1 where larger is better and -1 where smaller is."""

    @property
    def units(self) -> Mapping[str, str]:
        """Return the unit of each metric that has one."""
        return {}

    def about(self, contract: Contract) -> Question:
        """Return the question as it is asked of this contract; overridden where a label's range or unit matters."""
        return self

    @abstractmethod
    def outputs(self, contract: Contract) -> int:
        """Return how many numbers a model must give for one example.

        Raises:
            ProtocolError: the label's type does not fit the question.
        """

    @abstractmethod
    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return the label of each row, in the form that `loss` and `metrics` take as `y`."""

    def batch(self, contract: Contract, columns: Arrays, rows: np.ndarray, norm: Arrays) -> dict[str, np.ndarray]:
        """Return what a batch of these rows holds of the label: `y`, and whatever else `loss` and `told` need of each row.

        Args:
            contract: names the label.
            columns: of the snapshot.
            rows: numbers of the rows, [N].
            norm: "mean" and "deviation" of the inputs and, last, of a label that is a number.
        """
        return {"y": self.target(contract, {contract.label: columns[contract.label][rows]})}

    def told(self, output: np.ndarray, batch: Batch) -> np.ndarray:
        """Return what `metrics` takes of a network's outputs on the rows of a batch; overridden where these are in a unit of their own."""
        return output

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each example, float32 [B].

        Args:
            output: float32 [B, outputs], a model's raw scores.
            batch: of tensors.
        """

    @abstractmethod
    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout of what `metrics` gives.

        Args:
            outputs: how many numbers a model gives for one example.
            most: largest number of examples at one site.
            sites: largest number of sites.
            replicates: bootstrap replicates beside the plain sums; 0 for none.
        """

    @abstractmethod
    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return the additive sums that `finalise` needs.

        Args:
            output: float64 [N, outputs], finite, from `told`.
            batch: of arrays.
            weights: integers [R, N]: one row a replicate; None for one row of ones, and then without the leading axis.

        Raises:
            DataError: a score is not finite.
        """

    @abstractmethod
    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return one metric from sums with or without a leading replicate axis: elementwise + - * / and cumulative sums only."""

    @abstractmethod
    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return metrics that need a choice on validation: sensitivity and specificity at the threshold that gives `specificity`."""

    def further(self, total: Arrays, sites: Mapping[str, Arrays]) -> dict[str, Any]:
        """Return further parts of the result, from the sums of the federated model over all sites and by site; as a rule none."""
        return {}

    def here(self, told: Mapping[str, Any], test: Arrays) -> dict[str, Any]:
        """Return by part what a site's own test sums add to the further parts of a released result; as a rule nothing."""
        return {}

    @abstractmethod
    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return what each metric would be for guessing by the shares of the classes alone, from sums with or without replicates."""

    @abstractmethod
    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return counts of patients, int64 [groups]: in all, then of classes with an example of each; `enough` judges them."""

    @abstractmethod
    def groups(self, outputs: int) -> int:
        """Return the length of a tally."""

    @abstractmethod
    def enough(self, tally: np.ndarray) -> bool:
        """Say whether test patients are enough for a claim: 30, and of classes 5 of each."""

    def smallest_of(self, tally: np.ndarray) -> int:
        """Return the smallest count of a tally on which figures of a single site stand."""
        return int(np.min(tally))

    def taught(self, batch: Batch) -> np.ndarray:
        """Return float64 [L], 1 for each label of which these training rows teach something, else 0; of one label [1]."""
        return np.ones(1)

    @abstractmethod
    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return float64 [N, classes] probabilities of raw scores: what is averaged over several models. Of a number: itself."""

    @abstractmethod
    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return float64 [N, outputs] raw scores that give these probabilities: the inverse of `probability`."""
