"""Draw who is left after each criterion: one bar a step, the names above the bars, so that long ones fit on a telephone too."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from wardround.pages.words import whole

WIDE, ROW, BAR = 620.0, 46.0, 18.0
_ROOM = 132.0  # for the number beside the longest bar
_OPEN = Markup('<svg viewBox="0 0 {0:g} {1:g}" role="img" focusable="false"><title>{2}</title>')
_NAME = Markup('<text x="0" y="{0:.1f}">{1}</text>')
_NUMBER = Markup('<text x="{0:.1f}" y="{1:.1f}">{2}</text>')
_RECT = Markup('<rect class="{0}" x="0" y="{1:.1f}" width="{2:.1f}" height="{3:g}"><title>{4}</title></rect>')


def flow(names: Sequence[str], counts: Sequence[int | None], least: Sequence[bool], says: str) -> Markup:
    """Return one bar a step; grey where the patients left are only known to be at least so many, a small grey mark where they are not told.

    Args:
        names: of the steps.
        counts: of patients left, None where it is not told.
        least: by step, whether the count is a lower bound.
        says: the picture in words.
    """
    most = max((count for count in counts if count), default=1)
    body = []
    for place, (name, count, bound) in enumerate(zip(names, counts, least, strict=True)):
        top = place * ROW
        wide = 4.0 if count is None else (WIDE - _ROOM) * count / most
        number = "not told" if count is None else f"at least {whole(count)}" if bound else whole(count)
        body.append(_NAME.format(top + 14, name))
        body.append(_RECT.format("none" if count is None or bound else "bar", top + 20, wide, BAR, f"{name}: {number}"))
        body.append(_NUMBER.format(wide + 8, top + 20 + BAR - 4, number))
    return _OPEN.format(WIDE, len(names) * ROW, says) + Markup("").join(body) + Markup("</svg>")
