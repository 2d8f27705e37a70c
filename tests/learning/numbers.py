"""Make up hospitals whose label is a number with a known law, and a study that learns it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support import plan
from wardround.learning.network import initial_parameters
from wardround.study.arrays import arrays_digest
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol


def numbers(seed: int, count: int = 80, family: str = "gaussian") -> Dataset:
    """Return made-up rows whose label is 20 + 4a - 2b + 3sex with noise, or a count whose logarithm is 1 + 0.5a - 0.2b a unit of beds."""
    rng = np.random.default_rng(seed)
    a, b, sex = np.clip(rng.normal(seed % 3 - 1, 1, count), -5, 5), np.clip(rng.normal(0, 1, count), -5, 5), rng.integers(0, 2, count)
    beds = rng.uniform(1, 4, count)
    y = np.clip(20 + 4 * a - 2 * b + 3 * sex + rng.normal(0, 2, count), 0, 50)
    if family == "poisson":
        y = rng.poisson(beds * np.exp(1 + 0.5 * a - 0.2 * b)).clip(0, 50).astype(np.float64)
    role = np.repeat([0, 1, 2], [count - 2 * (count // 5), count // 5, count // 5]).astype(np.int8)
    columns: dict[str, np.ndarray] = {"a": a, "b": b, "sex": sex.astype(np.int32), "beds": beds, "stay": y}
    return Dataset(columns, np.arange(count), rng.permutation(role))


def agreed(question: dict[str, Any] | None = None, **changes: Any) -> Protocol:
    number = {"type": "number", "unit": "1", "range": [-5, 5]}
    fields = {
        **{"a": number, "b": number, "sex": {"type": "code", "codes": ["f", "m"]}},
        "beds": {"type": "number", "unit": "1", "range": [1, 4], "input": False},
        "stay": {"type": "number", "unit": "d", "range": [0, 50]},
    }
    phases = [
        {"name": "moments", "kind": "moments"},
        {"name": "train", "kind": "fedavg", "rounds": 25, "learning_rate": 0.5, "local_steps": 1, "batch_size": 1000},
        {"name": "test", "kind": "evaluate"},
    ]
    tables: dict[str, Any] = {
        "question": {"kind": "regression", "title": "Stay", "purpose": "Test.", **(question or {})},
        "contract": {"label": "stay", "fields": fields},
        "phases": phases,
        "evaluation": {"metrics": ["rmse"], "replicates": 30},
        "stop": {"keep": "last"},
        **changes,
    }
    draft = Protocol.model_validate({**plan(**tables), "model": changes.get("model", {"kind": "linear"})}).complete()
    return draft.changed(initial={"model": arrays_digest(initial_parameters(draft))})


def sites(count: int = 3, family: str = "gaussian") -> dict[str, Dataset]:
    return {f"s{number}": numbers(number, 80 + 20 * number, family) for number in range(count)}
