"""Check on which rows each answer was computed: the newest snapshot that the site had brought, and no other.

A site enters a snapshot before anything is computed on it, and each answer names its own. So an answer that names an older one than the
last before it in the log was computed on rows that were no longer to be used, such as those of a patient who had withdrawn. Once answers
have left, another snapshot follows a withdrawal, by which nothing grows and no row changes, or the newer rows of a plan that lets them in.
Logs of releases that did not write this down yet are missing evidence; an entry of such a release after one of a newer release is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from wardround.record.checks.evidence import Evidence, LogEvidence
from wardround.record.entries import Entry, band
from wardround.record.report import Line, Problem, Verdict, counted


def rows(evidence: Evidence) -> Line:
    """Check the snapshots of each site, and that every answer names the last one before it."""
    frozen = _frozen(evidence.bundle.protocol)
    problems = [*evidence.unseen(), *(one for log in evidence.sites.values() for one in (*_snapshots(log, frozen), *_answers(log)))]
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
    answered, last = False, None
    for index, entry in log.of("snapshot", "egress"):
        if entry["t"] == "egress":
            answered = True
            continue
        if answered and last is not None and entry["v"] > 1 and entry["snapshot"] != last["snapshot"]:
            if entry["why"] not in (("withdrawal",) if frozen else ("withdrawal", "rolling")):
                lets = "the plan's data are frozen" if frozen else "the plan lets in newer rows as such only"
                text = f"{log.name} brought other rows after it had answered, for another reason than a withdrawal, and {lets}"
                yield Problem(text, log.where(index))
            elif entry["why"] == "withdrawal" and not _only_fewer(last, entry):
                text = f"{log.name} brought other rows as after a withdrawal, but its rows or patients grew, or rows changed"
                yield Problem(text, log.where(index))
        last = entry


def _only_fewer(before: Entry, after: Entry) -> bool:
    """Say whether a snapshot can be an earlier one without some patients."""
    grew = [_low(after[name]) > _low(before[name]) for name in ("rows", "patients") if name in before]
    return not any(grew) and bool(after["changed"] == band(0))


def _low(count: str) -> int:
    """Return the least number of a band."""
    return 0 if count.startswith("<") else int(count.partition("-")[0])


def _answers(log: LogEvidence) -> Iterator[Problem]:
    """Name what does not say on which snapshot an answer was computed, or names another than the last before it."""
    last: Entry | None = None
    newest, silent = 1, False
    for index, entry in log.of("snapshot", "egress"):
        says = entry["v"] > 1
        if not says and newest > 1:
            yield Problem(
                f"the log of {log.name} has an entry of an older release, which names no snapshot, after a newer one", log.where(index)
            )
        elif entry["t"] == "egress" and last is None:
            yield Problem(f"{log.name} answered before it had brought a snapshot", log.where(index))
        elif entry["t"] == "egress" and last is not None and says and last["v"] > 1 and entry["data"] != last["snapshot"]:
            yield Problem(f"an answer of {log.name} was computed on another snapshot than the newest", log.where(index))
        elif entry["t"] == "egress" and last is not None and not (says and last["v"] > 1) and not silent:
            silent = True
            text = f"the log of {log.name} does not say on which snapshot its answers were computed"
            yield Problem(text, log.where(index), Verdict.INCOMPLETE)
        newest = max(newest, entry["v"])
        last = entry if entry["t"] == "snapshot" else last
