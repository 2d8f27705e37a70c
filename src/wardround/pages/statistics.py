"""Write the report of a study that trained nothing: a table for each statistic, bars for histograms, steps for survival.

It shows what `result.json` holds. Which counts are hidden was decided before, at the sites or when the result was written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from wardround.pages.counted import unit
from wardround.pages.flow import flow
from wardround.pages.left import left
from wardround.pages.plots import bars, steps
from wardround.pages.suppress import WITHHELD as HIDDEN
from wardround.pages.suppress import cell
from wardround.pages.traffic import RecordView
from wardround.pages.words import NONE, whole

Result = Mapping[str, Any]
MOST_ROWS = 40


@dataclass(frozen=True)
class Block:
    """Hold one table of a statistic, with its picture where it has one.

    Attributes:
        caption: says what it is of.
        heads: of the columns.
        rows: of finished text.
        picture: inline SVG or nothing.
        note: stands below.
    """

    caption: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    picture: Markup | None = None
    note: str = ""


@dataclass(frozen=True)
class Part:
    """Hold what one phase came to."""

    name: str
    kind: str
    who: str
    blocks: Sequence[Block]


def answer(result: Result) -> str:
    """Return the one sentence that the report opens with.

    Example:
        >>> answer({"sites": {"A": {}, "B": {}}, "statistics": {"ages": {}}})
        '1 table over 2 sites; no model was trained.'
    """
    tables, sites = len(result.get("statistics") or {}), len(result.get("sites") or {})
    lead = "On synthetic data: " if result.get("synthetic") else ""
    some = f"{lead}{tables} {'table' if tables == 1 else 'tables'} over {sites} {'site' if sites == 1 else 'sites'}"
    return f"{some}; no model was trained."


def render(result: Result, record: RecordView | None, protocol: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        result: what `result.json` holds.
        record: the study's record, or None.
        protocol: the signed plan's JSON, or nothing.
    """
    tables = result.get("statistics") or {}
    order = [str(phase["name"]) for phase in protocol.get("phases") or () if phase["name"] in tables]
    parts = [_part(name, tables[name]) for name in order or tables]
    least = int(result.get("smallest_count") or 1)
    sites = [(name, _patients(one.get("patients"), least)) for name, one in (result.get("sites") or {}).items()]
    secure = bool((result.get("privacy") or {}).get("secure_sum"))
    return _template().render(
        result=result,
        parts=parts,
        sites=sites,
        unit=unit(result),
        left=left(result, record),
        answer=answer(result),
        secure=secure,
        rules=_rules(least, secure),
    )


@cache
def _template() -> Template:
    loader = PackageLoader("wardround.pages")
    room = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return room.get_template("statistics.html.j2")


def _patients(count: Any, least: int) -> str:
    """Return a site's number of patients, a band in its place, or that it is withheld; a small one is never shown."""
    if isinstance(count, int):
        return whole(count) if count == 0 or count >= least else HIDDEN
    return HIDDEN if count == HIDDEN or str(count).startswith("<") else cell(count)


def _rules(least: int, secure: bool) -> list[str]:
    if least <= 1:
        first = "Counts of single patients are shown (privacy.smallest_count = 1)."
    elif secure:
        first = (
            f"The sites' sums were hidden under masks; of the totals none of fewer than {least} patients is shown, nor what gives one away."
        )
    else:
        first = (
            f"No count of fewer than {least} patients left a site, nor one that gives it away; where sites held a cell back, their number "
            'stands beside it, and the count is of the other sites alone; "at least" stands where it is of all, and too low.'
        )
    return [first, "Whoever knows most of the patients in a table may learn something of the others.", "Nothing here is called anonymous."]


def _part(name: str, found: Mapping[str, Any]) -> Part:
    took_part, kind = found.get("sites") or [], str(found.get("kind", ""))
    who = f"Over {len(took_part)} sites: {', '.join(took_part)}" if len(took_part) <= 8 else f"Over {len(took_part)} sites"
    return Part(name, kind, who, _BLOCKS[kind](found) if kind in _BLOCKS else [])


def _count(found: Any) -> str:
    """Return a count as text, with how many sites held it back."""
    if not isinstance(found, Mapping):
        return NONE
    held, count = found.get("held_back_at"), found["count"]
    text = whole(count) if isinstance(count, int) else str(count)
    return f"{text} (+ {held} {'site' if held == 1 else 'sites'} held back)" if held else text


