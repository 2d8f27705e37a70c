"""Say how masked sums travel, and read them."""

from __future__ import annotations

import numpy as np

from wardround.combining.secure.seal import LENGTH, NAME
from wardround.combining.written import OutOfBounds
from wardround.study.arrays import Arrays, Specs, from_bytes, specs_of
from wardround.study.files import Data
from wardround.study.layout import Layout


def masked_specs(layout: Layout) -> Specs:
    """Return type and shape of each masked array: those of the layout, in its order, and the seal last."""
    found = {term.name: (np.dtype(f"uint{term.bits}"), term.shape) for term in layout}
    return {**found, NAME: (np.dtype(np.uint64), (LENGTH,))}


def unpack_masked(layout: Layout, body: Data) -> Arrays:
    """Return the masked integers in a body; what they hide cannot be held against limits before the total is open.

    Raises:
        OutOfBounds: something is missing, unknown, or of another type or shape.
    """
    return unpack_as(masked_specs(layout), body)


def unpack_as(specs: Specs, body: Data) -> Arrays:
    """Return the arrays in a body that must have exactly these names, types and shapes.

    Raises:
        OutOfBounds: something is missing, unknown, or of another type or shape.
    """
    arrays = from_bytes(body)
    if specs_of(arrays) != specs:
        raise OutOfBounds("the masked sums are not of the names, types and shapes that were asked for")
    return arrays
