"""Write the passport of a model: what was tested, where, how well it tells patients apart, how right its probabilities are, for whom.

It shows what `result.json` holds and computes nothing. Which counts are hidden was decided before, at the sites or when the result was
written. In a hospital's own copy its own figures stand beside those over all sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from wardround.pages import agreement, charts, scale, words
from wardround.pages.counted import unit
from wardround.pages.figures import Figure, figure
from wardround.pages.left import left
from wardround.pages.suppress import WITHHELD, cell
from wardround.pages.traffic import RecordView
from wardround.study.protocol.testing import REMAINS

Result = Mapping[str, Any]
MARKS: Mapping[str, tuple[str, str]] = {
    "meets": ("gains", "meets the bar"),
    "misses": ("loses", "misses the bar"),
    "cannot_say": ("cannot_say", "cannot say"),
}
"""By verdict: the shape and colour that stand for it, and its words."""


@dataclass(frozen=True)
class Row:
    """Hold one line of a plot that is a table: a name, its picture, its figure, and further words.

    Attributes:
        name: of the site or subgroup.
        picture: its part of the plot, or nothing.
        value: of the first metric with its interval, as text.
        count: patients, as text.
        others: further metrics, as text.
        note: why something is not there.
        mark: key of a verdict, or nothing.
    """

    name: str
    picture: Markup | None
    value: str
    count: str = ""
    others: Sequence[str] = ()
    note: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Plot:
    """Hold a plot: its axis and its rows."""

    axis: Markup
    rows: Sequence[Row]


def headline(result: Result) -> str:
    """Return the one sentence that the passport opens with.

    Example:
        >>> headline({"took_part": {"sites": 1}, "metrics": {"model": {"all": {}}}, "verdict": {"word": None}})
        'Tested at 1 site; too few patients were tested to tell anything.'
    """
    sites = int(result["took_part"]["sites"])
    where = f"at {sites} {'site' if sites == 1 else 'sites'}"
    lead = "On synthetic data: tested" if result.get("synthetic") else "Tested"
    found = whole(result)
    name = str(result.get("primary", ""))
    if found and name not in found:
        return f"{lead} {where}; {words.in_sentence(name)} is not told, since it would give a small count away."
    if not found:
        return f"{lead} {where}; too few patients were tested to tell anything."
    shown, patients = figure(found[name]), result["patients"]["all"]
    within = f" ({words.LEVEL}{words.GAP}interval {shown.interval()})" if shown.bounded else ""
    said = {"meets": "it meets", "misses": "it misses", "cannot_say": "the evidence does not settle whether it meets"}
    verdict, bar = result["verdict"]["word"], result.get("bar")
    judged = f"; {said[verdict]} the bar of {bar['value']:g} that was stated beforehand" if verdict in said and bar else ""
    value = words.number(shown.value, shown.places)
    who = f"{words.whole(patients)} {unit(result)} {where}"
    return words.curled(f"{lead} on {who}, the model's {words.in_sentence(name)} is {value}{within}{judged}.")


def whole(result: Result) -> Mapping[str, Any]:
    """Return the metrics over all sites."""
    found: Mapping[str, Any] = ((result.get("metrics") or {}).get("model") or {}).get("all") or {}
    return found


def render(result: Result, record: RecordView | None, protocol: Mapping[str, Any], note: str = "") -> str:
    """Return the page.

    Args:
        result: what `result.json` holds.
        record: the study's record, or None.
        protocol: the signed plan's JSON, or nothing.
        note: the coordinator's signed note, or nothing.
    """
    calibration = result.get("calibration") or {}
    return _template().render(
        result=result,
        model=result["tested_model"],
        headline=headline(result),
        facts=_facts(result),
        metrics=_metrics(result),
        primary=words.metric(str(result.get("primary", ""))),
        unit=unit(result),
        calibration=_calibration(calibration),
        slopes=_slopes(calibration),
        calibration_picture=agreement.calibration(calibration["groups"], "Predicted against observed") if calibration else None,
        decision=_decision(result.get("decision") or ()),
        decision_picture=agreement.benefit(result["decision"], "Net benefit by threshold") if result.get("decision") else None,
        subgroups=_subgroups(result, result.get("subgroups") or ()),
        sites=_sites(result),
        cohort=[
            (name, cell(one["patients"]) if one.get("patients") != WITHHELD else WITHHELD)
            for name, one in (result.get("sites") or {}).items()
        ],
        own=_own(result),
        blinded=_blinded(result),
        left=left(result, record),
        secure=bool((result.get("privacy") or {}).get("secure_sum")),
        rules=_rules(result),
        marks=MARKS,
        charts=charts,
        words=words,
        note=note,
    )


@cache
def _template() -> Template:
    loader = PackageLoader("wardround.pages")
    room = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return room.get_template("passport.html.j2")


def _facts(result: Result) -> list[tuple[str, str, str]]:
    """Return the short row of key facts: label, value, note."""
    found, metrics = [("Sites", words.whole(int(result["took_part"]["sites"])), "")], whole(result)
    patients = result.get("patients")
    count = words.whole(patients["all"]) if isinstance(patients, Mapping) else WITHHELD
    by = (
        ", ".join(f"{name}: {words.whole(number)}" for name, number in patients["by_class"].items())
        if isinstance(patients, Mapping)
        else ""
    )
    found.append((f"{unit(result).capitalize()} tested", count, by))
    for name in dict.fromkeys([str(result.get("primary", "")), "auroc", "brier"]):
        if name in metrics:
            shown = figure(metrics[name])
            found.append((words.metric(name), words.number(shown.value, shown.places), shown.interval()))
    slope = (result.get("calibration") or {}).get("slope")
    if slope:
        shown = figure(slope)
        found.append(("Calibration slope", words.number(shown.value, 2), _span(shown, 2)))
    return found


def _span(shown: Figure, places: int) -> str:
    return f"{words.number(shown.low, places)} to {words.number(shown.high, places)}" if shown.bounded else ""


def _metrics(result: Result) -> list[tuple[str, str, str, str]]:
    """Return by metric its name, value, interval and meaning, the first one first."""
    found, order = whole(result), [str(result.get("primary", "")), *words.METRICS]
    rows = []
    for name in sorted(found, key=lambda one: order.index(one) if one in order else len(order)):
        shown = figure(found[name])
        lower = " \N{DOWNWARDS ARROW}" if name in (result.get("lower_is_better") or ()) else ""
        rows.append(
            (words.metric(name) + lower, words.number(shown.value, shown.places), shown.interval(), words.METRIC_MEANS.get(name, ""))
        )
    return rows


def _calibration(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in found.get("groups") or ():
        ends = f"{one['from']:.3g} to {one['to']:.3g}"
        observed = (
            "nobody"
            if one["observed"] is None
            else words.number(one["observed"])
            + ("" if one["low"] is None else f" ({words.number(one['low'])} to {words.number(one['high'])})")
        )
        rows.append((ends, words.whole(one["count"]), words.number(one["predicted"]), observed))
    return rows


def _slopes(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    about = {
        "slope": ("Slope", "1 is perfect; below 1 the probabilities are too extreme, above 1 too timid"),
        "intercept": ("Intercept", "0 is perfect; below 0 the probabilities are too high on the whole, above 0 too low"),
        "observed_over_expected": ("Observed over expected", "1 is perfect; below 1 fewer had the outcome than predicted"),
    }
    rows = []
    for name, (label, means) in about.items():
        if name in found:
            shown = figure(found[name])
            rows.append((label, f"{words.number(shown.value, 2)}{f' ({_span(shown, 2)})' if shown.bounded else ''}", means))
    return rows


def _decision(points: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in points:
        gain = figure(one["gain"])
        model = words.number(one["model"]["value"])
        rows.append(
            (
                f"{one['threshold']:.3f}",
                model,
                words.number(one["treat_all"]),
                f"{words.number(gain.value, 3, True)} ({gain.interval(signed=True)})"
                if gain.bounded
                else words.number(gain.value, 3, True),
            )
        )
    return rows


def group_name(one: Mapping[str, Any]) -> str:
    """Return a subgroup in words.

    Example:
        >>> group_name({"field": "age", "unit": "a", "from": 50.0, "below": 65.0}), group_name({"field": "sex", "code": "f"})
        ('age 50 to under 65 a', 'sex f')
    """
    if one.get("missing"):
        return f"{one['field']} missing"
    if "code" in one:
        return f"{one['field']} {one['code']}"
    unit_ = f" {one['unit']}" if one.get("unit") not in (None, "1") else ""
    low, high = one.get("from"), one.get("below")
    if low is None or high is None:
        return f"{one['field']} {f'under {high:g}' if low is None else f'{low:g} or more'}{unit_}"
    return f"{one['field']} {low:g} to under {high:g}{unit_}"


def _subgroups(result: Result, groups: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Return the plot of the first metric by subgroup, over all above it; None where the plan names no subgroup."""
    if not groups:
        return None
    name = str(result.get("primary", ""))
    shown = [figure((one.get("metrics") or {}).get(name)) for one in groups]
    everyone = figure(whole(result).get(name))
    across = _scale(result, name, [everyone, *shown])
    rows = [_row(across, f"All {unit(result)}", everyone, _all_patients(result), "", "all")]
    for one, found in zip(groups, shown, strict=True):
        count = one.get("patients")
        text = words.whole(count) if isinstance(count, int) else str(count)
        held = one.get("held_back_at")
        note = str(one.get("note", "")) + (
            f"{'; ' if one.get('note') else ''}{held} {'site' if held == 1 else 'sites'} held theirs back" if held else ""
        )
        rows.append(_row(across, group_name(one), found, text, note, "level"))
    return Plot(charts.axis(across), rows)


