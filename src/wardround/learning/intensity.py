"""Count the intensities of pictures in bins over the contract's range, and read percentiles from such counts.

Counts add up over hospitals, in plain and in secure sums alike, and percentiles of the sum are those of all hospitals' pixels to within a
bin. They are what mean and deviation are not: untouched by a bright device or a white marker in a few pictures.
"""

from __future__ import annotations

import numpy as np

from wardround.learning.pictures import AT_ONCE, pixels
from wardround.study.protocol import Field

SMALLEST = 1e-6
"""Spread, in units of half the range, under which a channel counts as one that does not vary."""

IN_SPREAD = 4.0
"""How many deviations there are from the 1st to the 99th percentile: 4.65 of a normal distribution, 3.4 of a uniform one."""


def histogram(field: Field, raw: np.ndarray, rows: np.ndarray, bins: int) -> np.ndarray:
    """Return how many pixels of some rows lie in each bin, int64 [channels, bins]; the last bin holds its upper end too.

    Args:
        field: an image, with shape and intensity.
        raw: [N, channels, ...] as the snapshot has it, in memory or mapped from its file.
        rows: numbers of the rows.
        bins: of equal width over the contract's intensity range.
    """
    channels, each = (field.shape or (1,))[0], pixels(field)
    found = np.zeros((channels, bins), dtype=np.int64)
    step = max(1, AT_ONCE // max(channels * each, 1))
    for start in range(0, len(rows), step):
        part = np.asarray(raw[rows[start : start + step]]).reshape(-1, channels, each)
        for channel in range(channels):
            found[channel] += _counted(field, part[:, channel].reshape(-1), bins)
    return found


def _counted(field: Field, values: np.ndarray, bins: int) -> np.ndarray:
    """Return int64 [bins]; whole numbers of 8 or 16 bits are counted one by one first, which is faster than placing each pixel."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        lowest = int(np.iinfo(values.dtype).min)
        counts = np.bincount(values.astype(np.int64) - lowest)
        return np.bincount(_place(field, np.arange(len(counts)) + lowest, bins), counts, bins).astype(np.int64)
    return np.bincount(_place(field, values, bins), minlength=bins).astype(np.int64)


def _place(field: Field, values: np.ndarray, bins: int) -> np.ndarray:
    low, high = field.intensity or (-1.0, 1.0)
    return np.clip(np.floor((values.astype(np.float64) - low) * (bins / (high - low))), 0, bins - 1).astype(np.int64)


def percentile(counts: np.ndarray, share: float) -> np.ndarray:
    """Return by channel the value below which a share of the pixels lies, float64 [channels], scaled to [-1, 1]; NaN without pixels.

    Pixels are taken to be spread evenly in their bin; below none of them lies where the first bin with any begins. Elementwise arithmetic
    and cumulative sums only: every site repeats it.

    Args:
        counts: [channels, bins], at least 0.
        share: between 0 and 1.

    Example:
        >>> percentile(np.array([[0.0, 10.0, 10.0, 0.0]]), 0.5)
        array([0.])
    """
    bins = counts.shape[1]
    upto = np.cumsum(counts.astype(np.float64), axis=1)
    wanted = share * upto[:, -1:]
    place = np.minimum(np.sum((upto < wanted) | (upto == 0), axis=1, keepdims=True), bins - 1)
    inside = np.take_along_axis(counts, place, axis=1).astype(np.float64)
    below = np.take_along_axis(upto, place, axis=1) - inside
    within = (wanted - below) / np.where(inside > 0, inside, 1.0)
    value = (2.0 * (place + within) / bins - 1.0)[:, 0]
    return np.where(upto[:, -1] > 0, value, np.nan)


def spread_norm(counts: np.ndarray, low: float, high: float) -> dict[str, np.ndarray]:
    """Return `mean` and `deviation` by channel from two percentiles, in units of half the contract's range; 0 and 1 without pixels.

    The mean is halfway between them, the deviation a quarter of their distance (1 where the channel does not vary).

    Args:
        counts: [channels, bins].
        low: share of the pixels below the lower one.
        high: share of the pixels below the upper one.
    """
    first, last = percentile(counts, low), percentile(counts, high)
    known, spread = np.sum(counts, axis=1) > 0, (last - first) / IN_SPREAD
    return {"mean": np.where(known, (first + last) / 2, 0.0), "deviation": np.where(known & (spread > SMALLEST), spread, 1.0)}


def histogram_of_patients(field: Field, raw: np.ndarray, rows: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `histogram`, and of how many rows each bin has a pixel, both int64 [channels, bins].

    Args:
        field: an image, with shape and intensity.
        raw: [N, channels, ...] as the snapshot has it.
        rows: numbers of the rows, one a patient.
        bins: of equal width over the contract's intensity range.
    """
    channels, each = (field.shape or (1,))[0], pixels(field)
    found, seen = np.zeros((channels, bins), dtype=np.int64), np.zeros((channels, bins), dtype=np.int64)
    step = max(1, AT_ONCE // max(channels * max(each, bins), 1))
    for start in range(0, len(rows), step):
        part = np.asarray(raw[rows[start : start + step]]).reshape(-1, channels, each)
        for channel in range(channels):
            place = _place(field, part[:, channel], bins) + bins * np.arange(len(part))[:, None]
            counts = np.bincount(place.reshape(-1), minlength=len(part) * bins).reshape(len(part), bins)
            found[channel] += counts.sum(axis=0)
            seen[channel] += (counts > 0).sum(axis=0)
    return found, seen


def folded(counts: np.ndarray, seen: np.ndarray, least: int) -> np.ndarray:
    """Return counts of which none is of fewer than `least` rows: such bins' pixels move to the nearest bin that has enough.

    Args:
        counts: int64 [channels, bins].
        seen: int64 [channels, bins], rows with a pixel in each bin.
        least: fewest rows; a channel without any such bin becomes 0.

    Example:
        >>> folded(np.array([[9, 9, 0, 1]]), np.array([[5, 5, 0, 1]]), 3)
        array([[ 9, 10,  0,  0]])
    """
    found = np.zeros_like(counts)
    for channel, (amounts, rows) in enumerate(zip(counts, seen, strict=True)):
        enough = np.flatnonzero(rows >= max(least, 1))
        if len(enough):
            nearest = enough[np.argmin(np.abs(np.arange(len(amounts))[:, None] - enough), axis=1)]
            np.add.at(found[channel], nearest, amounts)
    return found
