"""Describe what a worker sees of a site: an immutable snapshot, one row an example."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wardround.study.arrays import Arrays

ROLES = ("train", "validation", "test")


@dataclass(frozen=True)
class Dataset:
    """Hold one site's rows, already in the contract's fields, units and codes.

    Attributes:
        columns: by field name. Numbers: float64 [N], NaN where missing. Codes: int32 [N], an index into the field's `codes`, -1 where
            missing.
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
