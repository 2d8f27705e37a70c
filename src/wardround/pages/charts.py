"""Draw the report's pictures as inline SVG that needs no script, no picture file and no fixed width.

Every horizontal place is a percentage and every mark a small nested drawing, so lines, markers and letters keep their size while the plot
takes whatever width a screen, a phone or a sheet of paper gives it. Colours come from the page's style sheet by class; shape and word carry
the same meaning, so colour is never alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from markupsafe import Markup

from wardround.pages.figures import Figure
from wardround.pages.scale import Scale
from wardround.pages.words import number

SHAPES: Mapping[str, Markup] = MappingProxyType(
    {
        "gains": Markup('<path d="M0-6.2 6 4.6H-6Z"/>'),
        "no_worse": Markup('<circle r="5"/>'),
        "loses": Markup('<path d="M0 6.2 6-4.6H-6Z"/>'),
        "cannot_say": Markup('<path class="open" d="M0-5.6 5.6 0 0 5.6-5.6 0Z"/>'),
        "all": Markup('<path d="M0-6.5 8.5 0 0 6.5-8.5 0Z"/>'),
        "level": Markup('<circle r="4.6"/>'),
    }
)
"""Shape of each mark, around its own middle."""


def marker(mark: str) -> Markup:
    """Return a mark by itself, to stand beside its word."""
    size = Markup('viewBox="-9 -9 18 18" width="18" height="18"')
    return Markup('<svg class="key m-{0}" {1} aria-hidden="true" focusable="false">{2}</svg>').format(mark, size, SHAPES[mark])


def interval_row(scale: Scale, shown: Figure, mark: str, says: str, margin: float | None = None, at: float | None = None) -> Markup:
    """Return one row of a forest plot: grid, margin band, zero line, interval and mark.

    Args:
        scale: of the whole plot.
        shown: value and interval; a value without interval is a mark alone, no value an empty row.
        mark: name of a shape.
        says: the row in words, for screen readers and as a tip.
        margin: signed loss that still counts as no worse, or None for a plot of levels without zero line and band.
        at: a level that is to be reached, which gets a line; None for none.
    """
    parts = [_ground(scale, margin)]
    if at is not None:
        parts.append(Markup('<line class="zero" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>').format(scale.at(at)))
    if shown.low is not None and shown.high is not None:
        parts += _whisker(scale, shown.low, shown.high)
    if shown.value is not None:
        place, beyond = scale.clipped(shown.value)
        if beyond == 0:
            parts.append(Markup('<svg x="{0:.2f}%" y="50%" class="mark">{1}</svg>').format(place, SHAPES[mark]))
    body = Markup("").join(parts)
    return Markup('<svg class="plot m-{0}" role="img" focusable="false"><title>{1}</title>{2}</svg>').format(mark, says, body)


def _ground(scale: Scale, margin: float | None) -> Markup:
    parts = [Markup('<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>').format(scale.at(tick)) for tick in scale.ticks()]
    if margin is not None:
        start, zero = sorted((scale.at(margin), scale.at(0.0)))
        if zero > start:
            parts.insert(0, Markup('<rect class="band" x="{0:.2f}%" width="{1:.2f}%" y="0" height="100%"/>').format(start, zero - start))
        parts.append(Markup('<line class="zero" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>').format(scale.at(0.0)))
    return Markup("").join(parts)


def _whisker(scale: Scale, low: float, high: float) -> list[Markup]:
    ends = sorted(scale.clipped(end) for end in (low, high))
    (left, _), (right, _) = ends
    parts = [Markup('<line class="whisker" x1="{0:.2f}%" x2="{1:.2f}%" y1="50%" y2="50%"/>').format(left, right)]
    for place, beyond in ends:
        arrow = Markup('<path class="arrow" d="M{0} 0 {1}-5V5Z"/>').format(beyond, -7 * beyond)
        cap = arrow if beyond else Markup('<path class="whisker" d="M0-4V4"/>')
        parts.append(Markup('<svg x="{0:.2f}%" y="50%" class="mark">{1}</svg>').format(place, cap))
    return parts


def axis(scale: Scale, signed: bool = False) -> Markup:
    """Return the tick labels of a plot, to stand over its rows; each is centred on its line, also at the edges."""
    labels = [
        Markup('<text x="{0:.2f}%" y="100%" dy="-5" text-anchor="middle">{1}</text>').format(
            scale.at(tick), number(tick, scale.places(), signed)
        )
        for tick in scale.ticks()
    ]
    return Markup('<svg class="plot" aria-hidden="true" focusable="false">{0}</svg>').format(Markup("").join(labels))


def two_bars(left: int, stayed: int | None, most: int, says: str) -> Markup:
    """Return two thin bars on one scale: what left a site, and what stayed there; one in the middle where only that is known.

    Args:
        left: bytes sent.
        stayed: bytes of the snapshot, or None when that is not known.
        most: bytes that fill the width.
        says: both in words.
    """
    bar = Markup('<rect class="{0}" x="0" y="50%" width="{1:.2f}%" height="6" transform="translate(0 {2})"/>')
    bars = [bar.format("left", _share(left, most), -3 if stayed is None else -7)]
    if stayed is not None:
        bars.append(bar.format("stayed", _share(stayed, most), 1))
    return Markup('<svg class="plot bars" role="img" focusable="false"><title>{0}</title>{1}</svg>').format(says, Markup("").join(bars))


def _share(part: int, most: int) -> float:
    return max(100 * part / most, 0.4) if most > 0 and part > 0 else 0.0


def stacked(parts: Sequence[tuple[str, int]], says: str) -> Markup:
    """Return one bar cut into parts by count, such as the sites by verdict."""
    total = sum(count for _, count in parts)
    place, bars = 0.0, []
    for mark, count in parts:
        if count:
            width = 100 * count / total
            bars.append(Markup('<rect class="part m-{0}" x="{1:.2f}%" y="0" width="{2:.2f}%" height="100%"/>').format(mark, place, width))
            place += width
    return Markup('<svg class="stack" role="img" focusable="false"><title>{0}</title>{1}</svg>').format(says, Markup("").join(bars))
