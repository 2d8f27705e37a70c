"""Check that the model, the results and the report that lie beside the record are those that were recorded last."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wardround.record.checks.evidence import Evidence
from wardround.record.checks.passport import PAGE, PASSPORT, RESULT, passport_problems
from wardround.record.report import Line, Problem, Verdict

MODEL, REPORT = "model.safetensors", "report.html"


def released(evidence: Evidence) -> tuple[Line, Line]:
    """Return a line for the model and one for result and report; INCOMPLETE while nothing is released."""
    study = evidence.study
    last = next(iter(reversed(list(study.of("release")))), None)
    tables = next(iter(reversed(list(study.of("tables")))), None)
    passport = next(iter(reversed(list(study.of("passport")))), None)
    if last is None and passport is not None:
        return _with_passport(evidence, *passport)
    if last is None and tables is not None:
        return _without_model(evidence, *tables)
    if last is None:
        return _nothing(evidence, "model", MODEL), _nothing(evidence, "results", RESULT, REPORT, PASSPORT, PAGE)
    index, release = last
    model = _differs(evidence.directory, MODEL, release["model"])
    done = [entry for position, entry in study.of("phase_done") if entry["phase"] == release["phase"] and position < index]
    if not done or done[-1]["result"] != release["model"]:
        model.append(Problem(f"the model released is not the result of phase {release['phase']}", study.where(index)))
    results = [*_differs(evidence.directory, RESULT, release["result"]), *_differs(evidence.directory, REPORT, release["report"])]
    results += _foreign(evidence)
    return (
        Line.of("model", model, f"{MODEL} is the result of phase {release['phase']} and the last one released, {release['model']}."),
        Line.of("results", results, f"{RESULT} and {REPORT} are those that were released with it."),
    )


def _without_model(evidence: Evidence, index: int, tables: Mapping[str, Any]) -> tuple[Line, Line]:
    """Return the lines of a study that trained nothing: no model may lie there, and its tables are those that were recorded."""
    done = [position for position, _ in evidence.study.of("phase_done") if position < index]
    kind = _kind(evidence.bundle.protocol)
    model = [] if done else [Problem("tables were released before any phase was done", evidence.study.where(index))]
    if kind != "statistics":
        model.append(Problem("the plan trains a model, and the record names tables only", evidence.study.where(index)))
    if os.path.lexists(evidence.directory / MODEL):
        model.append(Problem("a study without a model released none, and one lies here", MODEL))
    results = [*_differs(evidence.directory, RESULT, tables["result"]), *_differs(evidence.directory, REPORT, tables["report"])]
    results += _foreign(evidence)
    return (
        Line.of("model", model, "The study trained nothing and released no model."),
        Line.of("results", results, f"{RESULT} and {REPORT} are those that were released."),
    )


def _with_passport(evidence: Evidence, index: int, entry: Mapping[str, Any]) -> tuple[Line, Line]:
    """Return the lines of a study that tested a finished model: no model lies there, and its passport is the one that was recorded."""
    model = passport_problems(evidence, index, entry)
    if os.path.lexists(evidence.directory / MODEL):
        model.append(Problem("a study that tested a finished model released none, and one lies here", MODEL))
    files = ((RESULT, "result"), (PASSPORT, "passport"), (PAGE, "page"))
    results = [problem for name, part in files for problem in _differs(evidence.directory, name, entry[part])]
    return (
        Line.of("model", model, f"The study trained nothing; its passport, signed by the coordinator, is of the model {entry['model']}."),
        Line.of("results", results, f"{RESULT}, {PASSPORT} and {PAGE} are those that were released."),
    )


def _foreign(evidence: Evidence) -> list[Problem]:
    """Name a passport that lies beside a study which released none."""
    names = [name for name in (PASSPORT, PAGE) if os.path.lexists(evidence.directory / name)]
    return [Problem("this study released no passport, and one lies here", name) for name in names]


def _kind(protocol: bytes) -> str:
    """Return which kind of study a plan is of; empty where the plan does not say so."""
    try:
        return str(json.loads(protocol).get("kind", ""))
    except (ValueError, AttributeError):
        return ""


def _nothing(evidence: Evidence, name: str, *files: str) -> Line:
    stopped = next((entry["reason"] for _, entry in evidence.study.of("stopped")), None)
    text = "the study has released nothing yet" if stopped is None else f"the study was stopped and released nothing: {stopped}"
    problems = [Problem(text, evidence.study.files.place, Verdict.INCOMPLETE)]
    for file in files:
        if os.path.lexists(evidence.directory / file):
            problems.insert(0, Problem(f"{file} lies here, but the record does not vouch for it", file, Verdict.INCOMPLETE))
    return Line.of(name, problems, "")


def _differs(directory: Path, name: str, expected: str) -> list[Problem]:
    """Return a problem unless the file is there and has the digest."""
    path = directory / name
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return [Problem("it is not a file", name)]
        with path.open("rb") as file:
            found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return [Problem("it was released and is missing", name)]
    except OSError:
        return [Problem("it cannot be read", name)]
    return [] if found == expected else [Problem("it is not the file that was released", name)]
