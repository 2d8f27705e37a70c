"""Hand a worker its rows: normalised inputs and targets of the roles that are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from wardround.learning.combat import harmonised
from wardround.learning.inputs import scaled_rows
from wardround.learning.norm import HARMONISED, normalised
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Batch
from wardround.study.protocol import Protocol


def batch_of(protocol: Protocol, data: Dataset, norm: Arrays, *roles: str) -> dict[str, Any]:
    """Return the rows with these roles as one batch: `x` float32 [N, F], `y` [N] and its like, `patient` int64 [N], `mask` bool [N]."""
    rows = data.rows(*roles)
    z = harmonised(protocol, data, norm) if HARMONISED in norm else scaled_rows(protocol.contract, data)
    label = protocol.question_plugin.batch(protocol.contract, data.columns, rows, norm)
    return {"x": normalised(z[rows], norm), **label, "patient": data.patient[rows], "mask": np.ones(len(rows), dtype=bool)}


def joined(batches: list[Batch]) -> dict[str, Any]:
    """Return several batches of arrays as one; patients of different batches stay different."""
    first = np.cumsum([0, *(int(np.max(one["patient"], initial=-1)) + 1 for one in batches)])
    shifted = [{**one, "patient": one["patient"] + start} for one, start in zip(batches, first, strict=False)]
    return {name: np.concatenate([one[name] for one in shifted]) for name in shifted[0]}
