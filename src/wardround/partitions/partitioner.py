"""Name what a way of dividing patients may decide; a new one is one new file and one line in `pyproject.toml`.

A partitioner may say how much of each class of patients a hospital draws (`mix`), how large hospitals are (`sizes`), which local column
names the hospital (`column`), and what a hospital's instruments make of a value (`seen`). Several go together where they decide different
things: labels and quantity, or quantity and shift. Each is a frozen dataclass; its fields are its options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wardround.study.protocol.contract import Field
from wardround.study.streams import Stream


@dataclass(frozen=True)
class Partitioner:
    """Divide patients over simulated hospitals; what a subclass does not decide stays even."""

    changes: ClassVar[bool] = False
    """Whether it changes what hospitals see of a value (`seen`)."""

    def mix(self, counts: np.ndarray, sites: int, rng: Stream) -> np.ndarray | None:
        """Return how much of each class each hospital draws, float64 [S, K], relative within a class; None for alike.

        Args:
            counts: patients of each class, [K].
            sites: number of hospitals S.
            rng: the partition's stream.
        """
        return None

    def sizes(self, sites: int, rng: Stream) -> np.ndarray | None:
        """Return each hospital's share of the patients beyond the fewest that each must have, float64 [S], sum 1; None for no say."""
        return None

    @property
    def by(self) -> str:
        """Return the local column whose value names the hospital; "" for none. It then decides everything."""
        return ""

    def seen(self, field: Field, values: np.ndarray, like: np.ndarray, rng: Stream) -> np.ndarray:
        """Return what one hospital's instruments make of values; only asked where `changes`.

        Args:
            field: of the contract; a number that is an input, or an image.
            values: of this hospital: float64 [N] with NaN where missing, or pixels [N, *shape] of the raw type.
            like: of all training patients, for a number float64 [M]; for an image empty.
            rng: the hospital's stream, so that every field and row of one hospital goes through the same instrument.
        """
        return values
