"""Show a sweep: methods and what they are compared with, further metrics, each site's difference to its own model, what failed.

The same cells serve the terminal (Rich), Markdown and a notebook (HTML).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from wardround.pages import words

ALL, MEAN = "all patients", "mean of sites"
_NOTE = (
    "Value, and in brackets the 95 % interval over seeds and test patients together. Differences are paired: method minus comparator, on "
    "the same patients under the same bootstrap weights. Verdicts are by site, against its own model, with Holm's correction over sites."
)


@dataclass(frozen=True)
class Sheet:
    """Hold one table as text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sheets(found: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables of a sweep.

    Args:
        found: contents of `table.json`.
    """
    return [_methods(found), *(sheet for sheet in (_further(found), _sites(found)) if sheet.rows)]


def notes(found: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know with the tables."""
    primary, smaller = found["primary"], found["direction"] < 0
    told = [f"{words.metric(primary)}: smaller is better." if smaller else "", _NOTE]
    told.append(f"Margin of no worse: {found['margin']:g}. Comparators were trained beside {found['baselines']}.")
    told += [f"{name}: {_few(row, found)}" for name, row in found["rows"].items() if len(row["seeds"]) < len(found["seeds"])]
    apart = [name for name, row in found["rows"].items() if not row["paired"]]
    told += [f"{name}: other test patients than its comparators', so nothing pairs." for name in apart]
    told += [f"Failed: {one['method']}, seed {one['seed']}: {one['error']} {one['remedy']}" for one in found["failed"]]
    return [one for one in told if one]


def _few(row: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    return f"{len(row['seeds'])} of {len(found['seeds'])} seeds only."


def _methods(found: Mapping[str, Any]) -> Sheet:
    """Return what decides: the primary metric, the differences to what a method is compared with, the sites' verdicts, the bytes."""
    primary, others = found["primary"], list(found["comparators"])
    head = ["Method", ALL, MEAN, *(f"minus {words.MODELS[other][0].lower()}" for other in others)]
    head += ["sites gain / no worse / lose / cannot say", "bytes up"]
    rows = []
    for name, row in found["rows"].items():
        cells = [figure(_at(row["figures"], place, primary)) for place in (ALL, MEAN)]
        cells += [figure(_at(row["against"].get(other, {}), ALL, primary), signed=True) for other in others]
        counts = [sum(one["word"] == word for one in row["verdicts"].values()) for word in words.VERDICTS]
        told = " / ".join(map(str, counts)) if row["verdicts"] else words.NONE
        rows.append((name, *cells, told, words.size(round(sum(row["bytes_up"]) / len(row["bytes_up"])))))
    for other in others:
        cells = [figure(_at(found["comparators"][other], place, primary)) for place in (ALL, MEAN)]
        rows.append((words.MODELS[other][0], *cells, *([words.NONE] * (len(others) + 2))))
    synthetic = " (synthetic data)" if found["synthetic"] else ""
    return Sheet(f"{found['study']}: {words.metric(primary)}, {len(found['seeds'])} seeds{synthetic}", tuple(head), tuple(rows))


def _further(found: Mapping[str, Any]) -> Sheet:
    """Return the other metrics that the study names."""
    metrics = [name for name in found["metrics"] if name != found["primary"]]
    columns = [(metric, place) for metric in metrics for place in (ALL, MEAN)]
    models = {name: row["figures"] for name, row in found["rows"].items()}
    models |= {words.MODELS[other][0]: figures for other, figures in found["comparators"].items()}
    rows = [(name, *(figure(_at(one, place, metric)) for metric, place in columns)) for name, one in models.items()]
    head = ("Method", *(f"{words.metric(metric)}, {place}" for metric, place in columns))
    return Sheet("Further metrics", head, tuple(rows) if metrics else ())


def _sites(found: Mapping[str, Any]) -> Sheet:
    """Return each site's difference to its own model, method by method."""
    primary = found["primary"]
    rows = {name: row for name, row in found["rows"].items() if row["verdicts"]}
    sites = sorted({site for row in rows.values() for site in row["verdicts"]})
    table = []
    for site in sites:
        cells = []
        for row in rows.values():
            verdict = row["verdicts"].get(site)
            shown = figure(_at(row["against"]["local"], site, primary), signed=True)
            cells.append(words.NONE if verdict is None else f"{shown} {words.VERDICTS[verdict['word']]}")
        table.append((site, *cells))
    return Sheet(f"{words.metric(primary)}, minus the site's own model", ("Site", *rows), tuple(table))


def _at(figures: Mapping[str, Any], place: str, metric: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = figures.get(place, {}).get(metric, {})
    return found


def figure(one: Mapping[str, Any], signed: bool = False) -> str:
    """Return a value with its interval, or a dash.

    Args:
        one: "value", "low" and "high".
        signed: whether it is a difference.
    """
    value, low, high = (one.get(key) for key in ("value", "low", "high"))
    if value is None:
        return words.NONE
    text = words.number(value, signed=signed)
    return text if low is None or high is None else f"{text} ({words.number(low, signed=signed)} to {words.number(high, signed=signed)})"


def as_text(found: Mapping[str, Any], width: int = 140) -> str:
    """Return a sweep for a terminal.

    Args:
        found: contents of `table.json`.
        width: columns of the terminal.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    page = io.StringIO()
    console = Console(file=page, width=width, color_system=None, force_terminal=False)
    for sheet in sheets(found):
        table = Table(title=Text(sheet.title), title_justify="left")
        for place, name in enumerate(sheet.head):
            table.add_column(Text(name), justify="left" if place == 0 else "right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(Text, row))
        console.print(table)
    for note in notes(found):
        console.print(Text(note))
    return page.getvalue()


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return a sweep as Markdown."""
    parts = []
    for sheet in sheets(found):
        lines = [f"### {sheet.title}", "", _line(sheet.head), _line(["---"] + ["---:"] * (len(sheet.head) - 1))]
        parts.append("\n".join([*lines, *map(_line, sheet.rows)]))
    return "\n\n".join([*parts, *notes(found)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def as_html(found: Mapping[str, Any]) -> str:
    """Return a sweep as HTML for a notebook."""
    parts = []
    for sheet in sheets(found):
        head = "".join(f"<th>{escape(one)}</th>" for one in sheet.head)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in sheet.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        parts.append(f"<p><strong>{escape(sheet.title)}</strong></p>{table}")
    return f"<div>{''.join(parts)}{''.join(f'<p>{escape(one)}</p>' for one in notes(found))}</div>"
