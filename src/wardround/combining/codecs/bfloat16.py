"""Send every number as a 16-bit float with 7 bits after the leading one, and the range of a 32-bit float: half the bytes, in plain sums.

Coarser than `float16`, but no number is too small for it. Rounded floats are not whole numbers of a common step, so they do not add up
under masks.
"""

from __future__ import annotations

from dataclasses import dataclass

from wardround.combining.codecs.floats import Floats
from wardround.study.layout import Wire


@dataclass(frozen=True)
class BFloat16(Floats):
    """Send floats of 16 bits, with 7 bits after the leading one."""

    @property
    def wire(self) -> Wire:
        """Return how the floats are written."""
        return "bfloat16"
