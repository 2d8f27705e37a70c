"""Check each log by itself: its lines, its signed head, and whose key signs it."""

from __future__ import annotations

from collections.abc import Iterator

from wardround.record import note
from wardround.record.bundle import CHECKPOINT, RECORD, SITES
from wardround.record.checks.evidence import Evidence, LogEvidence
from wardround.record.report import Line, Problem, Verdict, counted
from wardround.study.errors import VerificationError


def entries(evidence: Evidence) -> Line:
    """Check that every line is canonical, follows its schema, is numbered without gap and names this study."""
    logs = [evidence.study, *evidence.sites.values()]
    problems = [problem for log in logs for problem in log.problems]
    names = {entry["study"] for log in logs for entry in log.entries if entry is not None}
    if len(names) > 1:
        problems.append(Problem(f"the entries name {len(names)} different studies", RECORD))
    count = sum(len(log.entries) for log in logs)
    return Line.of(
        "entries", problems, f"{count} entries in {counted(len(logs), 'log')}, each to its schema, none left out or out of order."
    )


def checkpoints(evidence: Evidence) -> Line:
    """Check that each log, hashed anew, has the root that its owner signed."""
    logs = [evidence.study, *evidence.sites.values()]
    problems = [problem for log in logs for problem in _checkpoint(log)]
    return Line.of("checkpoints", problems, f"the signed heads of {counted(len(logs), 'log')} equal the roots as hashed here.")


def _checkpoint(log: LogEvidence) -> Iterator[Problem]:
    where = f"{log.files.place}/{CHECKPOINT}"
    if log.vkey is None:
        yield Problem("no key to check the signed head with", where)
        return
    try:
        text = note.open(log.files.checkpoint, [log.vkey])
        signatures = note.parse(log.files.checkpoint)[1]
        head = note.Checkpoint.parse(text)
    except VerificationError as error:
        yield Problem(error.message.rstrip("."), where)
        return
    if len(signatures) != 1:
        yield Problem("it carries signatures that nobody can check", where)
    if head.origin != log.vkey.name:
        yield Problem("it is signed for another log", where)
    if head.size != len(log.entries):
        yield Problem(f"it was signed for {head.size} entries, the log has {len(log.entries)}", where)
    elif head.root != log.roots[-1]:
        yield Problem("the entries are not those that were signed", where)


def keys(evidence: Evidence) -> Line:
    """Check that the study log names the key of every log, each once."""
    study, problems = evidence.study, []
    joined: dict[str, str] = {}
    for index, entry in study.of("join"):
        site, log = entry["site"], evidence.sites.get(entry["site"])
        if site in joined or entry["vkey"] in joined.values():
            problems.append(Problem(f"{site} or its key joins twice", study.where(index)))
        elif site in evidence.apart:
            text = f"{site} {evidence.apart[site]}; ask this hospital to look for itself, or for a copy"
            problems.append(Problem(text, f"{RECORD}/{SITES}/{site}", Verdict.INCOMPLETE))
        elif log is None:
            problems.append(Problem(f"the log of {site} is missing", f"{RECORD}/{SITES}/{site}"))
        elif log.vkey is not None and log.vkey.text != entry["vkey"]:
            problems.append(Problem(f"the log of {site} is signed by another key than the one it joined with", f"{log.files.place}/vkey"))
        joined[site] = entry["vkey"]
    for site in evidence.sites.keys() - joined.keys():
        problems.append(Problem(f"{site} has a log but never joined", f"{RECORD}/{SITES}/{site}"))
    for index, entry in study.of("protocol"):
        if study.vkey is not None and study.vkey.text != entry["coordinator"]:
            problems.append(Problem("the study log is signed by another key than the coordinator's", study.where(index)))
    if not joined:
        problems.append(Problem("no site has joined yet", f"{study.files.place}", Verdict.INCOMPLETE))
    return Line.of("keys", problems, f"the coordinator and {counted(len(joined), 'site')} each sign with the key that the study log names.")
