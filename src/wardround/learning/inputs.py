"""Turn a snapshot's columns into the numbers that a model sees; of pictures `pictures.py` does.

Every hospital gets the same columns in the same order, from the contract alone: a number is centred and scaled by its contract range, a
code becomes one column a code (one for all, when there are two), a field with `missing = "indicator"` brings a further column. Missing
values stay NaN here and become the training mean once normalised.
"""

from __future__ import annotations

import numpy as np

from wardround.learning.pictures import pixels
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.protocol import Contract
from wardround.study.protocol.seen import input_names as input_names
from wardround.study.protocol.seen import input_shape as input_shape


def scaled(contract: Contract, columns: Arrays) -> np.ndarray:
    """Return float64 [N, F]: numbers in [-1, 1] by the contract's range, codes and indicators 0 or 1, NaN where missing."""
    parts: list[np.ndarray] = []
    for name in contract.inputs:
        field, column = contract.fields[name], columns[name]
        if field.type == "number":
            low, high = field.range or (-1.0, 1.0)
            parts.append((column - (low + high) / 2) / ((high - low) / 2))
            absent = np.isnan(column)
        else:
            absent = column < 0
            first = 1 if len(field.codes or ()) == 2 else 0
            parts.extend(np.where(absent, np.nan, column == code) for code in range(first, len(field.codes or ())))
        if field.missing == "indicator":
            parts.append(absent.astype(np.float64))
    return np.stack(parts, axis=1) if parts else np.zeros((0, 0))


def scaled_rows(contract: Contract, data: Dataset) -> np.ndarray:
    """Return `scaled` of a whole snapshot, made once and kept with it."""
    if "scaled" not in data.cache:
        data.cache["scaled"] = scaled(contract, data.columns)
    return data.cache["scaled"]


def predicts_number(contract: Contract) -> bool:
    """Return whether the label is a number, whose mean and deviation then stand last in a normalisation."""
    return bool(contract.label) and contract.fields[contract.label].range is not None


def measured(contract: Contract) -> int:
    """Return how many columns a normalisation has: the inputs (of an image its channels), and a label that is a number."""
    return input_shape(contract)[0] + predicts_number(contract)


def measured_at_most(contract: Contract, examples: int) -> np.ndarray:
    """Return float64 [measured]: of how many values one site's sums over so many examples are made at most; an image has its pixels."""
    each = 1 if contract.image is None else pixels(contract.fields[contract.image])
    return np.array([float(examples * each)] * input_shape(contract)[0] + [float(examples)] * predicts_number(contract))


def measured_rows(contract: Contract, data: Dataset) -> np.ndarray:
    """Return float64 [N, measured]: `scaled_rows`, and a label that is a number scaled alike."""
    z = scaled_rows(contract, data)
    return np.column_stack([z, scaled_label(contract, data)]) if predicts_number(contract) else z


def scaled_label(contract: Contract, data: Dataset) -> np.ndarray:
    """Return float64 [N]: a label that is a number, in [-1, 1] by the contract's range."""
    low, high = contract.fields[contract.label].range or (-1.0, 1.0)
    return np.asarray((data.columns[contract.label] - (low + high) / 2) / ((high - low) / 2))
