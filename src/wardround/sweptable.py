"""Hold what a sweep came to, as figures and as a page: every method's model beside what it is compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wardround.comparing import ALL, COMPARATORS, OWN, Run, differences, figures, judged, same_patients
from wardround.pages.sweep import as_html, as_markdown, as_text
from wardround.replicates import models_of
from wardround.study.errors import ProtocolError
from wardround.study.findings import nearest
from wardround.study.protocol import Protocol


@dataclass(frozen=True)
class Table:
    """Hold what a sweep came to; shows itself as text, as Markdown, as JSON and in a notebook.

    Attributes:
        found: figures by method and model, of the comparators, and what failed; as JSON values.
        folder: holds `table.json`, `table.md` and every run.
    """

    found: Mapping[str, Any] = field(repr=False)
    folder: Path

    def value(self, method: str, metric: str, place: str = ALL, against: str = "") -> Mapping[str, Any]:
        """Return one figure: "value", "low", "high", "seeds", "patients" and "n".

        Args:
            method: a row's name.
            metric: such as "auroc".
            place: "all patients", "mean of sites" or a site.
            against: a comparator, for the paired difference to it.

        Raises:
            ProtocolError: there is no such figure.
        """
        table: Any = self.found["rows"]
        keys = (method, "against", against, place, metric) if against else (method, "figures", place, metric)
        for key in keys:
            if key not in table:
                raise ProtocolError(f"The table has no {key!r} here.", nearest(str(key), [str(one) for one in table]))
            table = table[key]
        figure: Mapping[str, Any] = table
        return figure

    def text(self, width: int = 140) -> str:
        """Return the table for a terminal."""
        return as_text(self.found, width)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        return as_markdown(self.found)

    def json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(self.found, indent=1, allow_nan=False) + "\n"

    def _repr_html_(self) -> str:
        return as_html(self.found)

    def __str__(self) -> str:
        return self.text()


def tabled(protocol: Protocol, plans: Mapping[str, Protocol], runs: Mapping[str, Sequence[Run]], first: str) -> dict[str, Any]:
    """Return the figures of a sweep.

    Args:
        protocol: the study's.
        plans: each method's own.
        runs: by method, one a seed; none where all failed.
        first: the method whose runs hold what all are compared with.
    """
    base = {run.seed: run for run in runs[first]}
    rows: dict[str, Any] = {}
    for method, own in runs.items():
        pairs = [(run, base[run.seed]) for run in own]
        for model in (one for one in OWN if pairs and all(one in models_of(run.kept) for run in own)):
            rows[method if model == OWN[0] else f"{method}, {model}"] = _row(plans[method], pairs, method, model)
    there = [name for name in COMPARATORS if all(name in models_of(run.kept) for run in base.values())]
    return {
        "study": protocol.study,
        "primary": protocol.primary,
        "direction": protocol.direction,
        "margin": protocol.evaluation.margin,
        "metrics": list(protocol.evaluation.metrics),
        "synthetic": any(run.result.get("synthetic", False) for own in runs.values() for run in own),
        "baselines": first,
        "rows": rows,
        "comparators": {name: figures(list(base.values()), name) for name in there},
    }


def _row(protocol: Protocol, pairs: Sequence[tuple[Run, Run]], method: str, model: str) -> dict[str, Any]:
    """Return one row: a method's model, its figures, paired differences, verdicts and costs."""
    runs = [run for run, _ in pairs]
    paired = all(same_patients(pair) for pair in pairs)
    others = [name for name in COMPARATORS if paired and all(name in models_of(base.kept) for _, base in pairs)]
    history = [run.result["history"] for run in runs]
    return {
        "method": method,
        "model": model,
        "protocols": [run.result["protocol_digest"] for run in runs],
        "seeds": [run.seed for run in runs],
        "figures": figures(runs, model),
        "paired": paired,
        "against": {other: differences(pairs, model, other) for other in others},
        "verdicts": judged(protocol, pairs, model) if "local" in others else {},
        "rounds": [int(run.result["rounds"]) for run in runs],
        "bytes_up": [sum(int(row["bytes_up"]) for row in rows) for rows in history],
        "bytes_down": [sum(int(row["bytes_down"]) for row in rows) for rows in history],
        "seconds": [float(run.result["seconds"]["this_run"]) for run in runs],
    }
