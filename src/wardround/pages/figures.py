"""Read the figures of a result: a value with its interval, wherever it stands and whether or not it exists.

What stands on fewer than ten test patients is read as nothing. Differences are read so that rounding does not make a page contradict
itself: the difference shown is that of the two values shown and lies within the interval shown, and an interval that clears zero or the
margin still does so. Where three decimal places are too few for that, all figures of the primary metric get four.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from wardround.pages.suppress import few_in_all, few_tested
from wardround.pages.words import number

Result = Mapping[str, Any]

PLACES, FINER = 3, 4
SAME = 1e-9
PARTS = {"federated": "paired", "personalised": "paired_personalised"}
"""By model: the part of a result that holds its differences to others."""


@dataclass(frozen=True)
class Figure:
    """Hold a value and the bounds of its interval; each is None where it is not defined.

    Attributes:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
        places: decimal places to show.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    places: int = PLACES

    @property
    def bounded(self) -> bool:
        """Say whether both ends of the interval exist."""
        return self.low is not None and self.high is not None

    def interval(self, signed: bool = False) -> str:
        """Return the interval as text, "0.912 to 0.944", or nothing."""
        return f"{number(self.low, self.places, signed)} to {number(self.high, self.places, signed)}" if self.bounded else ""

    def text(self, signed: bool = False) -> str:
        """Return value and interval as one text."""
        value = number(self.value, self.places, signed)
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


def better(result: Result, metric: str) -> int:
    """Return +1 when a larger value of this metric is better, -1 when the result says that a smaller one is."""
    return -1 if metric in (result.get("lower_is_better") or ()) else 1


def level(result: Result, model: str, metric: str, site: str | None = None) -> Figure:
    """Return a metric of a model, at one site or over all; nothing where it stands on fewer than ten test patients."""
    return replace(_level(result, model, metric, site), places=decimals(result, metric))


def difference(result: Result, other: str, metric: str, site: str | None = None) -> Figure:
    """Return federated minus another model, paired by patient, at one site or over all; nothing where it stands on fewer than ten."""
    return _paired(result, other, metric, site).rounded(decimals(result, metric))


def used(result: Result) -> str:
    """Return the model that verdicts are about, which a hospital will use: "federated", or "personalised" where the study made it."""
    return "personalised" if result.get("verdict_of") == "personalised" else "federated"


def gain(result: Result, metric: str, site: str | None = None) -> Figure:
    """Return the model that a hospital will use minus its own, paired by patient; nothing where it stands on fewer than ten."""
    return _paired(result, "local", metric, site, used(result)).rounded(decimals(result, metric))


def only_totals(result: Result) -> bool:
    """Say whether the result holds no single hospital's figures under its name: they stay with it, and this is not its copy."""
    return result.get("site_results") in ("own", "blinded") and "reader" not in result


def judged(result: Result) -> list[str]:
    """Return the sites on which a result gives figures or a verdict by name: all, or in a hospital's own copy that one."""
    sites = list(result.get("sites") or result.get("verdicts") or ())
    return [result["reader"]] if "reader" in result and result.get("site_results") != "open" else sites


def models(result: Result) -> tuple[str, ...]:
    """Return the names of the models that the result has metrics of, as they stand there."""
    return tuple(_part(result, "metrics"))


def decimals(result: Result, metric: str) -> int:
    """Return how many decimal places a metric's figures get: three; four for the primary one where a difference is too fine for three."""
    if metric != primary(result):
        return PLACES
    lines = (0.0, -better(result, metric) * (_number(result.get("margin")) or 0.0))
    overall = [_paired(result, other, metric, None) for other in _part(result, "paired")]
    first = used(result)
    overall.append(_paired(result, "local", metric, None, first))
    by_site = [_paired(result, "local", metric, site, first) for site in _part(result, PARTS[first], "local", "sites")]
    return PLACES if all(pair.legible(PLACES, lines) for pair in (*overall, *by_site)) else FINER


@dataclass(frozen=True)
class _Paired:
    """Hold a difference beside the two values that it is of."""

    one: float | None
    other: float | None
    gap: Figure

    def rounded(self, places: int) -> Figure:
        """Return the difference of the two values as shown; one that is over other patients than they are stays as it is."""
        gap = replace(self.gap, places=places)
        if gap.value is None or self.one is None or self.other is None or abs(gap.value - (self.one - self.other)) > SAME:
            return gap
        return replace(gap, value=round(round(self.one, places) - round(self.other, places), places))

    def legible(self, places: int, lines: tuple[float, ...]) -> bool:
        """Say whether the rounded difference lies within its rounded interval, whose ends stay on the side of each line where they are."""
        gap, shown = self.gap, self.rounded(places).value
        if gap.value is None or shown is None or gap.low is None or gap.high is None:
            return True
        within = round(gap.low, places) <= shown <= round(gap.high, places) or not gap.low <= gap.value <= gap.high
        return within and all(_apart(end, line, places) for end in (gap.low, gap.high) for line in lines)


def _paired(result: Result, other: str, metric: str, site: str | None, first: str = "federated") -> _Paired:
    gap = NOTHING if _few(result, site) else figure(_where(_part(result, PARTS[first], other), site).get(metric))
    return _Paired(_level(result, first, metric, site).value, _level(result, other, metric, site).value, gap)


def _level(result: Result, model: str, metric: str, site: str | None) -> Figure:
    return NOTHING if _few(result, site) else figure(_where(_part(result, "metrics", model), site).get(metric))


def _apart(end: float, line: float, places: int) -> bool:
    return abs(end - line) < SAME or round(end, places) != round(line, places)


def _few(result: Result, site: str | None) -> bool:
    sites = _part(result, "sites")
    return few_in_all(sites) if site is None else few_tested(_part(sites, site))


def _where(model: Mapping[str, Any], site: str | None) -> Mapping[str, Any]:
    return _part(model, "all") if site is None else _part(model, "sites", site)


def _part(whole: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the table at a path, an empty one when it is not there."""
    found: Any = whole
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