def _value(value: Any, places: int = 4) -> str:
    return NONE if value is None else f"{value:.{places}g}" if isinstance(value, float) else str(value)


def _cell(label: Mapping[str, Any]) -> str:
    if "code" in label:
        return str(label["code"])
    return "missing" if label.get("missing") else f"{label['from']:g} to {label['to']:g}"


def _named(field: Mapping[str, Any]) -> str:
    return f"{field['field']}, {field['unit']}" if field.get("unit") not in (None, "1") else str(field["field"])


def _describe(found: Mapping[str, Any]) -> list[Block]:
    heads = ("Field", "Known", "Missing", "Mean", "Deviation", "Lowest bin", "Highest bin")
    rows = []
    for one in found["fields"]:
        ends = [_cell(one[key]) if one.get(key) else NONE for key in ("lowest_bin", "highest_bin")]
        counts = (_count(one["known"]), _count(one["missing"]))
        rows.append((_named(one), *counts, _value(one.get("mean")), _value(one.get("deviation")), *ends))
    return [
        Block("Each field", heads, rows, None, "Lowest and highest values are single patients'; shown are the outermost bins with enough.")
    ]


def _histogram(found: Mapping[str, Any]) -> list[Block]:
    blocks = []
    for one in found["fields"]:
        labels = [_cell(part) for part in one["cells"]]
        counts = [part["count"] if isinstance(part["count"], int) else None for part in one["cells"]]
        rows = [(label, _count(part)) for label, part in zip(labels, one["cells"], strict=True)]
        rows = [*rows, ("missing", _count(one["missing"]))] if len(rows) < MOST_ROWS else [("missing", _count(one["missing"]))]
        caption = f"Histogram of {_named(one)}"
        blocks.append(Block(caption, ("Cell", "Count"), rows, bars(labels, counts, caption)))
    return blocks


def _crosstab(found: Mapping[str, Any]) -> list[Block]:
    rows, columns = found["rows"], found["columns"]
    heads = (f"{rows['field']} by {columns['field']}", *(_cell(one) for one in columns["cells"]))
    body = [(_cell(label), *(_count(one) for one in line)) for label, line in zip(rows["cells"], found["cells"], strict=True)]
    chi = found.get("chi_square")
    why = f"Pearson's chi-square: {found['note']}." if found.get("note") else ""
    note = why if chi is None else f"Pearson's chi-square {chi:.4g}, {found['degrees_of_freedom']} degrees of freedom, p {_p(found['p'])}."
    return [Block(f"{rows['field']} by {columns['field']}", heads, body, None, note)]


def _pixels(found: Mapping[str, Any]) -> list[Block]:
    """Return mean, deviation and percentiles of each channel, and its histogram as bars."""
    shares = list(found["fields"][0]["percentiles"]) if found["fields"] else []
    names = [f"{one['field']}, channel {one['channel'] + 1}" for one in found["fields"]]
    heads = ("Image", "Rows", "Mean", "Deviation", *(f"{share} %" for share in shares))
    rows = []
    for name, one in zip(names, found["fields"], strict=True):
        values = (one["mean"], one["deviation"], *one["percentiles"].values())
        rows.append((name, _count(one["rows"]), *(_value(value) for value in values)))
    blocks = [Block("Intensities of pixels, to within a bin, with percentiles", heads, rows)]
    for name, one in zip(names, found["fields"], strict=True):
        caption = f"Pixels of {name}, by intensity"
        blocks.append(
            Block(caption, picture=bars([_cell(part) for part in one["cells"]], [part["count"] for part in one["cells"]], caption))
        )
    return blocks


def _p(value: Any) -> str:
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _correlation(found: Mapping[str, Any]) -> list[Block]:
    heads = ("Fields", "Rows", "r", "95 % interval")
    rows = []
    for one in found["pairs"]:
        interval = NONE if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
        rows.append((" and ".join(one["fields"]), _count(one["rows"]), _value(one["r"], 3), interval))
    return [Block("Pearson's correlation", heads, rows)]


