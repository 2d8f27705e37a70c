"""Show how well predicted numbers hold: the prediction interval with its coverage by site, and predicted against observed values in groups.

Both come from sums; no point of a picture is a patient. A study that predicts no number has neither part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from wardround.pages import charts
from wardround.pages.figures import Figure, Result, figure, judged, only_totals
from wardround.pages.scale import Scale, levels, padded
from wardround.pages.sections import TOO_FEW, Plot, Row
from wardround.pages.suppress import few_in_all, few_tested
from wardround.pages.words import GAP, metric, number


def named(result: Result, name: str) -> str:
    """Return a metric's name as people write it, with its unit where it has one."""
    unit = (result.get("units") or {}).get(name)
    return f"{metric(name)} ({unit})" if unit else metric(name)


@dataclass(frozen=True)
class Interval:
    """Hold the prediction interval.

    Attributes:
        share: of patients that it is to hold, in percent.
        reach: how far it reaches, in words; "" where validation patients were too few to choose it.
        bound: whether it has an upper end alone.
        plot: its coverage over all and by site.
    """

    share: str
    reach: str
    bound: bool
    plot: Plot | None


def interval(result: Result) -> Interval | None:
    """Return the prediction interval of a result, or None where no number is predicted."""
    told = result.get("interval")
    if not isinstance(told, Mapping):
        return None
    share, bound = float(told["share"]), "bound" in told
    reach = figure(told.get("bound" if bound else "half_width")).value
    if reach is None:
        return Interval(percent(share), "", bound, None)
    size = f"{number(abs(reach))}{GAP}{told['unit']}".strip()
    sign = ("plus" if reach >= 0 else "minus") if bound else "plus or minus"
    return Interval(percent(share), f"the prediction {sign} {size}", bound, _coverage(result, told, share))


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.3g}{GAP}%"


def _coverage(result: Result, told: Mapping[str, Any], share: float) -> Plot | None:
    sites = result.get("sites") or {}
    by_site = {} if only_totals(result) else {name: told["sites"][name] for name in judged(result) if name in (told.get("sites") or {})}
    shown = {name: Figure() if few_tested(sites.get(name) or {}) else figure(cell) for name, cell in by_site.items()}
    overall = Figure() if few_in_all(sites) else figure(told.get("coverage"))
    if overall.value is None:
        return None
    across = levels([*shown.values(), overall, Figure(share)], 1)
    rows = tuple(_row(across, name, one, share) for name, one in shown.items())
    return Plot(charts.axis(across), rows, _row(across, "All", overall, share, "all"))


def _row(across: Scale, name: str, one: Figure, share: float, mark: str = "level") -> Row:
    text = TOO_FEW if one.value is None else one.text()
    return Row(name, charts.interval_row(across, one, mark, f"{name}: {text} of the test patients lie within", at=share), text)


@dataclass(frozen=True)
class Calibration:
    """Hold predicted against observed values in groups: the picture, and its numbers as rows of text."""

    picture: Markup
    rows: tuple[tuple[str, str, str], ...]


def calibration(result: Result) -> Calibration | None:
    """Return mean prediction against mean label by group, or None where the result has none."""
    groups = [one for one in result.get("calibration") or () if isinstance(one, Mapping)]
    if not groups or few_in_all(result.get("sites") or {}):
        return None
    points = [(float(one["predicted"]), float(one["observed"])) for one in groups]
    low, high = padded([value for point in points for value in point], least=1e-9)
    across, up = Scale(low, high), Scale(high, low)
    says = "; ".join(f"predicted {number(x, 2)}, observed {number(y, 2)}" for x, y in points)
    line = '<line class="target" x1="0" y1="100%" x2="100%" y2="0"/>'
    dot = Markup('<circle class="dot" cx="{0:.2f}%" cy="{1:.2f}%" r="4.6"><title>{2}</title></circle>')
    dots = [dot.format(across.at(x), up.at(y), f"predicted {number(x, 2)}, observed {number(y, 2)}") for x, y in points]
    body = Markup("").join([_axes(across, up), Markup(line), *dots])
    picture = Markup('<svg class="curve" role="img" focusable="false"><title>{0}</title>{1}</svg>').format(says, body)
    rows = tuple((number(x, 2), number(y, 2), str(one["patients"])) for (x, y), one in zip(points, groups, strict=True))
    return Calibration(picture, rows)


def _axes(across: Scale, up: Scale) -> Markup:
    parts = []
    for tick in up.ticks(4):
        y = up.at(tick)
        parts.append(Markup('<line class="grid" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>').format(y))
        parts.append(Markup('<text x="0" y="{0:.2f}%" dx="-9" dy="4" text-anchor="end">{1}</text>').format(y, number(tick, up.places())))
    for tick in across.ticks(6):
        label = number(tick, across.places())
        parts.append(Markup('<text x="{0:.2f}%" y="100%" dy="19" text-anchor="middle">{1}</text>').format(across.at(tick), label))
    parts.append(Markup('<line class="base" x1="0" x2="100%" y1="100%" y2="100%"/>'))
    return Markup("").join(parts)