def _all_patients(result: Result) -> str:
    patients = result.get("patients")
    return words.whole(patients["all"]) if isinstance(patients, Mapping) else WITHHELD


def _scale(result: Result, name: str, shown: Sequence[Figure]) -> scale.Scale:
    """Return the axis for values and intervals of a metric; with the bar on it, where there is one."""
    bar = result.get("bar")
    known = [one for one in shown if one.value is not None]
    more = [Figure(float(bar["value"]))] if bar else []
    return scale.levels([*known, *more], -1 if name in (result.get("lower_is_better") or ()) else 1)


def _row(across: scale.Scale, name: str, shown: Figure, count: str, note: str, mark: str, verdict: str = "") -> Row:
    picture = charts.interval_row(across, shown, mark, f"{name}: {shown.text()}") if shown.value is not None else None
    return Row(name, picture, shown.text(), count, (), note, verdict)


def _sites(result: Result) -> Plot | None:
    """Return the plot of the first metric by site, with each verdict; None where no site's figures are told here."""
    name, told = str(result.get("primary", "")), ((result.get("metrics") or {}).get("model") or {}).get("sites") or {}
    verdicts, notes = result.get("verdicts") or {}, result.get("verdict_notes") or {}
    listed = sorted({*told, *verdicts})
    if not listed:
        return None
    shown = {site: figure((told.get(site) or {}).get(name)) for site in listed}
    everyone = figure(whole(result).get(name))
    across = _scale(result, name, [everyone, *shown.values()])
    rows = []
    for site in listed:
        verdict = str(verdicts.get(site, ""))
        mark = MARKS[verdict][0] if verdict in MARKS else "level"
        tested = ((result.get("sites") or {}).get(site) or {}).get("test")
        rows.append(_row(across, site, shown[site], "" if tested is None else cell(tested), str(notes.get(site, "")), mark, verdict))
    rows.append(_row(across, "All sites", everyone, _all_patients(result), "", "all"))
    return Plot(charts.axis(across), rows)


