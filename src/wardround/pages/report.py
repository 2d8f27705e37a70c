"""Write the report of a study: one HTML file that needs nothing else, for a clinician, a data-protection officer and a study lead.

It reads `result.json` and, where it is there, the record beside it, and computes nothing new. The same inputs give the same bytes (no
clock, no random order), because the study's log holds the digest of the page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from wardround.pages import charts, counted, curve, findings, guards, numbers, passport, preflight, sections, statistics, suppress, words
from wardround.pages.figures import Result, better, primary
from wardround.pages.headline import headline
from wardround.pages.left import left
from wardround.pages.traffic import RecordView, read_record
from wardround.study.canonical import digest
from wardround.study.errors import StoreError, VerificationError

REPORT = "report.html"
RESULT = "result.json"
MANY_SITES = 12


def write_report(folder: Path, name: str = REPORT) -> Path:
    """Write `folder/report.html` from what lies in the folder and return its path.

    Args:
        folder: results folder of a study.
        name: of the page, where it is not the report.

    Raises:
        StoreError: there is no readable result, the record is damaged, or the disk refused; an older report is then untouched.
    """
    result = _result(folder / RESULT)
    record, protocol = read_record(folder)
    page, fresh = folder / name, folder / f"{name}.new"
    try:
        fresh.write_bytes(render(result, record, protocol, _note(folder)).encode())
        os.replace(fresh, page)
    except OSError as error:
        remedy = "Make room or give access, then run `wardround report` again."
        raise StoreError(f"{page} cannot be written: {error.strerror}.", remedy) from error
    return page


def check_released(folder: Path) -> None:
    """Refuse a result that was edited since it was released; before the release there is nothing to hold it against.

    Raises:
        VerificationError: the result is not the one that the record says was released.
    """
    record, _ = read_record(folder)
    releases = [entry for entry in (record.study if record else ()) if entry["t"] in ("release", "tables", "passport")]
    if releases and releases[-1]["result"] != digest((folder / RESULT).read_bytes()):
        message = f"{folder / RESULT} is not the result that was released."
        raise VerificationError(message, "Put it back from a copy; 'wardround verify' shows what else differs.")


def _result(path: Path) -> dict[str, Any]:
    ended = "Name the results folder of a study that has ended."
    try:
        result = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.", ended) from error
    except ValueError as error:
        raise StoreError(f"{path} is not JSON.", "It was altered or cut short; run the study's command again.") from error
    if not isinstance(result, dict):
        raise StoreError(f"{path} does not hold a result.", ended)
    return result


def _note(folder: Path) -> str:
    """Return the coordinator's signed note under the passport of a tested model; nothing where there is none."""
    path = folder / "passport.json"
    return str(_result(path).get("note", "")) if path.is_file() else ""


def render(result: Result, record: RecordView | None, protocol: Mapping[str, Any], note: str = "") -> str:
    """Return the page.

    Args:
        result: what `result.json` holds; whatever is missing is left out or said to be missing.
        record: the study's record, or None.
        protocol: the signed plan's JSON, or nothing.
        note: the coordinator's signed note under a passport, or nothing.
    """
    if result.get("kind") == "statistics" and preflight.table_of(result) is not None:
        return preflight.render(result, record, protocol)
    if result.get("kind") == "statistics":
        return statistics.render(result, record, protocol)
    if result.get("kind") == "evaluation":
        return passport.render(result, record, protocol, note)
    learning = curve.learning(result, protocol)
    kept = curve.kept(learning, bool((protocol.get("evaluation") or {}).get("refit")))
    return _template().render(
        result=result,
        record=record is not None,
        protocol=protocol,
        headline=headline(result),
        metric=numbers.named(result, primary(result)) if primary(result) else "",
        means=words.means(primary(result), str(result.get("question"))),
        lower_is_better=better(result, primary(result)) < 0,
        unit=counted.unit(result),
        tested=counted.tested(result),
        several_rows=counted.several_rows(result),
        stay=guards.withheld(result),
        without_local=guards.without_local(result),
        guards=guards.guards(result, protocol),
        many=len(result.get("sites") or {}) > MANY_SITES,
        facts=sections.facts(result, kept),
        tally=sections.tally(result),
        forest=sections.forest(result),
        model_plot=sections.model_plot(result),
        metric_table=sections.metric_table(result),
        site_table=sections.site_table(result),
        over_sites=sections.over_sites(result),
        interval=numbers.interval(result),
        calibration=numbers.calibration(result),
        findings=findings.findings(result),
        named_metric=numbers.named,
        cohort=sections.cohort(result),
        learning=learning,
        left=left(result, record),
        settings=sections.settings,
        curve=curve,
        charts=charts,
        better=better,
        words=words,
        small=suppress.LEAST,
    )


@cache
def _template() -> Template:
    loader = PackageLoader("wardround.pages")
    room = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return room.get_template("report.html.j2")
