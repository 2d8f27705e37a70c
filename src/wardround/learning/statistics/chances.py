"""Work out how likely a statistic is by chance, without a library of statistics."""

from __future__ import annotations

import math


def chi_square_above(value: float, freedom: int) -> float:
    """Return the chance that a chi-square variable is larger than a value.

    Args:
        value: 0 or more.
        freedom: degrees of freedom, 1 or more.

    Source: NIST Digital Library of Mathematical Functions, 8.7.1 (series) and 8.9.2 (continued fraction) of the incomplete gamma function.

    Example:
        >>> round(chi_square_above(3.841458820694124, 1), 9)
        0.05
    """
    a, x = freedom / 2, value / 2
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1.0 - front * _series(a, x) if x < a + 1 else front * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    step = a
    while abs(term) > abs(total) * 1e-17:
        step += 1
        term *= x / step
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    """Return the continued fraction by Lentz's method."""
    tiny, b = 1e-300, x + 1 - a
    c, d = 1 / tiny, 1 / b
    found = d
    for step in range(1, 10_000):
        factor = -step * (step - a)
        b += 2
        d = 1 / (factor * d + b or tiny)
        c = b + factor / c or tiny
        found *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return found
