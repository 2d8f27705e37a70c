"""Fold small counts of a table into its largest cell: what leaves holds no count between 1 and k - 1, and none follows from it alone.

Beside other exact figures of the same patients, such as means, one may follow; whoever tells those has to see to it (`preflight/site.py`).

Holding cells back (`disclosure.py`) keeps every count that is told exact, which totals over sites need. Where single sites' tables are
compared and never added, it costs too much: at a hospital of 75 patients one small cell takes others with it. Here a cell of fewer than k
patients is told as "few", and its patients count with the largest cell, so that no total tells how many they are.

Source: Hundepool et al., Statistical Disclosure Control, Wiley 2012, chapter 5 (recoding of tables).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Folded:
    """Hold a table as it may leave.

    Attributes:
        told: float64 [C], 0 or k and more each; all 0 where the whole table holds fewer than k.
        few: bool [C], cells of 1 to k - 1 patients, who count with the largest cell.
    """

    told: np.ndarray
    few: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, least: int) -> Folded:
        """Return counts as they may leave.

        Args:
            counts: [C], patients by cell, each patient in one.
            least: k.

        Example:
            >>> Folded.of(np.array([50, 4, 30, 0]), 10).told.tolist()
            [54.0, 0.0, 30.0, 0.0]
        """
        exact = np.asarray(counts, dtype=np.float64)
        few = (exact > 0) & (exact < least)
        largest = int(np.argmax(exact))
        if few[largest] or exact.sum() < least:
            return cls(np.zeros(len(exact)), np.zeros(len(exact), dtype=bool))
        told = np.where(few, 0.0, exact)
        told[largest] += exact[few].sum()
        return cls(told, few)

    @property
    def total(self) -> float:
        """Return how many patients the table holds; 0 where nothing was told."""
        return float(self.told.sum())

    def could_be(self, least: int) -> tuple[np.ndarray, np.ndarray]:
        """Return lowest and highest counts, each [C], that this can have come from.

        Example:
            >>> [end.tolist() for end in Folded.of(np.array([50, 4, 30]), 10).could_be(10)]
            [[45.0, 1.0, 30.0], [53.0, 9.0, 30.0]]
        """
        largest, some = int(np.argmax(self.told)), float(self.few.sum())
        low, high = np.where(self.few, 1.0, self.told), np.where(self.few, float(least - 1), self.told)
        low[largest] -= (least - 1) * some
        high[largest] -= some
        return np.maximum(low, 0.0), high

    def moved(self, order: tuple[int, ...]) -> Folded:
        """Return the table with what stands in each of the first cells at the place that `order` names."""
        told, few = self.told.copy(), self.few.copy()
        told[list(order)], few[list(order)] = self.told[: len(order)], self.few[: len(order)]
        return Folded(told, few)
