"""Draw the learning curve: the validation metric of the model that the sites received, round by round, and which round was kept.

Where settings were tuned, every setting that was tried is a thin line behind the one that was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from wardround.pages.figures import Result, better, figure, primary
from wardround.pages.scale import Scale, padded
from wardround.pages.words import in_sentence, metric, number

MOST_DOTS = 60
UNITS = 1000


@dataclass(frozen=True)
class Curve:
    """Hold one phase's values by round.

    Attributes:
        phase: its name.
        points: round and value, in order of rounds.
    """

    phase: str
    points: tuple[tuple[int, float], ...]

    def best(self, sign: int) -> tuple[int, float]:
        """Return the first point that no other one beats."""
        return max(self.points, key=lambda point: (sign * point[1], -point[0]))


@dataclass(frozen=True)
class Learning:
    """Hold what the picture shows.

    Attributes:
        metric: name of the metric.
        curve: of the setting that was kept.
        others: of settings that were tried and not kept.
        kept: the point whose model was kept.
        target: value at which training was to end, if any.
    """

    metric: str
    curve: Curve
    others: tuple[Curve, ...]
    kept: tuple[int, float]
    target: float | None = None


def learning(result: Result, protocol: Mapping[str, Any]) -> Learning | None:
    """Return the learning curve of the last training phase, or None when no round has a value.

    A phase "train" that tunes is carried out as "train.0", "train.1" and so on; these are read as one, and the best kept round
    decides, as in training itself.
    """
    name, last = primary(result), (protocol.get("stop") or {}).get("keep") == "last"
    sign = better(result, name)
    phases: dict[str, list[tuple[int, float]]] = {}
    marked: dict[str, tuple[int, float]] = {}
    for row in result.get("history") or []:
        value = figure(row.get(name)).value
        if value is not None:
            point = int(row.get("round", 0)), value
            phases.setdefault(str(row.get("phase")), []).append(point)
            if row.get("kept"):
                marked[str(row.get("phase"))] = point
    curves = [Curve(phase, tuple(sorted(points))) for phase, points in phases.items()]
    if not curves:
        return None
    most = max(len(curve.points) for curve in curves)
    base = [curve for curve in curves if most == 1 or len(curve.points) > 1][-1].phase.split(".")[0]
    tried = [curve for curve in curves if curve.phase.split(".")[0] == base]
    kept = {one.phase: marked.get(one.phase) or (one.points[-1] if last else one.best(sign)) for one in tried}
    main = max(tried, key=lambda curve: sign * kept[curve.phase][1])
    others = tuple(curve for curve in tried if curve is not main)
    return Learning(name, main, others, kept[main.phase], figure((protocol.get("stop") or {}).get("target")).value)


def says(found: Learning) -> str:
    """Return the curve in words."""
    first, last = found.curve.points[0], found.curve.points[-1]
    return (
        f"{metric(found.metric)} on validation patients by round: {number(first[1])} in round {first[0]}, "
        f"{number(found.kept[1])} in round {found.kept[0]}, which was kept, and {number(last[1])} in round {last[0]}, the last."
    )


def kept(found: Learning | None, refit: bool) -> str:
    """Return in a few words which round's model was kept, or nothing when no round was judged.

    Args:
        found: the learning curve.
        refit: whether the model was then trained again, as many rounds, on training and validation patients.
    """
    if found is None:
        return ""
    if found.kept[0] == 0:
        return "initial model kept"
    return "as validation chose, then trained anew" if refit else f"round {found.kept[0]} kept"


def picture(found: Learning, titled: str) -> Markup:
    """Return the learning curve as inline SVG.

    Args:
        found: what it shows.
        titled: title of the picture.
    """
    everything = [value for curve in (found.curve, *found.others) for _, value in curve.points]
    values = [*everything, *([] if found.target is None else [found.target])]
    low, high = padded(values, least=0.02)
    rounds = [number_ for curve in (found.curve, *found.others) for number_, _ in curve.points]
    across, up = Scale(min(rounds) - 0.001, max(max(rounds), min(rounds) + 1)), Scale(high, low)
    parts = [_axes(across, up), *(_line(one, across, up, "tried") for one in found.others), _target(found, up)]
    parts += [_line(found.curve, across, up, "learning"), _dots(found.curve, across, up), _kept(found, across, up)]
    return Markup(
        '<svg class="curve" role="img" focusable="false" aria-labelledby="curve-title curve-desc">'
        '<title id="curve-title">{0}</title><desc id="curve-desc">{1}</desc>{2}</svg>'
    ).format(titled, says(found), Markup("").join(parts))


def _axes(across: Scale, up: Scale) -> Markup:
    parts = []
    for tick in up.ticks(4):
        y, label = up.at(tick), number(tick, up.places())
        parts.append(Markup('<line class="grid" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>').format(y))
        parts.append(Markup('<text x="0" y="{0:.2f}%" dx="-9" dy="4" text-anchor="end">{1}</text>').format(y, label))
    for tick in across.ticks(8):
        if tick == int(tick):
            parts.append(Markup('<text x="{0:.2f}%" y="100%" dy="19" text-anchor="middle">{1}</text>').format(across.at(tick), int(tick)))
    parts.append(Markup('<line class="base" x1="0" x2="100%" y1="100%" y2="100%"/>'))
    return Markup("").join(parts)


def _line(curve: Curve, across: Scale, up: Scale, kind: str) -> Markup:
    points = " ".join(f"{across.at(round_) * UNITS / 100:.1f},{up.at(value) * UNITS / 100:.1f}" for round_, value in curve.points)
    return Markup(
        '<svg width="100%" height="100%" viewBox="0 0 {0} {0}" preserveAspectRatio="none"><polyline class="{1}" points="{2}"/></svg>'
    ).format(UNITS, kind, points)


def _dots(curve: Curve, across: Scale, up: Scale) -> Markup:
    points: Sequence[tuple[int, float]] = curve.points if len(curve.points) <= MOST_DOTS else ()
    dot = Markup('<circle class="dot" cx="{0:.2f}%" cy="{1:.2f}%" r="2.6"/>')
    return Markup("").join(dot.format(across.at(round_), up.at(value)) for round_, value in points)


def _target(found: Learning, up: Scale) -> Markup:
    if found.target is None:
        return Markup("")
    return Markup(
        '<line class="target" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/><text x="0" y="{0:.2f}%" dx="4" dy="-5">target {1}</text>'
    ).format(up.at(found.target), number(found.target))


def _kept(found: Learning, across: Scale, up: Scale) -> Markup:
    x, y = across.at(found.kept[0]), up.at(found.kept[1])
    anchor, shift = ("end", -8) if x > 60 else ("start", 8)
    edge, drop = (0, 11) if y > 60 else (100, -10)
    middle = " middle" if 30 < x < 70 else ""  # on a phone it would not fit beside the line; the style sheet centres it
    label = f"kept: round {found.kept[0]}, {in_sentence(found.metric)} {number(found.kept[1])}"
    return Markup(
        '<line class="kept" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1:.2f}%" y2="{2}%"/><circle class="ring" cx="{0:.2f}%" cy="{1:.2f}%" r="6.5"/>'
        '<text class="label{7}" x="{0:.2f}%" y="{2}%" dx="{3}" dy="{4}" text-anchor="{5}">{6}</text>'
    ).format(x, y, edge, shift, drop, anchor, label, middle)
