"""Hand out rows of an image field as a model sees them, a batch at a time: float32, scaled and normalised channel by channel.

The raw values stay as the snapshot has them (8 or 16 bits, in memory or mapped from its file), so a hospital with more pictures than
memory trains like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.protocol import Contract, Field

AT_ONCE = 2**22
"""Pixels that are read at a time where all of them are looked at."""


@dataclass(frozen=True)
class _Part:
    """Hold rows of one snapshot, and by what its raw values become a model's: `raw * factor + offset`, float32 by channel."""

    raw: np.ndarray
    rows: np.ndarray
    factor: np.ndarray
    offset: np.ndarray


class Pictures:
    """Be indexed like an array float32 [N, channels, ...]; what is asked for is made then.

    Args:
        parts: rows of one snapshot or of several.
        shape: of one picture.
    """

    def __init__(self, parts: Sequence[_Part], shape: tuple[int, ...]) -> None:
        """Count the rows."""
        self._parts, self._shape = tuple(parts), shape
        self._ends = np.cumsum([0, *(len(part.rows) for part in parts)])

    @classmethod
    def of(cls, contract: Contract, data: Dataset, rows: np.ndarray, norm: Arrays) -> Pictures:
        """Return rows of a snapshot's image.

        Args:
            contract: names the image.
            data: the snapshot.
            rows: numbers of the rows, [N].
            norm: "mean" and "deviation" by channel, float64, in units of half the contract's intensity range.
        """
        name = str(contract.image)
        field = contract.fields[name]
        shape = field.shape or ()
        middle, half = scale_of(field)
        axes = (shape[0], *[1] * (len(shape) - 1))
        mean, deviation = norm["mean"][: shape[0]], norm["deviation"][: shape[0]]
        factor, offset = 1 / (half * deviation), -(middle / half + mean) / deviation
        part = _Part(data.columns[name], rows, _channels(factor, axes), _channels(offset, axes))
        return cls([part], shape)

    @classmethod
    def joined(cls, several: Sequence[Pictures]) -> Pictures:
        """Return the rows of several one after the other."""
        return cls([part for one in several for part in one._parts], several[0]._shape)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (N, channels, ...)."""
        return (len(self), *self._shape)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        places = np.arange(len(self))[index]
        found = np.empty((len(places), *self._shape), dtype=np.float32)
        for number, part in enumerate(self._parts):
            here = np.flatnonzero((places >= self._ends[number]) & (places < self._ends[number + 1]))
            if len(here):
                raw = part.raw[part.rows[places[here] - self._ends[number]]]
                found[here] = raw.astype(np.float32) * part.factor + part.offset
        return found


def _channels(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(values, dtype=np.float32).reshape(axes)


def scale_of(field: Field) -> tuple[float, float]:
    """Return middle and half of an image's intensity range."""
    low, high = field.intensity or (-1.0, 1.0)
    return (low + high) / 2, (high - low) / 2


def pixels(field: Field) -> int:
    """Return how many pixels one channel of an image has."""
    return int(np.prod((field.shape or (1,))[1:]))


def channel_sums(contract: Contract, data: Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return by channel how many pixels rows of an image have, their sum and sum of squares, scaled to [-1, 1] by the intensity range.

    Whole numbers are added exactly, so neither the order of rows nor how many are read at a time matters. Where squares of them could be
    more than an integer of 64 bits holds, they are added as other numbers are: as float64, scaled before.
    """
    name = str(contract.image)
    field, raw = contract.fields[name], data.columns[name]
    channels, each = (field.shape or (1,))[0], pixels(field)
    total, squares = np.zeros(channels), np.zeros(channels)
    step = max(1, AT_ONCE // max(channels * each, 1))
    (middle, half), present = scale_of(field), np.full(channels, float(len(rows) * each))
    exact = raw.dtype.kind in "iu" and (abs(middle) + half) ** 2 * max(AT_ONCE, each) < 2**62
    for start in range(0, len(rows), step):
        part = np.asarray(raw[rows[start : start + step]]).reshape(-1, channels, each)
        part = part.astype(np.int64) if exact else (part.astype(np.float64) - middle) / half
        total += part.sum(axis=(0, 2))
        squares += (part * part).sum(axis=(0, 2))
    if not exact:
        return {"present": present, "sum": total, "squares": squares}
    centred = squares - 2 * middle * total + present * middle * middle
    return {"present": present, "sum": (total - present * middle) / half, "squares": np.maximum(centred, 0.0) / (half * half)}
