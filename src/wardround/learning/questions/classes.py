"""Share what questions about classes have in common: their label's codes and the names of their metrics."""

from __future__ import annotations

import math

import numpy as np

from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Batch
from wardround.study.protocol import Contract

BETTER = {"auroc": 1, "auprc": 1, "accuracy": 1, "balanced_accuracy": 1, "brier": -1, "calibration_error": -1, "loss": -1}


def label_codes(contract: Contract) -> tuple[str, ...]:
    """Return the codes of the label.

    Raises:
        ProtocolError: the label is a number.
    """
    codes = contract.fields[contract.label].codes
    if codes is None:
        raise ProtocolError(
            f"contract.label: {contract.label!r} is a number, and this question is about codes.", "Give the label type = 'code'."
        )
    return codes


def patients_by_class(batch: Batch, classes: int) -> np.ndarray:
    """Return int64 [1 + classes]: patients in all, then with an example of each class.

    Args:
        batch: with `y`, an index of a class, and `patient`.
        classes: how many.
    """
    each = [len(np.unique(batch["patient"][batch["y"] == number])) for number in range(classes)]
    return np.array([len(np.unique(batch["patient"])), *each], dtype=np.int64)


def confusions(truth: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return int64 [K, K] (truth, prediction), how many rows have each pair; or [R, K, K] with weights [R, N]."""
    place = truth * classes + predicted
    if weights is None:
        return np.bincount(place, minlength=classes * classes).reshape(classes, classes)
    table = np.zeros((classes * classes, len(weights)), dtype=np.int64)
    np.add.at(table, place, weights.T)
    return table.T.reshape(-1, classes, classes)


def present_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of those that exist; NaN where none does."""
    known = ~np.isnan(values)
    number = np.sum(known, axis=-1)
    return np.where(number > 0, np.sum(np.where(known, values, 0.0), axis=-1) / np.where(number > 0, number, 1), np.nan)


def enough_by_class(tally: np.ndarray) -> bool:
    """Say whether a tally has at least 30 patients, and 5 of each class."""
    return bool(tally[0] >= 30 and np.all(tally[1:] >= 5))


def guessing(counts: np.ndarray) -> dict[str, float]:
    """Return each metric for guessing by the shares of the classes alone.

    Args:
        counts: examples of each class; two for a binary question, whose Brier score counts the positive class only.
    """
    shares = counts / max(int(np.sum(counts)), 1)
    known = shares[shares > 0]
    each = shares * (1 - shares)
    return {
        "auroc": 0.5,
        "auprc": float(shares[1]) if len(shares) == 2 else float(np.mean(known)),
        "accuracy": float(np.max(shares)),
        "balanced_accuracy": 1 / len(known) if len(known) else 1.0,
        "brier": float(each[1]) if len(shares) == 2 else float(np.sum(each)),
        "calibration_error": math.inf,
        "loss": float(-np.sum(known * np.log(known))),
    }
