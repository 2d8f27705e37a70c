"""Check that the logs commit to each other, so that none can be rewritten alone, and that every layout an entry names is there."""

from __future__ import annotations

from collections.abc import Iterator

from wardround.record.bundle import LAYOUTS, RECORD
from wardround.record.checks.evidence import Evidence, LogEvidence
from wardround.record.report import Line, Problem, Verdict, counted
from wardround.study.canonical import digest


def heads(evidence: Evidence) -> Line:
    """Check every head that one log quotes of another against that log as hashed here."""
    study, count = evidence.study, 0
    problems = evidence.unseen()
    for index, entry in study.of("ingress", "approval_seen"):
        count += 1
        problems += [] if entry["site"] in evidence.apart else _quoted(evidence.log_of(entry["site"]), entry["head"], study.where(index))
        if entry["t"] == "ingress" and entry["head"][0] <= entry["index"]:
            problems.append(Problem("its head is older than the message", study.where(index)))
    for log in evidence.sites.values():
        for index, entry in log.of("egress"):
            count += 1
            problems += _quoted(study, entry["study_head"], log.where(index))
    if not count:
        problems.append(Problem("the logs do not quote each other yet", study.files.place, Verdict.INCOMPLETE))
    return Line.of("cross-links", problems, f"{counted(count, 'head')} that the logs quote of each other equal the roots as hashed here.")


def _quoted(log: LogEvidence, head: tuple[int, str], where: str) -> Iterator[Problem]:
    size, root = head
    if size >= len(log.roots):
        yield Problem(f"{log.name} log: {size} entries were seen, {len(log.entries)} are left", where)
    elif log.roots[size] != root:
        yield Problem(f"{log.name} log: its first {size} entries are not those that were seen", where)


def layouts(evidence: Evidence) -> Line:
    """Check that every layout that an entry names lies in the record under its digest, and no other."""
    problems = []
    named: set[str] = set()
    for log in (evidence.study, *evidence.sites.values()):
        for index, entry in log.of("round_open", "ingress", "egress"):
            if entry["layout"] not in named and entry["layout"] not in evidence.bundle.layouts:
                problems.append(Problem(f"{log.where(index)} names this layout and it is missing", _layout_file(entry["layout"])))
            named.add(entry["layout"])
    for name, data in evidence.bundle.layouts.items():
        if digest(data) != name:
            problems.append(Problem("it is not what its name says", _layout_file(name)))
        elif name not in named:
            problems.append(Problem("no entry names this layout", _layout_file(name)))
    return Line.of(
        "layouts", problems, f"{counted(len(named), 'layout')} named (what messages could hold), and each lies here as it was recorded."
    )


def _layout_file(name: str) -> str:
    return f"{RECORD}/{LAYOUTS}/{name.removeprefix('sha256:')}.json"
