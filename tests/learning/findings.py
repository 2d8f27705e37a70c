"""Make up hospitals with several labels of which some answers are not known, and a study that learns them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support import plan, rows
from wardround.learning.network import initial_parameters
from wardround.study.arrays import arrays_digest
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol

LABELS = ("fluid", "nodule", "scar")


def agreed(question: dict[str, Any] | None = None, **changes: Any) -> Protocol:
    """Return the small study with three labels, complete and with initial parameters by digest."""
    number = {"type": "number", "unit": "1", "range": [-5, 5], "missing": "indicator"}
    answer = {"type": "code", "codes": ["no", "yes"], "missing": "unknown"}
    fields = {"a": number, "b": number, "sex": {"type": "code", "codes": ["f", "m"]}, **dict.fromkeys(LABELS, answer)}
    tables: dict[str, Any] = {
        "question": {"kind": "multilabel", "title": "Findings", "purpose": "Test.", **(question or {})},
        "evaluation": {"metrics": ["loss", "auroc"], "replicates": 30},
        **changes,
    }
    draft = Protocol.model_validate({**plan(**tables), "contract": {"labels": LABELS, "fields": fields}}).complete()
    return draft.changed(initial={"model": arrays_digest(initial_parameters(draft))})


def seen(seed: int, count: int = 60, without: str = "") -> Dataset:
    """Return made-up rows with three labels: "fluid" by a, "nodule" by b, "scar" by neither; a tenth of the answers not known.

    Args:
        seed: of the rows.
        count: how many.
        without: the label that this hospital never looks for.
    """
    data, rng = rows(seed, count), np.random.default_rng(1000 + seed)
    a, b = np.nan_to_num(data.columns["a"]), data.columns["b"]
    columns = {name: data.columns[name] for name in ("a", "b", "sex")}
    for name, score in zip(LABELS, (a, b, np.zeros(count)), strict=True):
        label = (score + rng.normal(0, 0.5, count) > 0).astype(np.int32)
        label[rng.random(count) < 0.1] = -1
        columns[name] = np.full(count, -1, dtype=np.int32) if name == without else label
    return Dataset(columns, data.patient, data.role)
