"""Hand a worker its rows: normalised inputs and targets of the roles that are asked for."""

from __future__ import annotations

import numpy as np

from wardround.learning.inputs import scaled_rows
from wardround.learning.norm import normalised
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol


def inputs_and_targets(protocol: Protocol, data: Dataset, norm: Arrays, *roles: str) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [N, F] inputs and [N] targets of the rows with these roles."""
    rows = data.rows(*roles)
    key = f"{protocol.question.kind} target"
    if key not in data.cache:
        data.cache[key] = protocol.question_plugin.target(protocol.contract, data.columns)
    return normalised(scaled_rows(protocol.contract, data)[rows], norm), data.cache[key][rows]
