"""Prepare each section of the report: rows of finished text and pictures, so that the template only sets them.

One function a section, each from the result. A section that has nothing to show is None or empty, and the template says so in words. What
left each site has a file of its own, `left.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from wardround.pages import charts, scale, words
from wardround.pages.counted import rows as rows_in_all
from wardround.pages.counted import several_rows, unit
from wardround.pages.figures import Figure, Result, better, difference, figure, gain, judged, level, models, only_totals, primary, used
from wardround.pages.headline import groups
from wardround.pages.suppress import WITHHELD, few_tested, patients_in_all, patients_of, share_of, small
from wardround.pages.suppress import cell as count

TOO_FEW = "too few to show"
UNTOLD = "not told"


@dataclass(frozen=True)
class Fact:
    """Hold one of the key facts under the answer."""

    label: str
    value: str
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """Hold one line of a plot that stands in a table.

    Attributes:
        name: of the site or model.
        picture: its part of the plot.
        figure: value and interval as text.
        verdict: key of the verdict, or nothing.
        note: further words.
        second: a second figure as text.
    """

    name: str
    picture: Markup
    figure: str
    verdict: str = ""
    note: str = ""
    second: str = ""


@dataclass(frozen=True)
class Plot:
    """Hold a plot that is a table: its axis, its rows, and the row over all sites."""

    axis: Markup
    rows: tuple[Row, ...]
    all: Row | None = None


@dataclass(frozen=True)
class Pair:
    """Hold one site's line in the table of the models; without a personalised one that column stays empty."""

    name: str
    tested: str
    federated: str
    personalised: str
    local: str
    difference: str
    verdict: str
    note: str


def facts(result: Result, kept: str = "") -> tuple[Fact, ...]:
    """Return the short row of key facts.

    Args:
        result: what `result.json` holds.
        kept: which round's model was kept, in words.
    """
    sites: Mapping[str, Any] = result.get("sites") or {}
    stopped, rounds = str(result.get("stopped", "")), result.get("rounds")
    ended = "no training" if rounds == 0 and stopped == "rounds" else words.STOPPED.get(stopped, "")
    name = primary(result)
    synthetic = "synthetic" if result.get("synthetic") else ""
    patients, hidden = patients_in_all(sites)
    all_rows = rows_in_all(result) if several_rows(result) else None
    rows_note = "" if all_rows is None else f"{words.whole(all_rows)} rows"
    found = [
        Fact("Sites", words.whole(len(sites))),
        Fact(unit(result).capitalize(), patients, _joined(rows_note, hidden, synthetic)),
        Fact("Training rounds", words.whole(rounds) if isinstance(rounds, int) else words.NONE, _joined(kept, ended)),
    ]
    for model in ("federated", "personalised", "local") if used(result) == "personalised" else ("federated", "local", "pooled"):
        shown = level(result, model, name)
        if shown.value is not None:
            value = words.number(shown.value, shown.places)
            found.append(Fact(words.MODELS[model][0], value, _joined(shown.interval(), synthetic), strong=model == used(result)))
    return tuple(found)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def tally(result: Result) -> tuple[tuple[str, int], ...]:
    """Return how many sites have each verdict; empty when there are no verdicts."""
    return tuple((verdict, len(sites)) for verdict, sites in groups(result).items()) if result.get("verdicts") else ()


def forest(result: Result) -> Plot | None:
    """Return the forest plot of the model that hospitals will use minus local, sorted by verdict and then by difference, or None."""
    name, margin = primary(result), float(result.get("margin") or 0.0)
    sign = better(result, name)
    by = groups(result)
    gaps = {site: gain(result, name, site) for sites in by.values() for site in sites}
    overall = gain(result, name)
    if only_totals(result) or all(gap.value is None for gap in (overall, *gaps.values())):
        return None
    decided = [gap for verdict, sites in by.items() if verdict != "cannot_say" for site in sites if (gap := gaps[site]).value is not None]
    clear = [*decided, *([overall] if overall.value is not None else [])]
    across = scale.differences(clear, [gaps[site] for site in by["cannot_say"]], margin, sign)
    rows, minus = [], f"{used(result)} minus local"
    for verdict, sites in by.items():
        shown_verdict = verdict if result.get("verdicts") else ""
        for site in sorted(sites, key=lambda site: (gaps[site].value is None, -sign * (gaps[site].value or 0.0), site)):
            rows.append(
                _forest_row(across, site, minus, gaps[site], verdict, shown_verdict, -sign * margin, few_tested(_site(result, site)))
            )
    everyone = _forest_row(across, f"All {unit(result)}", minus, overall, "all", "", -sign * margin) if overall.value is not None else None
    return Plot(charts.axis(across, signed=True), tuple(rows), everyone)


def _forest_row(across: scale.Scale, name: str, minus: str, gap: Figure, mark: str, verdict: str, margin: float, few: bool = False) -> Row:
    text = TOO_FEW if few else gap.text(signed=True)
    says = f"{name}: {minus} {text}" + (f", {words.VERDICTS[verdict]}" if verdict else "")
    return Row(name, charts.interval_row(across, gap, mark, says, margin), text, verdict)