def _blinded(result: Result) -> list[tuple[str, ...]]:
    """Return metric, median, lowest, highest and number of sites, where the figures are told without names."""
    cells = ((result.get("blinded") or {}).get("metrics") or {}).get("model") or {}
    shown = [(name, [words.number(one[part], 2) for part in ("median", "low", "high")], one["sites"]) for name, one in cells.items()]
    return [(words.metric(name), *values, words.whole(int(sites))) for name, values, sites in shown]


def _own(result: Result) -> Mapping[str, Any] | None:
    """Return what a hospital's own copy shows of its own figures beside those over all; None elsewhere."""
    found = result.get("own")
    if not found:
        return None
    calibration = found.get("calibration") or {}
    return {
        "site": result.get("reader", ""),
        "note": found.get("note", ""),
        "metrics": _metrics({**result, "metrics": {"model": {"all": found.get("metrics") or {}}}}),
        "slopes": _slopes(calibration),
        "picture": agreement.calibration(calibration["groups"], "Predicted against observed, this hospital") if calibration else None,
        "subgroups": _subgroups(
            {**result, "metrics": {"model": {"all": found.get("metrics") or {}}}, "patients": found.get("patients")},
            found.get("subgroups") or (),
        ),
    }


def _rules(result: Result) -> list[str]:
    """Return what protects the patients, and what does not."""
    least, secure = int(result.get("smallest_count") or 1), bool((result.get("privacy") or {}).get("secure_sum"))
    seen = (
        "The coordinator saw each site's histogram of scores by class: at a small site it can show single patients' scores, without names."
    )
    first = "The sites' sums were hidden under masks; the coordinator and the sites saw totals only." if secure else seen
    second = f"No count written here is of fewer than {least} patients, nor gives one away by adding and subtracting within one table."
    if least <= 1:
        second = "Counts of single patients are shown (privacy.smallest_count = 1)."
    return [words.curled(first), second, *REMAINS]
