"""Write the report of a preflight: what clashes and how to mend it, a table of fields by hospital, and each field drawn beside the others.

It shows what `result.json` holds. Verdicts, thresholds and what counts as few were decided before; nothing is computed here but places on
axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from wardround.pages import charts
from wardround.pages.counted import unit
from wardround.pages.left import left
from wardround.pages.traffic import RecordView
from wardround.pages.words import NONE, listed

Result = Mapping[str, Any]
MARKS: Mapping[str, str] = MappingProxyType(
    {"clash": "loses", "differs": "gains", "cannot_say": "cannot_say", "note": "level", "fine": "no_worse"}
)
"""Shape and colour of each grade; a word always stands beside them."""
GRADES: Mapping[str, str] = MappingProxyType(
    {"clash": "clash", "differs": "differs", "cannot_say": "cannot say", "note": "note", "fine": "fits"}
)
MEANS: Mapping[str, str] = MappingProxyType(
    {
        "clash": "other than honest hospitals are: mend it before the study begins",
        "differs": "other than at the others beyond chance: look at it, hospitals may differ",
        "cannot_say": "too few patients, or nobody to compare with",
        "note": "worth knowing",
        "fine": "nothing odd beside the others",
    }
)
_TINTS = (1.0, 0.72, 0.5, 0.34, 0.22, 0.14)


@dataclass(frozen=True)
class Line:
    """Hold one hospital's line of a field: name, picture, what is missing, verdict."""

    site: str
    picture: Markup
    missing: str
    verdict: str


@dataclass(frozen=True)
class Field:
    """Hold one field: name with unit, caption of its picture, one line a hospital, its ends on the axis."""

    name: str
    kind: str
    caption: str
    lines: Sequence[Line]
    ends: tuple[str, str]
    verdict: str


def table_of(result: Result) -> Mapping[str, Any] | None:
    """Return what a preflight came to; None where the study is none."""
    found: list[Mapping[str, Any]] = [one for one in (result.get("statistics") or {}).values() if one.get("kind") == "preflight"]
    return found[0] if found else None


def answer(result: Result) -> str:
    """Return the one sentence that the report opens with."""
    table = table_of(result) or {}
    rows, fields = odd(table), len(table.get("fields") or ())
    clashes, differ = (sum(one["grade"] == grade for one in rows) for grade in ("clash", "differs"))
    many = len(table.get("hospitals") or ())
    lead = "On synthetic data: " if result.get("synthetic") else ""
    beside = f"{_many(differ, 'difference')} to look at" if differ else "no difference beyond chance"
    where = f"in {_many(fields, 'field')} of {_many(many, 'hospital')}"
    first = f"{_many(clashes, 'clash')} to mend before the study begins," if clashes else "nothing clashes"
    said = f"{lead}{first} {where}; {beside}."
    return said[0].upper() + said[1:]


def _many(count: int, what: str) -> str:
    more = f"{what}es" if what.endswith("sh") else f"{what}s"
    return f"{count} {what if count == 1 else more}"


