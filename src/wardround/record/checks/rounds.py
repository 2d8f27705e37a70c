"""Check that the rounds follow one another: none left out, each begun from what the one before came to, each closed with what was admitted.

Entries of an attempt stand in the study log in this order: `round_open`, `ingress` and `refusal` as they come, then `round_close`
or `round_short`. After `round_short` the same state is asked again in the next attempt. After a restart (`resumed`) an open round
may be opened again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from wardround.record.checks.evidence import Evidence, LogEvidence, Turn, spoken, turn_of
from wardround.record.entries import Entry
from wardround.record.report import Line, Problem, Verdict, counted
from wardround.study.canonical import canonical, digest


def rounds(evidence: Evidence) -> Line:
    """Walk through the study log once, and compare what sites adopted with what was closed."""
    walk = _Walk(evidence.study)
    problems = [*walk.problems(), *_tallies(evidence.study), *_answers(evidence), *_adopted(evidence)]
    if not walk.closed and not walk.finished:
        problems.append(Problem("no round has been closed yet", evidence.study.files.place, Verdict.INCOMPLETE))
    count = f"{counted(walk.closed, 'round')} in {counted(len(walk.finished), 'phase')}"
    return Line.of("rounds", problems, f"{count}, none left out, each begun from the state that the one before gave.")


class _Walk:
    """Follow the study log from round to round."""

    def __init__(self, study: LogEvidence) -> None:
        self.closed = 0
        self.finished: set[str] = set()
        self._study = study
        self._phase: str | None = None
        self._closed_here = 0
        self._state: str | None = None
        self._open: Entry | None = None
        self._next = (0, 0)
        self._resumed = False

    def problems(self) -> Iterator[Problem]:
        """Give what does not follow."""
        steps = {
            "round_open": self._opened,
            "round_close": self._ended,
            "round_short": self._ended,
            "phase_done": self._done,
            "resumed": self._restarted,
        }
        for index, entry in self._study.of(*steps):
            for text in steps[entry["t"]](entry):
                yield Problem(text, self._study.where(index))
        if self._open is not None:
            yield Problem(f"{spoken(turn_of(self._open))} is still open", self._study.files.place, Verdict.INCOMPLETE)
        elif self._phase is not None:
            yield Problem(f"phase {self._phase} has not ended", self._study.files.place, Verdict.INCOMPLETE)

    def _opened(self, entry: Entry) -> Iterator[str]:
        phase, number, attempt = turn_of(entry)
        if phase in self.finished:
            yield f"phase {phase} goes on after its end"
        if phase != self._phase:
            if self._phase is not None:
                yield f"phase {phase} begins before {self._phase} has ended"
            self._phase, self._closed_here, self._state, self._next = phase, 0, None, (0, 0)
        again = (
            self._resumed
            and self._open is not None
            and turn_of(self._open)[:2] == (phase, number)
            and attempt - self._open["attempt"] in (0, 1)
        )
        if self._open is not None and not again:
            yield f"{spoken(turn_of(entry))} opens while {spoken(turn_of(self._open))} is open"
        if not again and (number, attempt) != self._next:
            yield f"gap: {spoken(turn_of(entry))} opens where round {self._next[0]} attempt {self._next[1]} should"
        if self._state not in (None, entry["state"]):
            yield f"{spoken(turn_of(entry))} does not begin from the state that was reached"
        self._open, self._state, self._resumed = entry, entry["state"], False

    def _ended(self, entry: Entry) -> Iterator[str]:
        turn = turn_of(entry)
        if self._open is None or turn_of(self._open) != turn:
            yield f"{spoken(turn)} ends without having been opened"
        phase, number, attempt = turn
        self._open, self._phase = None, phase
        if entry["t"] == "round_short":
            self._next = (number, attempt + 1)
            return
        self._next, self._state = (number + 1, 0), entry["state"]
        self.closed += 1
        self._closed_here += 1

    def _done(self, entry: Entry) -> Iterator[str]:
        phase = entry["phase"]
        here = self._closed_here if phase == self._phase else 0
        if phase in self.finished or self._phase not in (None, phase):
            yield f"phase {phase} ends twice, or while another goes on"
        if self._open is not None:
            yield f"phase {phase} ends while {spoken(turn_of(self._open))} is open"
        if entry["rounds"] != here:
            yield f"phase {phase} is said to have {entry['rounds']} rounds, {here} were closed"
        # Its last attempt missed the quorum: what an earlier round came to stands.
        cut_short = entry["stopped"] == "quorum" and self._next[1] > 0
        if here and not cut_short and entry["result"] != self._state:
            yield f"the result of phase {phase} is not what its last round gave"
        self.finished.add(phase)
        self._open = self._phase = None

    def _restarted(self, entry: Entry) -> Iterator[str]:
        self._resumed = True
        yield from ()


def _tallies(study: LogEvidence) -> Iterator[Problem]:
    """Name each closing whose sites or receipts are not those that were admitted."""
    arrived: defaultdict[Turn, dict[str, list[str]]] = defaultdict(dict)
    refused: defaultdict[Turn, set[str]] = defaultdict(set)
    asked: dict[Turn, int] = {}
    for index, entry in study.of("round_open", "ingress", "refusal", "round_close", "round_short"):
        turn, name = turn_of(entry), entry["t"]
        if name == "round_open":
            asked[turn] = entry["sites"]
        elif name == "ingress":
            arrived[turn].setdefault(entry["site"], []).append(entry["entry"])
            if turn not in asked and entry["stage"] != "close":
                yield Problem(f"a message arrived for {spoken(turn)} before it was opened", study.where(index))
        elif name == "refusal":
            refused[turn].add(entry["site"])
        else:
            admitted = {site: leaves for site, leaves in arrived[turn].items() if site not in refused[turn]}
            receipts = digest(canonical(sorted(leaf for leaves in admitted.values() for leaf in leaves)))
            if len(admitted) + len(refused[turn]) != asked.get(turn):
                yield Problem(f"{spoken(turn)} ends without an answer or a refusal of each site that was asked", study.where(index))
            elif entry["sites"] != len(admitted):
                yield Problem(f"{spoken(turn)} counts {entry['sites']} sites, {len(admitted)} were admitted", study.where(index))
            elif name == "round_close" and (entry["receipts"] != receipts or entry["refused"] != len(refused[turn])):
                yield Problem(f"{spoken(turn)} does not close with the messages that were admitted", study.where(index))


def _answers(evidence: Evidence) -> Iterator[Problem]:
    """Name each message that does not answer what its round asked."""
    asked = {turn_of(entry): entry for _, entry in evidence.study.of("round_open")}
    for log in evidence.sites.values():
        for index, entry in log.of("egress"):
            opened = asked.get(turn_of(entry))
            if opened is None and entry["stage"] != "close":
                yield Problem(f"{log.name} answered {spoken(turn_of(entry))}, which was never opened", log.where(index))
            elif opened is not None and (entry["ask"], entry["layout"]) != (opened["ask"], opened["layout"]):
                yield Problem(f"{log.name} answered something else than {spoken(turn_of(entry))} asked", log.where(index))


def _adopted(evidence: Evidence) -> Iterator[Problem]:
    """Name each state that a site adopted though its round did not close with the site's message."""
    closed = {turn_of(entry) for _, entry in evidence.study.of("round_close")}
    for log in evidence.sites.values():
        sent = {log.leaves[index]: turn_of(entry) for index, entry in log.of("egress")}
        for index, entry in log.of("adopted"):
            if turn_of(entry) not in closed or sent.get(entry["receipt"]) != turn_of(entry):
                yield Problem(
                    f"{log.name} adopted a state of {spoken(turn_of(entry))} that was not closed with its message", log.where(index)
                )
