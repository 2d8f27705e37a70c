"""Hand a worker its rows: normalised inputs and targets of the roles that are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from wardround.learning.inputs import scaled_rows
from wardround.learning.norm import normalised
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Batch
from wardround.study.protocol import Protocol


def batch_of(protocol: Protocol, data: Dataset, norm: Arrays, *roles: str) -> dict[str, Any]:
    """Return the rows with these roles as one batch of arrays: `x` float32 [N, F], `y` [N], `patient` int64 [N], `mask` bool [N]."""
    rows = data.rows(*roles)
    x = normalised(scaled_rows(protocol.contract, data)[rows], norm)
    y = protocol.question_plugin.target(protocol.contract, {protocol.contract.label: data.columns[protocol.contract.label][rows]})
    return {"x": x, "y": y, "patient": data.patient[rows], "mask": np.ones(len(rows), dtype=bool)}


def joined(batches: list[Batch]) -> dict[str, Any]:
    """Return several batches of arrays as one; patients of different batches stay different."""
    first = np.cumsum([0, *(int(np.max(one["patient"], initial=-1)) + 1 for one in batches)])
    shifted = [{**one, "patient": one["patient"] + start} for one, start in zip(batches, first, strict=False)]
    return {name: np.concatenate([one[name] for one in shifted]) for name in ("x", "y", "patient", "mask")}
