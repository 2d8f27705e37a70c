"""Have the C library keep memory that was freed, for what moves large bodies part by part.

Each part is a buffer that lives for milliseconds. By its own rules glibc gives such memory back to the system at once, and every page of
the next part is faulted in again: some 6 % of the time of a round of 500 MB.

Source: mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD; there is no other way to set them in a process that runs.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

KEPT = 64 * 2**20
"""Bytes of freed memory that may be kept."""

REUSED = 32 * 2**20
"""Bytes from which a buffer is given back as soon as it is freed; the most that glibc takes."""


def keep_freed() -> bool:
    """Have this process keep freed memory for its next buffers; say whether the C library does so (only glibc does)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_MMAP_THRESHOLD, REUSED))
