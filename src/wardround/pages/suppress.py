"""Hide small counts before they reach a page: no cell under ten, and none that could be worked out from its neighbours.

A result may come from a run that did not suppress; a page always does. What is hidden is "<10"; what would give a hidden count away (the
last other part of a sum, a share of few patients, a metric over few test patients) is withheld, or told as the band that the result gives.

Source: primary and complementary cell suppression, Hundepool et al., Handbook on Statistical Disclosure Control, chapter 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wardround.pages.words import GAP, NONE, whole

LEAST = 10
HIDDEN = f"<{LEAST}"
WITHHELD = "withheld"
PARTS = ("train", "validation", "test")
BAND = re.compile(r"(\d+)-(\d+)")


def small(count: Any) -> bool:
    """Say whether a count must be hidden: a number from 1 to 9, or one that is hidden already."""
    if isinstance(count, str):
        return count.strip().startswith("<")
    return isinstance(count, int) and 0 < count < LEAST


def cell(count: Any) -> str:
    """Return a count, or the band in its place, as it may be shown.

    Example:
        >>> cell(57), cell(9), cell("<10"), cell(0), cell("10-49").replace(NONE, "-")
        ('57', '<10', '<10', '0', '10-49')
    """
    if small(count):
        return HIDDEN
    ends = _ends(count)
    return NONE if ends is None else _span(*ends)


def patients_of(site: Mapping[str, Any]) -> dict[str, str]:
    """Return how many patients a site has, in all and by part, as they may be shown.

    Where exactly one part is small and no other is a band, the smallest other part is withheld too, else a subtraction would give it.

    Example:
        >>> patients_of({"patients": 61, "train": 40, "validation": 8, "test": 13})
        {'patients': '61', 'train': '40', 'validation': '<10', 'test': 'withheld'}
    """
    shown = {part: cell(site.get(part)) for part in ("patients", *PARTS)}
    if small(site.get("patients")):
        return {part: text if text in {HIDDEN, NONE} else WITHHELD for part, text in shown.items()}
    hidden = [part for part in PARTS if shown[part] == HIDDEN]
    others = [part for part in PARTS if isinstance(site.get(part), int) and shown[part] != HIDDEN and site[part] > 0]
    if len(hidden) == 1 and others and not any(isinstance(site.get(part), str) and shown[part] != HIDDEN for part in PARTS):
        shown[min(others, key=lambda part: (site[part], part))] = WITHHELD
    return shown


def share_of(site: Mapping[str, Any]) -> str:
    """Return the share of positive examples, unless it tells of fewer than ten of either class."""
    share, examples = site.get("positive_share"), site.get("examples")
    if not isinstance(share, int | float):
        return NONE
    if not isinstance(examples, int) or small(site.get("patients")) or min(share, 1 - share) * examples < LEAST - 0.5:
        return WITHHELD
    return f"{100 * share:.0f}{GAP}%"


def few_tested(site: Mapping[str, Any]) -> bool:
    """Say whether a site has so few test patients that a metric over them would show single cases."""
    return small(site.get("patients")) or small(site.get("test"))


def few_in_all(sites: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether all sites together tested so few patients, or one alone tested any, that a metric over all would show single cases."""
    tested = [site for site in sites.values() if site.get("test") != 0]
    counts = [site.get("test") for site in tested]
    return (len(tested) == 1 and few_tested(tested[0])) or (all(isinstance(count, int) for count in counts) and small(sum(counts)))


def patients_in_all(sites: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Return the total over the sites whose count or band may be shown, and a note on those left out.

    Example:
        >>> patients_in_all({"a": {"patients": 40}, "b": {"patients": 7}})
        ('40', 'and <10 at 1 site')
        >>> patients_in_all({"a": {"patients": "50-99"}, "b": {"patients": 40}})[0].replace(NONE, "-")
        '90-139'
    """
    counts = [site.get("patients") for site in sites.values()]
    known = [ends for count in counts if not small(count) and (ends := _ends(count))]
    left_out = {f"and {HIDDEN} at": sum(map(small, counts)), "not told by": counts.count(None)}
    note = ", ".join(f"{words} {whole(n)} {'site' if n == 1 else 'sites'}" for words, n in left_out.items() if n)
    low, high = sum(low for low, _ in known), sum(high for _, high in known)
    return (_span(low, high) if known else NONE), note


def _ends(count: Any) -> tuple[int, int] | None:
    """Return the least and the most that a count or a band stands for."""
    if isinstance(count, int):
        return count, count
    band = BAND.fullmatch(count) if isinstance(count, str) else None
    return (int(band[1]), int(band[2])) if band else None


def _span(low: int, high: int) -> str:
    return whole(low) if low == high else f"{whole(low)}{NONE}{whole(high)}"
