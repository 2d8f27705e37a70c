"""Describe what a worker sees of a site: an immutable snapshot, one row an example."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.study.arrays import Arrays

if TYPE_CHECKING:
    from wardround.study.protocol import Contract, Field

ROLES = ("train", "validation", "test")


@dataclass(frozen=True)
class Dataset:
    """Hold one site's rows, already in the contract's fields, units and codes.

    Attributes:
        columns: by field name. Numbers: float64 [N], NaN where missing. Codes: int32 [N], an index into the field's `codes`, -1 where
            missing. Images: [N, *shape] of the type that `stored_as` says, raw values, never missing; maybe mapped from a file.
        patient: int64 [N], the index of the row's patient, 0 to P - 1; no identifier of the hospital is kept.
        role: int8 [N], an index into `ROLES`; all rows of a patient have the same role.
        time: float64 [N], seconds since 1970, or None when the contract has no time.
        digest: digest of the snapshot that these rows were read from.
        notes: what the loader saw beside the values, for a preflight (`wardround.data.notes`); empty in other studies.
    """

    columns: Arrays
    patient: np.ndarray
    role: np.ndarray
    time: np.ndarray | None = None
    digest: str = ""
    cache: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    notes: Arrays = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of examples (rows)."""
        return len(self.patient)

    @property
    def patients(self) -> int:
        """Return the number of patients."""
        return len(np.unique(self.patient))

    def rows(self, *roles: str) -> np.ndarray:
        """Return the row numbers with one of these roles, int64, ascending."""
        return np.flatnonzero(np.isin(self.role, [ROLES.index(role) for role in roles]))


def stored_as(field: Field) -> np.dtype[Any]:
    """Return the type in which a snapshot holds an image's values: the smallest that has the contract's whole range.

    A range narrower than 256 that is not 0 to 255 (0 to 1, -5 to 5 mV) is no count of grey levels, and is kept as float32.
    """
    low, high = field.intensity or (0.0, 255.0)
    if (low, high) in ((0, 255), (0, 65_535)):
        return np.dtype(np.uint8 if high == 255 else np.uint16)
    if low == int(low) and high == int(high) and high - low > 255:
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return np.dtype(kind)
    return np.dtype(np.float32)


def row_bytes(contract: Contract) -> int:
    """Return how many bytes one row of a snapshot has, about."""
    return sum(8 if field.shape is None else stored_as(field).itemsize * math.prod(field.shape) for field in contract.fields.values())
