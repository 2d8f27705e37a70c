"""Show several findings one by one: how well the model tells each, over all and by site, and of which nothing can be said.

The mean over the findings stands among the metrics; it hides which of them the model is good at. A finding with too few test patients has
no figures here, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wardround.pages import charts
from wardround.pages.figures import Figure, Result, figure, judged, only_totals
from wardround.pages.scale import levels
from wardround.pages.sections import Plot, Row
from wardround.pages.suppress import LEAST, few_in_all, few_tested, small
from wardround.pages.words import GAP, VERDICTS, number, whole

FIRST, BESIDE = "auroc", ("auprc", "brier")
"""What is drawn of each finding, and what stands beside it as numbers."""

CANNOT_SAY = VERDICTS["cannot_say"]


@dataclass(frozen=True)
class Finding:
    """Hold one finding's line: the drawn metric, and the others as text."""

    row: Row
    beside: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """Hold the figures of each finding.

    Attributes:
        plot: axis of the picture over all sites.
        lines: by finding, over all sites.
        sites: by site: of each finding the drawn metric, its interval and the share of rows that have it, as text.
        shares: whether any site tells such a share.
    """

    plot: Plot
    lines: tuple[Finding, ...]
    sites: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    shares: bool


def findings(result: Result) -> Findings | None:
    """Return the findings of a result, or None where it predicts one label alone."""
    told = result.get("findings")
    if not isinstance(told, Mapping) or not told.get("all"):
        return None
    sites: Mapping[str, Any] = result.get("sites") or {}
    everywhere = {name: {} if few_in_all(sites) else one for name, one in told["all"].items()}
    shown = {name: _of(one, FIRST) for name, one in everywhere.items()}
    across = levels(tuple(shown.values()), 1)
    lines = []
    for name, one in everywhere.items():
        text = shown[name].text() if shown[name].value is not None else CANNOT_SAY
        row = Row(name, charts.interval_row(across, shown[name], "level", f"{name}: {text}"), text, note=_counts(one))
        lines.append(Finding(row, tuple(number(_of(one, metric).value) for metric in BESIDE)))
    there = {} if only_totals(result) else {site: told["sites"][site] for site in judged(result) if site in (told.get("sites") or {})}
    by_site = []
    for site, one in there.items():
        hidden, about = few_tested(sites.get(site) or {}), sites.get(site) or {}
        cells = [(Figure() if hidden else _of(one.get(name) or {}, FIRST), _share(about, name)) for name in everywhere]
        texts = [(CANNOT_SAY if cell.value is None else number(cell.value), cell.interval(), share) for cell, share in cells]
        by_site.append((site, tuple(texts)))
    shares = any(share for _, cells in by_site for *_, share in cells)
    return Findings(Plot(charts.axis(across), tuple(line.row for line in lines)), tuple(lines), tuple(by_site), shares)


def _of(one: Mapping[str, Any], metric: str) -> Figure:
    return figure((one.get("metrics") or {}).get(metric))


def _counts(one: Mapping[str, Any]) -> str:
    """Return how many test patients have a finding and how many have not; why nothing can be said; or nothing."""
    counts = [one.get(key) for key in ("with", "without")]
    if all(isinstance(count, int) and count >= LEAST for count in counts):
        return f"{whole(one['with'])} with, {whole(one['without'])} without"
    return str(one.get("note") or "")


def _share(site: Mapping[str, Any], name: str) -> str:
    share = (site.get("positive_shares") or {}).get(name)
    return f"{100 * share:.0f}{GAP}%" if isinstance(share, int | float) and not small(site.get("patients")) else ""
