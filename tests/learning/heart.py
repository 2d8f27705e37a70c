"""Read the four hospitals of the heart disease set as snapshots: 303, 293, 122 and 147 patients whose highest heart rate is known."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wardround.study.dataset import Dataset

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num")
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "age": {"type": "number", "unit": "a", "range": [20, 90]},
    "chol": {"type": "number", "unit": "mg/dL", "range": [50, 700], "missing": "mean"},
    "exang": {"type": "code", "codes": ["0", "1"]},
    "oldpeak": {"type": "number", "unit": "mm", "range": [-4, 8], "missing": "mean"},
    "sex": {"type": "code", "codes": ["0", "1"]},
    "thalach": {"type": "number", "unit": "/min", "range": [50, 220]},
    "trestbps": {"type": "number", "unit": "mm[Hg]", "range": [50, 240], "missing": "mean"},
}


def hospitals(folder: Path) -> dict[str, Dataset]:
    """Return a snapshot by hospital of the patients with sex, exang and thalach; parts 60/20/20 % at random."""
    return {name: _hospital(folder / f"processed.{name}.data", seed) for seed, name in enumerate(HOSPITALS)}


def _hospital(path: Path, seed: int) -> Dataset:
    with path.open() as file:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in csv.reader(file) if len(row) == len(COLUMNS)]
    rows = [row for row in rows if "?" not in (row["thalach"], row["exang"], row["sex"])]
    columns: dict[str, np.ndarray] = {}
    for name, field in FIELDS.items():
        unknown = ("?", "0") if name in ("chol", "trestbps") else ("?",)  # nobody lives with a cholesterol or a blood pressure of zero
        values = np.array([np.nan if row[name] in unknown else float(row[name]) for row in rows])
        columns[name] = values.astype(np.int32) if field["type"] == "code" else values
    role = np.repeat([0, 1, 2], [len(rows) - 2 * (len(rows) // 5), len(rows) // 5, len(rows) // 5]).astype(np.int8)
    return Dataset(columns, np.arange(len(rows)), np.random.default_rng(seed).permutation(role))
