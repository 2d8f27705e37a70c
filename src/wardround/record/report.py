"""Say what a verifier found: one line a question, each PASS, FAIL or INCOMPLETE, and one verdict.

FAIL means that something contradicts something else. INCOMPLETE means that evidence is missing, and is never rounded up to PASS. A
line names the files and lines it speaks of. The certificate says what was recorded and checked, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SHOWN = 2
"""Problems that a line spells out; the others are counted, and all are listed in `where`."""


def counted(number: int, what: str) -> str:
    """Return a count and its noun, in the plural unless it is one.

    Example:
        >>> counted(1, "log"), counted(2, "log")
        ('1 log', '2 logs')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class Verdict(StrEnum):
    """Answer one question of the verifier."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCOMPLETE = "INCOMPLETE"


@dataclass(frozen=True)
class Problem:
    """Say one thing that is wrong or missing.

    Attributes:
        text: one clause, without final stop.
        where: file and line, relative to the results folder.
        verdict: FAIL, or INCOMPLETE when evidence is missing.
    """

    text: str
    where: str
    verdict: Verdict = Verdict.FAIL


@dataclass(frozen=True)
class Line:
    """Answer one question.

    Attributes:
        name: of the question, one or two words.
        verdict: PASS, FAIL or INCOMPLETE.
        text: one sentence.
        where: files and lines that it speaks of.
    """

    name: str
    verdict: Verdict
    text: str
    where: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, problems: Sequence[Problem], fine: str) -> Line:
        """Return PASS with the sentence `fine`, or what stands against it, failures first."""
        if not problems:
            return cls(name, Verdict.PASS, fine)
        ranked = sorted(problems, key=lambda problem: problem.verdict is not Verdict.FAIL)
        text = "; ".join(f"{problem.text} ({problem.where})" for problem in ranked[:SHOWN])
        more = f"; and {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else ""
        return cls(name, ranked[0].verdict, f"{text}{more}.", tuple(dict.fromkeys(problem.where for problem in ranked)))


@dataclass(frozen=True)
class Totals:
    """Count what left the sites, as their own logs say.

    Attributes:
        messages: egress entries of all sites.
        bytes: their bytes.
        kinds: by kind of message: (messages, bytes).
        sites: by site: (messages, bytes).
        refused: tasks that sites refused.
        apart: sites whose logs are not among these.
    """

    messages: int = 0
    bytes: int = 0
    kinds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sites: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    refused: int = 0
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Hold every line, and what they come to.

    Attributes:
        lines: in the order in which a reader asks.
        totals: what left the sites.
    """

    lines: tuple[Line, ...]
    totals: Totals = field(default_factory=Totals)

    @property
    def verdict(self) -> Verdict:
        """Return FAIL if any line fails, else INCOMPLETE if any lacks evidence, else PASS."""
        found = {line.verdict for line in self.lines}
        return next(verdict for verdict in (Verdict.FAIL, Verdict.INCOMPLETE, Verdict.PASS) if verdict in found)

    @property
    def exit_code(self) -> int:
        """Return 0 for PASS, 1 for FAIL, 2 for INCOMPLETE."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCOMPLETE: 2}[self.verdict]

    @property
    def certificate(self) -> str:
        """Return the sentence that may be quoted; empty as soon as one line fails or no message was sent."""
        if self.verdict is Verdict.FAIL or not self.totals.messages:
            return ""
        kinds = ", ".join(f"{count} x {kind}" for kind, (count, _) in sorted(self.totals.kinds.items()))
        but = f" Not among them is what {', '.join(self.totals.apart)} sent: that log is not here." if self.totals.apart else ""
        return (
            f"Every message that reached the study coordinator from {counted(len(self.totals.sites), 'site')} is listed in their logs; "
            f"none was of a record-level kind ({kinds}); in all {counted(self.totals.messages, 'message')} with "
            f"{counted(self.totals.bytes, 'byte')}, and {counted(self.totals.refused, 'refused task')}.{but}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        lines = [{"name": line.name, "verdict": str(line.verdict), "text": line.text, "where": list(line.where)} for line in self.lines]
        return {
            "verdict": str(self.verdict),
            "exit_code": self.exit_code,
            "lines": lines,
            "certificate": self.certificate,
            "totals": asdict(self.totals),
        }

    def text(self) -> str:
        """Return the report as plain lines for a terminal or a page."""
        width = max(len(line.name) for line in self.lines)
        lines = [f"{line.verdict:<10}  {line.name:<{width}}  {line.text}" for line in self.lines]
        advice = "Do not rely on these files: ask the owners of those named above for fresh copies." if self.verdict is Verdict.FAIL else ""
        return "\n".join([*lines, "", *filter(None, (self.certificate, advice)), f"Verdict: {self.verdict}"])
