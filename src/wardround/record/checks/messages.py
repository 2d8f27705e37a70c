"""Check that both sides tell of the same messages: what the sites say they sent, and what the coordinator says it received.

A message that reached the coordinator but is not in the site's log is proof against the site; one that the site sent but nobody
received was lost or is denied. Each is named. A message whose round had not closed, that came after its deadline, or that helps to open a
total, is missing evidence and no contradiction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wardround.record.checks.evidence import Evidence, LogEvidence, spoken, turn_of
from wardround.record.entries import PLACES_AT_SITE, Entry
from wardround.record.report import Line, Problem, Totals, Verdict, counted

_HELPS = ("agree", "open")
"""Stages in which some of the sites suffice: a total that was opened without the others says nothing of them."""

_SAME = ("site", "phase", "round", "attempt", "stage", "kind", "task", "layout", "commit", "bytes")


def messages(evidence: Evidence) -> Line:
    """Compare egress and ingress entry by entry, and refusals by turn."""
    problems = [*evidence.unseen(), *_received(evidence), *_repeated(evidence), *_unseen(evidence), *_refusals(evidence)]
    count = totals(evidence).messages
    if not count and not any(evidence.study.of("ingress")):
        problems.append(Problem("no message has been sent yet", evidence.study.files.place, Verdict.INCOMPLETE))
    return Line.of(
        "messages",
        problems,
        f"{counted(count, 'message')} sent = {counted(count, 'message')} received, alike in kind, size, content and order.",
    )


def totals(evidence: Evidence) -> Totals:
    """Count what left the sites."""
    sent = [(site, entry) for site, log in evidence.sites.items() for _, entry in log.of("egress")]
    sites: dict[str, tuple[int, int]] = {site: (0, 0) for site in evidence.sites}
    kinds: dict[str, tuple[int, int]] = {}
    for site, entry in sent:
        for table, name in ((sites, site), (kinds, entry["kind"])):
            count, size = table.get(name, (0, 0))
            table[name] = count + 1, size + entry["bytes"]
    refused = sum(1 for log in evidence.sites.values() for _ in log.of("refused"))
    return Totals(len(sent), sum(entry["bytes"] for _, entry in sent), kinds, sites, refused, tuple(sorted(evidence.apart)))


def _received(evidence: Evidence) -> Iterator[Problem]:
    """Name each received message that the site's log does not hold as it was received."""
    study = evidence.study
    seen: Counter[str] = Counter()
    latest: dict[str, int] = {}
    for index, entry in study.of("ingress"):
        site, where = entry["site"], study.where(index)
        seen[entry["entry"]] += 1
        if seen[entry["entry"]] > 1:
            yield Problem(f"duplicate: a message of {site} is received twice, {spoken(turn_of(entry))}", where)
            continue
        if entry["index"] <= latest.get(site, -1):
            yield Problem(f"reordered: a message of {site} is received after a later one", where)
        latest[site] = max(entry["index"], latest.get(site, -1))
        if site not in evidence.apart:
            yield from _compared(evidence.log_of(site), entry, where)


def _compared(log: LogEvidence, received: Entry, where: str) -> Iterator[Problem]:
    site, index = log.name, received["index"]
    sent, leaf = (log.entries[index], log.leaves[index]) if index < len(log.entries) else (None, "")
    if leaf != received["entry"] and received["entry"] in log.leaves:
        yield Problem(f"reordered: this message stands elsewhere in the log of {site}", where)
        return
    if sent is None or sent["t"] != "egress" or turn_of(sent) != turn_of(received):
        yield Problem(f"unlogged: a message of {site} was received that its log does not hold, {spoken(turn_of(received))}", where)
        return
    changed = [name for name in _SAME if sent[name] != received[name]]
    if changed or leaf != received["entry"]:
        what = f"altered: {', '.join(changed) or 'the entry'} of a message of {site} differs between the logs, {spoken(turn_of(received))}"
        yield Problem(what, f"{log.where(index)}, {where}")


def _repeated(evidence: Evidence) -> Iterator[Problem]:
    """Name each message that a site logged twice."""
    for site, log in evidence.sites.items():
        seen: Counter[tuple[object, ...]] = Counter()
        for index, entry in log.of("egress"):
            key = (*turn_of(entry), entry["stage"], entry["kind"], entry["task"])
            seen[key] += 1
            if seen[key] > 1:
                yield Problem(f"duplicate: {site} answered one task twice, {spoken(turn_of(entry))}", log.where(index))


def _unseen(evidence: Evidence) -> Iterator[Problem]:
    """Name each message that was sent and not received."""
    study = evidence.study
    received = {entry["entry"] for _, entry in study.of("ingress")}
    closed = {turn_of(entry) for _, entry in study.of("round_close", "round_short")}
    too_late = {entry["entry"] for _, entry in study.of("late")}
    late = {(entry["site"], turn_of(entry)) for _, entry in study.of("refusal") if entry["where"] == "deadline"}
    known = {(entry["site"], entry["index"]) for _, entry in study.of("ingress")}
    for site, log in evidence.sites.items():
        for index, entry in log.of("egress"):
            if log.leaves[index] in received or (site, index) in known or log.leaves[index] in too_late:
                continue
            turn = turn_of(entry)
            if turn not in closed:
                yield Problem(f"a message of {site} is on its way, {spoken(turn)}", log.where(index), Verdict.INCOMPLETE)
            elif entry["stage"] in _HELPS:
                yield Problem(f"a message of {site} was not received and not needed, {spoken(turn)}", log.where(index), Verdict.INCOMPLETE)
            elif (site, turn) in late:
                yield Problem(
                    f"a message of {site} missed its deadline and was not received, {spoken(turn)}", log.where(index), Verdict.INCOMPLETE
                )
            else:
                yield Problem(f"missing: a message of {site} was sent and is not in the study log, {spoken(turn)}", log.where(index))


def _refusals(evidence: Evidence) -> Iterator[Problem]:
    """Name each refusal that the coordinator reports of a site and the site's log does not hold."""
    own = {(site, turn_of(entry), entry["where"]) for site, log in evidence.sites.items() for _, entry in log.of("refused")}
    for index, entry in evidence.study.of("refusal"):
        if entry["where"] not in PLACES_AT_SITE or entry["site"] in evidence.apart:
            continue
        if (entry["site"], turn_of(entry), entry["where"]) not in own:
            problem = f"unlogged: a refusal of {entry['site']} is not in its log, {spoken(turn_of(entry))}"
            yield Problem(problem, evidence.study.where(index))
