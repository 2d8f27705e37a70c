"""Share what questions about classes have in common: their label's codes and the names of their metrics."""

from __future__ import annotations

from wardround.study.errors import ProtocolError
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


def named_better(metric: str) -> int:
    """Return +1 when a larger value of a metric is better, -1 when a smaller one is.

    Raises:
        ProtocolError: there is no such metric.
    """
    if metric not in BETTER:
        raise ProtocolError(
            f"evaluation.metrics: there is no metric {metric!r} for this question.", f"Use some of: {', '.join(sorted(BETTER))}."
        )
    return BETTER[metric]
