"""Draw how a model's probabilities agree with what happened, and what acting on them is worth: two small squares of inline SVG.

Both are drawn on their own small canvas, so that their letters can still be read on a phone, where one stands below the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from wardround.pages.scale import round_step
from wardround.pages.words import number

WIDE, HIGH, LEFT, TOP, BELOW = 420.0, 330.0, 46.0, 12.0, 40.0
_OPEN = Markup('<svg viewBox="0 0 {0:g} {1:g}" role="img" focusable="false"><title>{2}</title>')
_TEXT = Markup('<text x="{0:.1f}" y="{1:.1f}" text-anchor="{2}">{3}</text>')


def calibration(groups: Sequence[Mapping[str, Any]], says: str) -> Markup:
    """Return the share that had the outcome beside the predicted probability: a point for each group, with its interval if it has one.

    Args:
        groups: with `predicted`, `observed`, `low` and `high`; None where nobody is in it.
        says: the picture in words.
    """
    body = [_axes("predicted probability", "observed share", (0.0, 1.0))]
    body.append(Markup('<path class="even" d="M{0:.1f} {1:.1f}L{2:.1f} {3:.1f}"/>').format(*_at(0, 0), *_at(1, 1)))
    points = [one for one in groups if one["predicted"] is not None]
    path = "".join(
        f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(_at(one["predicted"], one["observed"]) for one in points)
    )
    body.append(Markup('<path class="s0" d="{0}"/>').format(path))
    for one in points:
        x, y = _at(one["predicted"], one["observed"])
        if one["low"] is not None:
            bounds = (_at(0, one["high"])[1], _at(0, one["low"])[1])
            body.append(Markup('<path class="span" d="M{0:.1f} {1:.1f}V{2:.1f}"/>').format(x, *bounds))
        tip = f"predicted {one['predicted']:.2f}, observed {one['observed']:.2f}"
        body.append(Markup('<circle class="spot" cx="{0:.1f}" cy="{1:.1f}" r="4.6"><title>{2}</title></circle>').format(x, y, tip))
    return _closed(body, says)


def benefit(points: Sequence[Mapping[str, Any]], says: str) -> Markup:
    """Return net benefit by threshold: of treating by the model, of treating everybody, and of treating nobody, which is 0.

    Args:
        points: with `threshold`, `model` and `treat_all`.
        says: the picture in words.
    """
    top = max([0.04, *(value for one in points for value in (one["model"]["value"] or 0.0, one["treat_all"]))])
    step = round_step(top / 4)
    span = (-step, 4 * step)
    body = [_axes("threshold probability", "net benefit", span)]
    lines = (
        ("s1", "treat all", _above([(one["threshold"], one["treat_all"]) for one in points], span[0])),
        ("s3", "treat none", [(0.0, 0.0), (1.0, 0.0)]),
        (
            "s0",
            "by the model",
            _above([(one["threshold"], one["model"]["value"]) for one in points if one["model"]["value"] is not None], span[0]),
        ),
    )
    for place, (kind, name, values) in enumerate(lines):  # a line that begins below the floor has no points
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (_at(*value, span) for value in values))
        body.append(Markup('<path class="{0}" d="{1}"><title>{2}</title></path>').format(kind, path and f"M{path}", name))
        if kind != "s3":
            body += [
                Markup('<circle class="spot {2}" cx="{0:.1f}" cy="{1:.1f}" r="3"/>').format(*_at(*value, span), kind) for value in values
            ]
        y = TOP + 12 + 17 * place
        body.append(
            Markup('<path class="{0}" d="M{1:g} {2:g}h26"/>').format(kind, WIDE - 118, y - 4) + _TEXT.format(WIDE - 86, y, "start", name)
        )
    return _closed(body, says)


def _above(values: Sequence[tuple[float, float]], floor: float) -> list[tuple[float, float]]:
    """Return the points of a line up to where it first falls below the picture's floor, with the point where it does."""
    found: list[tuple[float, float]] = []
    for x, y in values:
        if y < floor:
            if found:
                (left, high) = found[-1]
                found.append((left + (x - left) * (high - floor) / (high - y), floor))
            break
        found.append((x, y))
    return found


def _at(x: float, y: float, span: tuple[float, float] = (0.0, 1.0)) -> tuple[float, float]:
    """Return where a point stands on the canvas."""
    share = (y - span[0]) / (span[1] - span[0])
    return LEFT + (WIDE - LEFT - 8) * x, TOP + HIGH * (1 - share)


def _axes(across: str, up: str, span: tuple[float, float]) -> Markup:
    """Return the axes with six marks each, and what they are."""
    right, bottom = WIDE - 8, TOP + HIGH
    parts = [Markup('<path class="axis" d="M{0:g} {1:g}V{2:g}H{3:g}"/>').format(LEFT, TOP, bottom, right)]
    for mark in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, _ = _at(mark, 0)
        value = span[0] + mark * (span[1] - span[0])
        _, y = _at(0, value, span)
        parts.append(_TEXT.format(x, bottom + 17, "middle", f"{mark:g}"))
        parts.append(_TEXT.format(LEFT - 6, y + 4, "end", number(value, 2 if span == (0.0, 1.0) or span[1] >= 0.2 else 3)))
        parts.append(Markup('<path class="grid" d="M{0:g} {1:.1f}H{2:g}"/>').format(LEFT, y, right))
    parts.append(_TEXT.format((LEFT + right) / 2, bottom + 35, "middle", across))
    parts.append(Markup('<text transform="translate(11 {0:g}) rotate(-90)" text-anchor="middle">{1}</text>').format(TOP + HIGH / 2, up))
    return Markup("").join(parts)


def _closed(body: Sequence[Markup], says: str) -> Markup:
    return _OPEN.format(WIDE, TOP + HIGH + BELOW, says) + Markup("").join(body) + Markup("</svg>")
