"""Lay numbers out along an axis: where a value stands, in percent of the width, and which round numbers are written under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from wardround.pages.figures import Figure


@dataclass(frozen=True)
class Scale:
    """Map values to percent of the width.

    Attributes:
        left: value at the left edge.
        right: value at the right edge; smaller than `left` where smaller is better, so that better is always to the right.
    """

    left: float
    right: float

    def at(self, value: float) -> float:
        """Return where a value stands, in percent; outside 0 to 100 when it is off the axis."""
        return 100 * (value - self.left) / (self.right - self.left)

    def clipped(self, value: float) -> tuple[float, int]:
        """Return where a value is drawn, and -1, 0 or 1 when it lies beyond the left edge, within, or beyond the right one."""
        place = self.at(value)
        return min(max(place, 0.0), 100.0), (place > 100) - (place < 0)

    def ticks(self, about: int = 5) -> tuple[float, ...]:
        """Return round values along the axis, ascending."""
        low, high = sorted((self.left, self.right))
        step = round_step((high - low) / about)
        return tuple(round(step * index, 10) + 0.0 for index in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1))

    def places(self) -> int:
        """Return how many decimal places the ticks need."""
        step = round_step(abs(self.right - self.left) / 5)
        return next(places for places in range(10) if abs(round(step, places) - step) < 1e-12)


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `least`.

    Example:
        >>> round_step(0.0123), round_step(0.3), round_step(7)
        (0.02, 0.5, 10.0)
    """
    power = 10.0 ** floor(log10(least))
    return next(round(factor * power, 12) for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))


def padded(values: Sequence[float], least: float, share: float = 0.06) -> tuple[float, float]:
    """Return bounds that hold all values with air at both ends, at least `least` apart."""
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    short = max(least - (high - low), 0.0) / 2
    low, high = low - short, high + short
    air = share * (high - low)
    return low - air, high + air


def differences(clear: Sequence[Figure], unclear: Sequence[Figure], margin: float, better: int) -> Scale:
    """Return the scale of a forest plot.

    The intervals of sites with a verdict set the width. Those of sites that are too small to say widen it by a third at most; what is
    longer is cut with an arrow, else one tiny site would press all others into a line.

    Args:
        clear: differences at sites with a verdict, and over all.
        unclear: those of the other sites.
        margin: stated beforehand; it and zero are always on the axis.
        better: +1 when larger is better, -1 when smaller is.
    """
    fixed = [0.0, -1.5 * better * margin]
    low, high = padded([*fixed, *_ends(clear)], least=0.02)
    wide_low, wide_high = padded([low, high, *_ends(unclear)], least=0.02, share=0.0)
    if clear:
        reach = (high - low) / 3
        wide_low, wide_high = max(wide_low, low - reach), min(wide_high, high + reach)
    low, high = min(low, wide_low), max(high, wide_high)
    return Scale(low, high) if better > 0 else Scale(high, low)


def levels(figures: Sequence[Figure], better: int) -> Scale:
    """Return the scale on which models are set side by side."""
    low, high = padded(_ends(figures), least=0.02)
    return Scale(low, high) if better > 0 else Scale(high, low)


def _ends(figures: Sequence[Figure]) -> list[float]:
    return [end for one in figures for end in (one.value, one.low, one.high) if end is not None]
