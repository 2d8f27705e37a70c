"""Check on which rows each answer was computed: the newest snapshot that the site had brought, and no other.

A site enters a snapshot before anything is computed on it, and each answer names its own. So an answer that names an older one than the
last before it in the log was computed on rows that were no longer to be used, such as those of a patient who had withdrawn. Logs of
releases that did not write this down yet are missing evidence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from wardround.record.checks.evidence import Evidence, LogEvidence
from wardround.record.report import Line, Problem, Verdict, counted


def rows(evidence: Evidence) -> Line:
    """Check the snapshots of each site, and that every answer names the last one before it."""
    frozen = _frozen(evidence.bundle.protocol)
    problems = [*evidence.unseen(), *(one for log in evidence.sites.values() for one in (*_snapshots(log, frozen), *_answers(log)))]
    for log in evidence.sites.values():
        silent = next((index for index, entry in log.of("egress") if "data" not in entry), None)
        if silent is not None:
            text = f"the log of {log.name} does not say on which snapshot its answers were computed"
            problems.append(Problem(text, log.where(silent), Verdict.INCOMPLETE))
    snapshots = sum(1 for log in evidence.sites.values() for _ in log.of("snapshot"))
    fine = f"{counted(snapshots, 'snapshot')} of {counted(len(evidence.sites), 'site')}; each answer names the newest before it."
    return Line.of("rows", problems, fine)


def _frozen(protocol: bytes) -> bool:
    """Say whether the plan wants the rows of each site to stand."""
    try:
        found = json.loads(protocol)
        return not isinstance(found, dict) or found.get("data", "frozen") == "frozen"
    except ValueError:
        return True  # another line names it


def _snapshots(log: LogEvidence, frozen: bool) -> Iterator[Problem]:
    """Name each snapshot that took the place of another against the plan."""
    answered, last = False, ""
    for index, entry in log.of("snapshot", "egress"):
        if entry["t"] == "egress":
            answered = True
            continue
        other, last = entry["snapshot"] != last, entry["snapshot"]
        if answered and other and frozen and entry.get("why", "withdrawal") != "withdrawal":
            text = (
                f"{log.name} brought other rows after it had answered, for another reason than a withdrawal, and the plan's data are frozen"
            )
            yield Problem(text, log.where(index))


def _answers(log: LogEvidence) -> Iterator[Problem]:
    """Name each answer that was computed on another snapshot than the last before it."""
    last = ""
    for index, entry in log.of("snapshot", "egress"):
        if entry["t"] == "snapshot":
            last = entry["snapshot"] if entry["v"] > 1 else ""
        elif last and entry.get("data") != last:
            yield Problem(f"an answer of {log.name} was computed on another snapshot than the newest", log.where(index))
