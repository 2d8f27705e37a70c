"""Send every number as a 16-bit float with 10 bits after the leading one: half the bytes, in plain sums.

Such a float holds nothing above 65504, so numbers are first scaled by a power of two, which loses nothing: a limit becomes at most 32768.
Rounded floats are not whole numbers of a common step, so they do not add up under masks.

Source: IEEE 754-2019, section 3.6 (binary16).
"""

from __future__ import annotations

from dataclasses import dataclass

from wardround.combining.codecs.floats import Floats
from wardround.study.layout import Wire


@dataclass(frozen=True)
class Float16(Floats):
    """Send floats of 16 bits, with 10 bits after the leading one."""

    @property
    def wire(self) -> Wire:
        """Return how the floats are written."""
        return "float16"