def _quantiles(found: Mapping[str, Any]) -> list[Block]:
    heads, rows = ("Field", "Quantile", "Between", "Width"), []
    for one in found["fields"]:
        for quantile in one["quantiles"]:
            between = "withheld" if quantile["from"] is None else f"{quantile['from']:.6g} and {quantile['to']:.6g}"
            held = f" (without {quantile['held_back_at']} sites)" if quantile.get("held_back_at") else ""
            rows.append((_named(one), f"{quantile['at']:g}", between + held, f"{quantile['width']:.3g}"))
    return [Block("Quantiles, each between two ends", heads, rows)]


def _survival(found: Mapping[str, Any]) -> list[Block]:
    curves = {str(one.get("group", "all")): one["points"] for one in found["groups"] if one["points"]}
    heads = ("Group", "Rows", "Events", "Median")
    rows = []
    for one in found["groups"]:
        counts = [whole(count) if isinstance(count, int) else str(count) for count in (one["rows"], one.get("events", NONE))]
        rows.append((str(one.get("group", "all")), *counts, _value(one.get("median"), 6)))
    test = found.get("log_rank")
    note = f"Log-rank test: {test['note']}." if test and test.get("note") else ""
    if test and test["chi_square"] is not None:
        note = f"Log-rank chi-square {test['chi_square']:.4g}, {test['degrees_of_freedom']} degrees of freedom, p {_p(test['p'])}."
    if found.get("held_back_at"):
        note = f"{note} {found['held_back_at']} sites held their counts back; the curves are of the others alone.".strip()
    caption = f"Kaplan-Meier curves over {_named(found)}"
    blocks = [Block(caption, heads, rows, steps(curves, float(found["until"]), caption), note)]
    return [*blocks, *_at_risk(curves, _named(found))]


def _at_risk(curves: Mapping[str, Sequence[Mapping[str, Any]]], unit: str) -> list[Block]:
    """Return by group the numbers at risk just after up to five of the times shown; at other times they are not known."""
    rows = []
    for group, points in curves.items():
        for place in sorted({len(points) * part // 5 for part in range(5)}):
            one = points[place]
            told = [int(one[name]) for name in ("at_risk", "events", "censored") if one.get(name) is not None]
            left = whole(told[0] - told[1] - told[2]) if len(told) == 3 else NONE
            rows.append((group, f"{one['time']:g}", left))
    return [Block("Numbers at risk just after times shown", ("Group", unit[:1].upper() + unit[1:], "At risk"), rows)] if rows else []


def _feasibility(found: Mapping[str, Any]) -> list[Block]:
    steps = [("All", found["start"], None), *((one["name"], one["remaining"], one["excluded"]) for one in found["steps"])]
    counts = [one["count"] if isinstance(one["count"], int) else None for _, one, _ in steps]
    bounds = [bool(one.get("held_back_at")) for _, one, _ in steps]
    picture = flow([name for name, _, _ in steps], counts, bounds, "Patients left after each criterion")
    rows = [(name, NONE if out is None else _count(out), _left(one)) for name, one, out in steps]
    note = "Where sites held counts back, a number taken out is of the other sites alone; grey: at least so many are left." * any(bounds)
    blocks = [Block("Patients left after each criterion", ("Criterion", "Taken out", "Left"), rows, picture, note)]
    alone = [(one["asks"], *(_count(one[key]) for key in ("meets", "fails", "missing"))) for one in found["criteria"]]
    blocks.append(Block("Each criterion alone, over all", ("Criterion", "Meet it", "Do not", "Missing"), alone))
    label = found.get("label")
    if label:
        cells = [(one["code"], _count(one), NONE if one["share"] is None else f"{one['share']:.1%}") for one in label["cells"]]
        cells.append(("missing", _count(label["missing"]), NONE))
        blocks.append(Block(f"{label['field']} among those who meet all", ("Code", "Count", "Share of known"), cells))
    return blocks


def _left(found: Mapping[str, Any]) -> str:
    """Return how many patients are left as text: where sites held that back, at least how many."""
    if not found.get("held_back_at") or not isinstance(found["count"], int):
        return _count(found)
    held = found["held_back_at"]
    return f"at least {whole(found['count'])} ({held} {'site' if held == 1 else 'sites'} held back)"


_BLOCKS: Mapping[str, Callable[[Mapping[str, Any]], list[Block]]] = MappingProxyType(
    {
        "describe": _describe,
        "histogram": _histogram,
        "pixels": _pixels,
        "crosstab": _crosstab,
        "correlation": _correlation,
        "quantiles": _quantiles,
        "survival": _survival,
        "feasibility": _feasibility,
    }
)
