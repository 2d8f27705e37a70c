"""Say how a number is predicted: as a mean, as the rate of a count, or as a quantile. One small class for each family of regression.

A network learns in units of the label's spread: its raw output is a number of about -3 to 3. A family turns raw outputs into predictions in
the contract's unit, and has the loss that pulls them where they belong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_LOG = 50.0
_OF_SPAN = 1e-6
"""A mean of a count is at least this part of the contract's range: its logarithm must exist."""


class Family(ABC):
    """Predict one kind of number, with a loss of its own."""

    cost: ClassVar[str]
    """Name of the mean of its loss among the sums."""

    better: ClassVar[Mapping[str, int]]
    centred: ClassVar[bool] = True
    """Whether levels are told from the middle of the range, for finer sums; of a rate from 0, since it is taken times an exposure."""

    signed: ClassVar[bool] = False
    """Whether an interval has one end, a bound, so that it matters on which side of the prediction a value lies."""

    @abstractmethod
    def loss(self, raw: Tensor, y: Tensor, centre: Tensor, spread: Tensor, exposure: Tensor | None) -> Tensor:
        """Return the loss of each example, float32 [B].

        Args:
            raw: float32 [B], a network's outputs.
            y: float32 [B], in the contract's unit.
            centre: float32 [B], mean of the label over training rows.
            spread: float32 [B], its deviation.
            exposure: float32 [B], for how much time, or how many beds, a count is; None for the same for all.
        """

    @abstractmethod
    def told(self, raw: np.ndarray, centre: np.ndarray, spread: np.ndarray, exposure: np.ndarray | None) -> np.ndarray:
        """Return float64 [N], predictions in the contract's unit; arguments as for `loss`."""

    @abstractmethod
    def costs(self, y: np.ndarray, predicted: np.ndarray, span: tuple[float, float]) -> np.ndarray:
        """Return float64 [N], what each error costs in the contract's unit; predictions lie within `span`."""

    @abstractmethod
    def dearest(self, span: tuple[float, float]) -> float:
        """Return the most that one error within a range can cost."""


@dataclass(frozen=True)
class Gaussian(Family):
    """Predict the mean, by squared error."""

    cost = "squares"
    better = MappingProxyType({"rmse": -1, "mae": -1, "r2": 1, "calibration_gap": -1})

    def loss(self, raw: Tensor, y: Tensor, centre: Tensor, spread: Tensor, exposure: Tensor | None) -> Tensor:
        """Return half the squared error in units of the spread."""
        wrong = raw - (y - centre) / spread
        return 0.5 * wrong * wrong

    def told(self, raw: np.ndarray, centre: np.ndarray, spread: np.ndarray, exposure: np.ndarray | None) -> np.ndarray:
        """Return centre + spread x raw."""
        return np.asarray(centre + spread * raw)

    def costs(self, y: np.ndarray, predicted: np.ndarray, span: tuple[float, float]) -> np.ndarray:
        """Return squared errors."""
        return np.asarray((y - predicted) ** 2)

    def dearest(self, span: tuple[float, float]) -> float:
        """Return the squared range."""
        return (span[1] - span[0]) ** 2


@dataclass(frozen=True)
class Poisson(Family):
    """Predict the mean of a count by its logarithm, so that effects multiply and no prediction is below 0.

    Source: McCullagh and Nelder, Generalized Linear Models, 2nd edition, 1989, sections 2.3 (deviance) and 6.2.
    """

    cost = "deviance"
    centred = False
    better = MappingProxyType({"deviance": -1, "rmse": -1, "mae": -1, "r2": 1, "calibration_gap": -1})

    def loss(self, raw: Tensor, y: Tensor, centre: Tensor, spread: Tensor, exposure: Tensor | None) -> Tensor:
        """Return the negative log-likelihood, divided by the mean count, without what does not depend on the prediction."""
        times = 1.0 if exposure is None else exposure
        return times * raw.clamp(max=_LARGEST_LOG).exp() - y / centre * raw

    def told(self, raw: np.ndarray, centre: np.ndarray, spread: np.ndarray, exposure: np.ndarray | None) -> np.ndarray:
        """Return centre x exposure x exp(raw)."""
        times = 1.0 if exposure is None else exposure
        return np.asarray(centre * times * np.exp(np.clip(raw, -_LARGEST_LOG, _LARGEST_LOG)))

    def costs(self, y: np.ndarray, predicted: np.ndarray, span: tuple[float, float]) -> np.ndarray:
        """Return 2 (y log(y / predicted) - y + predicted), y log y being 0 at 0."""
        mean = np.maximum(predicted, self._least(span))
        apart = np.log(np.where(y > 0, y, mean)) - np.log(mean)
        return np.asarray(np.maximum(2 * (y * apart - y + mean), 0.0))

    def dearest(self, span: tuple[float, float]) -> float:
        """Return what the largest count costs where the smallest mean was predicted, with room for the other way round."""
        return 2 * span[1] * (float(np.log(span[1] / self._least(span))) + 1)

    @staticmethod
    def logs(y: np.ndarray, exposure: np.ndarray) -> np.ndarray:
        """Return y log(y / exposure), 0 at 0: with the sum of y it gives the deviance of one rate for all."""
        return np.asarray(y * np.log(np.where(y > 0, y, 1.0) / exposure))

    @staticmethod
    def _least(span: tuple[float, float]) -> float:
        return _OF_SPAN * (span[1] - span[0])


@dataclass(frozen=True)
class Quantile(Family):
    """Predict the value under which a given share of patients like this one lies, by the pinball loss.

    Attributes:
        share: above 0, below 1.

    Source: Koenker and Bassett, Regression quantiles, Econometrica 1978, equation 2.3.
    """

    cost = "pinball"
    better = MappingProxyType({"pinball": -1, "quantile_gap": -1})
    signed = True

    share: float

    def loss(self, raw: Tensor, y: Tensor, centre: Tensor, spread: Tensor, exposure: Tensor | None) -> Tensor:
        """Return the pinball loss in units of the spread."""
        above = (y - centre) / spread - raw
        return above.clamp(min=0) * self.share + (-above).clamp(min=0) * (1 - self.share)

    def told(self, raw: np.ndarray, centre: np.ndarray, spread: np.ndarray, exposure: np.ndarray | None) -> np.ndarray:
        """Return centre + spread x raw."""
        return np.asarray(centre + spread * raw)

    def costs(self, y: np.ndarray, predicted: np.ndarray, span: tuple[float, float]) -> np.ndarray:
        """Return the pinball loss of each error."""
        above = y - predicted
        return np.asarray(np.where(above > 0, self.share * above, (self.share - 1) * above))

    def dearest(self, span: tuple[float, float]) -> float:
        """Return the range."""
        return span[1] - span[0]

    def guess(self, values: np.ndarray, counts: np.ndarray) -> float:
        """Return the best prediction for one who knows how often each value occurs and nothing else: the quantile.

        Args:
            values: float64 [C], ascending.
            counts: [C], at least one above 0.
        """
        upto = np.cumsum(counts)
        return float(values[int(np.argmax(upto >= self.share * upto[-1]))])
