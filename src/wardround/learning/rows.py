"""Hand a worker its rows: normalised inputs and targets of the roles that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wardround.learning.combat import harmonised
from wardround.learning.inputs import scaled_rows
from wardround.learning.norm import HARMONISED, normalised
from wardround.learning.pictures import Pictures
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Batch
from wardround.study.protocol import Protocol


def batch_of(protocol: Protocol, data: Dataset, norm: Arrays, *roles: str) -> dict[str, Any]:
    """Return the rows with these roles as one batch: `x` float32 [N, ...], `y` [N] and its like, `patient` int64 [N], `mask` bool [N].

    Of an image `x` is `Pictures`, which are made when they are asked for, by `x[rows]`.
    """
    rows = data.rows(*roles)
    label = protocol.question_plugin.batch(protocol.contract, data.columns, rows, norm)
    x = Pictures.of(protocol.contract, data, rows, norm) if len(protocol.inputs) > 1 else _columns(protocol, data, norm, rows)
    return {"x": x, **label, "patient": data.patient[rows], "mask": np.ones(len(rows), dtype=bool)}


def _columns(protocol: Protocol, data: Dataset, norm: Arrays, rows: np.ndarray) -> np.ndarray:
    z = harmonised(protocol, data, norm) if HARMONISED in norm else scaled_rows(protocol.contract, data)
    return normalised(z[rows], norm)


def joined(batches: list[Batch]) -> dict[str, Any]:
    """Return several batches of arrays as one; patients of different batches stay different."""
    first = np.cumsum([0, *(int(np.max(one["patient"], initial=-1)) + 1 for one in batches)])
    shifted = [{**one, "patient": one["patient"] + start} for one, start in zip(batches, first, strict=False)]
    return {name: _joined([one[name] for one in shifted]) for name in shifted[0]}


def _joined(values: Sequence[Any]) -> np.ndarray | Pictures:
    return Pictures.joined(values) if isinstance(values[0], Pictures) else np.concatenate(values)
