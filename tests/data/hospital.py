"""A hospital on paper for the tests of the loader: a small contract, a table that meets it, and files made of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wardround.data.site_file import SiteFile, load_site
from wardround.study.protocol import Protocol

FIELDS: dict[str, Any] = {
    "age": {"type": "number", "unit": "a", "range": [0, 120]},
    "chol": {"type": "number", "unit": "mg/dL", "range": [50, 700], "missing": "mean"},
    "sex": {"type": "code", "codes": ["female", "male"]},
    "ill": {"type": "code", "codes": [0, 1]},
}

Rows = dict[str, list[Any]]


def protocol(contract: Mapping[str, Any] | None = None, fields: Mapping[str, Any] | None = None, **tables: Any) -> Protocol:
    """Return a protocol with this contract; none of its plugins is looked up."""
    return Protocol.model_validate(
        {
            "study": "paper",
            "question": {"kind": "binary", "title": "t", "purpose": "p"},
            "parties": {"coordinator": "c"},
            "contract": {"label": "ill", "fields": {**FIELDS, **(fields or {})}, **(contract or {})},
            "model": {"kind": "logistic"},
            "phases": [{"name": "train", "kind": "fedavg"}],
            "bounds": {"sites": 4, "examples": 100_000},
            "rounds": {"quorum": 1},
            "evaluation": {"metrics": ["auroc"]},
            **tables,
        }
    )


def rows(count: int = 300, seed: int = 0) -> Rows:
    """Return columns that meet the contract, one row a patient."""
    rng = np.random.default_rng(seed)
    return {
        "patient": [f"MRN{number:05d}" for number in range(count)],
        "age": [str(value) for value in rng.integers(20, 90, count)],
        "chol": [str(value) for value in rng.integers(120, 400, count)],
        "sex": [("female", "male")[value] for value in rng.integers(0, 2, count)],
        "ill": [str(value) for value in rng.integers(0, 2, count)],
    }


def csv(columns: Rows, separator: str = ",") -> str:
    """Return columns as a CSV text."""
    lines = [separator.join(columns), *(separator.join(str(cell) for cell in row) for row in zip(*columns.values(), strict=True))]
    return "\n".join(lines) + "\n"


def site(folder: Path, text: str | bytes, source: Sequence[str] = (), rest: str = "", suffix: str = ".csv") -> SiteFile:
    """Write a table and its site file, and load the latter."""
    (folder / f"rows{suffix}").write_bytes(text.encode() if isinstance(text, str) else text)
    lines = ['name = "north"', "[source]", 'kind = "table"', f'path = "rows{suffix}"', *source, rest]
    (folder / "site.toml").write_text("\n".join(lines), encoding="utf-8")
    return load_site(folder / "site.toml")
