"""Put masks on an answer array by array, and keep what is large in a file: what both ways to hide a site's sums have in common."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from wardround.combining.secure.masks import Mask, add
from wardround.site.gate import Site
from wardround.study.arrays import Arrays, Lazy, Specs, Stored, keep, to_bytes
from wardround.study.files import LARGE, Data

Made = Callable[[], np.ndarray]


def masked(arrays: Arrays, specs: Specs, masks: Sequence[Mask], beside: Mapping[str, Made], bare: str = "") -> Lazy:
    """Return an answer as it leaves; each array is masked when it is asked for.

    Args:
        arrays: the site's integers.
        specs: type and shape of each array that leaves; its place among them is its number.
        masks: to add.
        beside: makes what leaves beside the site's integers.
        bare: name of the array that leaves as it is.
    """
    numbers = {name: number for number, name in enumerate(specs)}

    def made(name: str) -> np.ndarray:
        value = beside[name]() if name in beside else _own(arrays, name).view(specs[name][0])
        if name != bare:
            add(masks, numbers[name], value)
        return value

    return Lazy(specs, made)


def body_of(site: Site, made: Lazy) -> Data:
    """Return arrays as bytes, or, if they are large, in a file in the site's room."""
    if site.room is None or made.nbytes < LARGE:
        return to_bytes(made)
    return keep(made, site.room / f"{secrets.token_hex(8)}.masked", durable=False)


def _own(arrays: Arrays, name: str) -> np.ndarray:
    """Return an array that may be altered: what is read from a file is nobody else's."""
    return arrays[name] if isinstance(arrays, Stored) else np.array(arrays[name])