def odd(table: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return every finding with its field and hospital, the gravest first."""
    found = []
    for field in table.get("fields") or ():
        for site, one in field["sites"].items():
            found += [{"field": field["field"], "site": site, **each} for each in one["findings"]]
    for site, one in (table.get("hospitals") or {}).items():
        found += [{"field": "", "site": site, **each} for each in one["findings"]]
    order = list(MARKS)
    return sorted(found, key=lambda one: order.index(one["grade"]))


def render(result: Result, record: RecordView | None, protocol: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        result: what `result.json` holds.
        record: the study's record, or None.
        protocol: the signed plan's JSON, or nothing.
    """
    table = table_of(result) or {}
    fields = [_field(one) for one in table.get("fields") or ()]
    rows = odd(table)
    count = {grade: sum(one["grade"] == grade for one in rows) for grade in MARKS if grade != "fine"}
    return _template().render(
        result=result,
        table=table,
        answer=answer(result),
        grave=[one for one in rows if one["grade"] in ("clash", "differs")],
        count=count,
        fields=fields,
        sites=list(table.get("hospitals") or ()),
        cards=[(site, one["card"]) for site, one in (table.get("hospitals") or {}).items()],
        notes=[one for one in rows if not one["field"] and one["grade"] == "note"],
        left=left(result, record),
        unit=unit(result),
        marker=lambda grade: charts.marker(MARKS[grade]),
        marks=MARKS,
        grades=GRADES,
        means=MEANS,
        rules=_rules(table, result),
        listed=listed,
        none=NONE,
    )


@cache
def _template() -> Template:
    loader = PackageLoader("wardround.pages")
    room = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return room.get_template("preflight.html.j2")


def _field(found: Mapping[str, Any]) -> Field:
    sites = found["sites"]
    said = f", {found['unit']}" if found.get("unit") not in (None, "1") else ""
    if found["type"] == "code":
        codes = list(next(iter(sites.values()))["mapped"]) if sites else []
        agree = found.get("agreement")
        shared = "" if agree is None else f" Two hospitals' patients lie in the same codes to {agree:.0%}, on average."
        caption = f"Shares of the codes {', '.join(codes)}, from left to right.{shared}"
        lines = [_line(site, one, _shares(codes, one)) for site, one in sites.items()]
        return Field(found["field"], "code", caption, lines, ("0 %", "100 %"), found["verdict"])
    means = [value for one in sites.values() for value in one.get("means", ())]
    low, high = (min(means), max(means)) if means else (0.0, 1.0)
    caption = "Mean values of four groups of patients by rank, without the outer twentieths; the box is the middle half."
    lines = [_line(site, one, _spread(one, low, high)) for site, one in sites.items()]
    ends = (f"{low:.4g}", f"{high:.4g}") if means else ("", "")
    return Field(found["field"] + said, str(found["type"]), caption, lines, ends, found["verdict"])


def _line(site: str, one: Mapping[str, Any], picture: Markup) -> Line:
    patients = one.get("patients") or {}
    counts = [value for value in patients.values() if not isinstance(value, str)]
    missing = patients.get("missing", 0)
    text = NONE if not sum(counts) else "few" if missing == "few" else f"{missing / sum(counts):.0%}"
    return Line(site, picture, text, str(one["verdict"]))


def _spread(one: Mapping[str, Any], low: float, high: float) -> Markup:
    """Return where a hospital's numbers lie: a line from the lowest group's mean to the highest one's, a box between the inner two."""
    means = one.get("means")
    if not means:
        return _plot(Markup(""), "not told")
    at = [2 + 96 * (value - low) / (high - low) if high > low else 50.0 for value in means]
    inner = at[1:3] if len(at) == 4 else at
    says = "group means " + ", ".join(f"{value:.4g}" for value in means)
    line = Markup('<line class="whisker" x1="{0:.2f}%" x2="{1:.2f}%" y1="50%" y2="50%"/>').format(at[0], at[-1])
    wide = max(inner[1] - inner[0], 0.6)
    box = Markup('<rect class="box" x="{0:.2f}%" width="{1:.2f}%" y="50%" height="12" transform="translate(0 -6)"/>').format(inner[0], wide)
    return _plot(line + box, says, str(one["verdict"]))


def _shares(codes: Sequence[str], one: Mapping[str, Any]) -> Markup:
    """Return the shares of codes as one bar."""
    patients = one.get("patients") or {}
    counts = [patients.get(code, 0) for code in codes]
    total = sum(count for count in counts if not isinstance(count, str))
    if not total:
        return _plot(Markup(""), "not told")
    place, bars = 0.0, []
    for number, (code, count) in enumerate(zip(codes, counts, strict=True)):
        if isinstance(count, str):
            continue
        wide = 100 * count / total
        tint = _TINTS[number % len(_TINTS)]
        bar = '<rect class="code" x="{0:.2f}%" y="50%" width="{1:.2f}%" height="12" transform="translate(0 -6)" fill-opacity="{2}"/>'
        bars.append(Markup(bar).format(place, wide, tint))
        if wide > 12:
            bars.append(
                Markup('<text class="in" x="{0:.2f}%" y="50%" dy="4" text-anchor="middle">{1}</text>').format(place + wide / 2, code)
            )
        place += wide
    told = [f"{count:.0%}" if isinstance(count, float) else count for count in counts]
    says = ", ".join(f"{code} {count}" for code, count in zip(codes, told, strict=True))
    return _plot(Markup("").join(bars), says, str(one["verdict"]))


def _plot(body: Markup, says: str, grade: str = "note") -> Markup:
    opens = '<svg class="plot m-{0}" role="img" focusable="false"><title>{1}</title>{2}</svg>'
    return Markup(opens).format(MARKS[grade], says, body)


def _rules(table: Mapping[str, Any], result: Result) -> list[str]:
    rules = table.get("rules") or {}
    least = int(rules.get("smallest_count") or 1)
    seen = "without names; each finds itself in its own copy" if table.get("unnamed") else "with their names"
    if result.get("simulation"):
        seen = "with their names, since this is a simulation"
    return [
        f"A mean told is over {least} patients or more, and rounded. Counts under {least} read “few”, and count with the largest cell of "
        "their table."
        if least > 1
        else "Counts and means of single patients left each hospital (privacy.smallest_count = 1).",
        "The lowest and the highest twentieth of a number are in no mean. No row, date or identifier of a patient left a hospital.",
        f"Hospitals are compared, so the coordinating centre sees the answer of each. This page shows them {seen}.",
        "Whoever knows most of the patients of a hospital may learn something of the others. Nothing here is called anonymous.",
    ]
