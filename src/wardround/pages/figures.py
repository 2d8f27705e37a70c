"""Read the figures of a result: a value with its interval, wherever it stands and whether or not it exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from wardround.pages.words import number

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """Hold a value and the bounds of its interval; each is None where it is not defined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def bounded(self) -> bool:
        """Say whether both ends of the interval exist."""
        return self.low is not None and self.high is not None

    def interval(self, signed: bool = False) -> str:
        """Return the interval as text, "0.912 to 0.944", or nothing."""
        return f"{number(self.low, signed=signed)} to {number(self.high, signed=signed)}" if self.bounded else ""

    def text(self, signed: bool = False) -> str:
        """Return value and interval as one text."""
        value = number(self.value, signed=signed)
        return f"{value} ({self.interval(signed)})" if self.value is not None and self.bounded else value


NOTHING = Figure()


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None


def figure(cell: Any) -> Figure:
    """Return the figure in a cell of a result, such as `{"value": 0.93, "low": 0.91, "high": null}`."""
    if not isinstance(cell, Mapping):
        return Figure(_number(cell))
    return Figure(_number(cell.get("value")), _number(cell.get("low")), _number(cell.get("high")))


def primary(result: Result) -> str:
    """Return the name of the primary metric: as stated, else the first that the federated model has, else nothing."""
    everywhere = _part(result, "metrics", "federated", "all")
    return str(result.get("primary") or next(iter(everywhere), ""))


def level(result: Result, model: str, metric: str, site: str | None = None) -> Figure:
    """Return a metric of a model, at one site or over all."""
    return figure(_where(_part(result, "metrics", model), site).get(metric))


def difference(result: Result, other: str, metric: str, site: str | None = None) -> Figure:
    """Return federated minus another model, paired by patient, at one site or over all."""
    return figure(_where(_part(result, "paired", other), site).get(metric))


def models(result: Result) -> tuple[str, ...]:
    """Return the names of the models that the result has metrics of, as they stand there."""
    return tuple(_part(result, "metrics"))


def _where(model: Mapping[str, Any], site: str | None) -> Mapping[str, Any]:
    return _part(model, "all") if site is None else _part(model, "sites", site)


def _part(whole: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the table at a path, an empty one when it is not there."""
    found: Any = whole
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
