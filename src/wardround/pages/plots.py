"""Draw bars and steps as inline SVG that grows with the page and takes its colours from the style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

WIDE, HIGH, LEFT, BELOW = 620.0, 200.0, 44.0, 26.0
_OPEN = Markup('<svg viewBox="0 0 {0:g} {1:g}" role="img" focusable="false"><title>{2}</title>')
_TEXT = Markup('<text x="{0:.1f}" y="{1:.1f}" text-anchor="{2}">{3}</text>')


def bars(labels: Sequence[str], counts: Sequence[int | None], says: str) -> Markup:
    """Return one bar a cell; a cell whose count is not told is a small grey mark.

    Args:
        labels: of the cells.
        counts: None where it is not told.
        says: the picture in words.
    """
    most = max((count for count in counts if count), default=1)
    room = (WIDE - LEFT) / max(len(counts), 1)
    body = [_frame(f"{most}")]
    for place, count in enumerate(counts):
        left, wide = LEFT + place * room + room * 0.08, room * 0.84
        high = HIGH * (count or 0) / most if count is not None else 4.0
        kind = "none" if count is None else "bar"
        tip = f"{labels[place]}: {'not told' if count is None else count}"
        rect = Markup('<rect class="{0}" x="{1:.1f}" y="{2:.1f}" width="{3:.1f}" height="{4:.1f}"><title>{5}</title></rect>')
        body.append(rect.format(kind, left, 10 + HIGH - high, wide, high, tip))
    every = max(1, -(-len(labels) // 6))
    for place in range(0, len(labels), every):
        body.append(_TEXT.format(LEFT + (place + 0.5) * room, 10 + HIGH + 18, "middle", labels[place]))
    return _closed(body, says)


def steps(curves: Mapping[str, Sequence[Mapping[str, Any]]], until: float, says: str) -> Markup:
    """Return survival curves as steps from 1 downwards.

    Args:
        curves: by group, points with `time` and `survival`.
        until: end of the axis of time.
        says: the picture in words.
    """
    body = [_frame("1")]
    for part in range(5):
        body.append(_TEXT.format(LEFT + (WIDE - LEFT) * part / 5, 10 + HIGH + 18, "middle", f"{until * part / 5:g}"))
    for number, (group, points) in enumerate(curves.items()):
        path, level = f"M{LEFT:.1f} 10", 1.0
        for one in points:
            if one["survival"] is None:
                continue
            across = LEFT + (WIDE - LEFT) * min(one["time"] / until, 1.0)
            path += f"H{across:.1f}V{10 + HIGH * (1 - one['survival']):.1f}"
            level = one["survival"]
        body.append(
            Markup('<path class="s{0}" d="{1}"><title>{2}</title></path>').format(number % 4, path, f"{group}: ends at {level:.3g}")
        )
        body.append(Markup('<path class="s{0}" d="M{1} {2}h26"/>').format(number % 4, WIDE - 150, 18 + 16 * number))
        body.append(_TEXT.format(WIDE - 118, 22 + 16 * number, "start", group))
    return _closed(body, says)


def _frame(top: str) -> Markup:
    lines = Markup('<path class="axis" d="M{0} 10V{1}H{2}"/>').format(LEFT, 10 + HIGH, WIDE)
    return lines + _TEXT.format(LEFT - 6, 16, "end", top) + _TEXT.format(LEFT - 6, 10 + HIGH, "end", "0")


def _closed(body: Sequence[Markup], says: str) -> Markup:
    return _OPEN.format(WIDE, 10 + HIGH + BELOW, says) + Markup("").join(body) + Markup("</svg>")