def _site(result: Result, name: str) -> Mapping[str, Any]:
    found = (result.get("sites") or {}).get(name)
    return found if isinstance(found, Mapping) else {}


def _models(result: Result) -> list[str]:
    there = models(result)
    return [*(model for model in words.MODELS if model in there), *(model for model in there if model not in words.MODELS)]


def model_name(model: str) -> str:
    """Return a model's name as people write it."""
    return words.MODELS[model][0] if model in words.MODELS else words.metric(model)


def model_plot(result: Result) -> Plot | None:
    """Return the models side by side on the primary metric, each with federated minus it, or None without values."""
    name = primary(result)
    shown = {model: level(result, model, name) for model in _models(result)}
    if all(one.value is None for one in shown.values()):
        return None
    across = scale.levels(tuple(shown.values()), better(result, name))
    rows = []
    for model, one in shown.items():
        gap = difference(result, model, name).text(signed=True)
        says = f"{model_name(model)}: {words.metric(name)} {one.text()}"
        note = words.MODELS[model][1] if model in words.MODELS else ""
        picture = charts.interval_row(across, one, "level", says)
        rows.append(Row(model_name(model), picture, one.text(), verdict=model, note=note, second=gap))
    return Plot(charts.axis(across), tuple(rows))


def metric_table(result: Result) -> tuple[list[str], list[tuple[str, list[Figure]]]]:
    """Return the models, and for each metric one figure a model, over all sites' test patients."""
    there = _models(result)
    tables = result.get("metrics") or {}
    found = dict.fromkeys(name for model in there for name in (tables[model].get("all") or {}))
    first = primary(result)
    order = [first, *words.METRICS]
    names = sorted(found, key=lambda name: order.index(name) if name in order else len(order))
    return [model_name(model) for model in there], [(name, [level(result, model, name) for model in there]) for name in names]


def site_table(result: Result) -> tuple[Pair, ...]:
    """Return each site's value of the primary metric by model, the difference to its own, the verdict and why; empty without such."""
    name, notes, verdicts = primary(result), result.get("verdict_notes") or {}, result.get("verdicts") or {}
    rows = []
    for site in judged(result) if not only_totals(result) and (verdicts or models(result)) else ():
        few = few_tested(_site(result, site))
        shown = [level(result, model, name, site).text() for model in ("federated", "personalised", "local")]
        shown.append(gain(result, name, site).text(signed=True))
        shared, personal, local, gap = [TOO_FEW] * 4 if few else shown
        tested = patients_of(_site(result, site))["test"]
        verdict = verdicts.get(site, "")
        word, note = verdict if verdict in words.VERDICTS else "", _sentence(str(notes.get(site, "")))
        rows.append(Pair(site, tested, shared, personal, local, gap, word, note))
    return tuple(rows)


def over_sites(result: Result) -> list[tuple[str, str, str, str, str]]:
    """Return metric, model, median, band and number of sites, where the protocol has the sites' figures told without their names."""
    rows, order = [], [primary(result), *words.METRICS]
    for part, minus in (("metrics", ""), ("paired", "Federated minus "), ("paired_personalised", "Personalised minus ")):
        for model, cells in ((result.get("blinded") or {}).get(part) or {}).items():
            for name, cell in cells.items():
                found = figure({**cell, "value": cell.get("median")})
                median = words.number(found.value, 2, bool(minus))
                band = f"{words.number(found.low, 2, bool(minus))} to {words.number(found.high, 2, bool(minus))}"
                label = f"{words.metric(name)} ↓" if better(result, name) < 0 else words.metric(name)
                line = (label, f"{minus}{model_name(model)}", median, band, words.whole(int(cell["sites"])))
                rows.append((order.index(name) if name in order else len(order), line))
    return [line for _, line in sorted(rows, key=lambda row: row[0])]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def cohort(result: Result) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the columns and rows of the table of the sites' data, small counts hidden; a column nobody fills is left out.

    What a site of a federation did not tell, its row says so; that is all, where it handed over no log.
    """
    sites: Mapping[str, Mapping[str, Any]] = result.get("sites") or {}
    by_patient = unit(result) == "patients"
    heads = [unit(result).capitalize(), "Training", "Validation", "Test", "Examples (rows)", "Positive share", "Data at the site"]
    rows = []
    for name, site in sites.items():
        kept = words.size(site["snapshot_bytes"]) if "snapshot_bytes" in site else words.NONE
        kept = WITHHELD if small(site.get("patients")) and kept != words.NONE else kept
        examples = count(site.get("examples")) if by_patient else words.NONE
        patients, *parts = patients_of(site).values()
        rows.append((name, [patients, *parts, examples, share_of(site), kept]))
    used = [index for index in range(len(heads)) if any(cells[index] != words.NONE for _, cells in rows)]
    missing = words.NONE
    if result.get("simulation") is False:
        missing, used = UNTOLD, used or [0]
    return [heads[index] for index in used], [
        (name, [missing if cells[index] == words.NONE else cells[index] for index in used]) for name, cells in rows
    ]


def settings(table: Mapping[str, Any] | None) -> Sequence[tuple[str, str]]:
    """Return a table of settings as names and values to read."""
    return [(str(name).replace("_", " "), words.shown(value)) for name, value in (table or {}).items()]
