"""Check a study's record offline, with nothing but the folder: `wardround verify DIR`.

The verifier trusts no file. It hashes every log anew, checks every signature with the keys that the study log names, compares what
the sites say they sent with what the coordinator says it received, and follows the rounds up to the released model. Whatever a file
holds, it ends in a line and never in a traceback. It needs no key, no network and no torch.

What it cannot see: whether the keys in the record belong to whom they name (compare them with those you exchanged), copies that
left by another way than the site's gate, and a site and a coordinator that lie together.
"""

from __future__ import annotations

from pathlib import Path

from wardround.record import bundle
from wardround.record.checks import approvals, heads, logs, messages, released, rounds, rows
from wardround.record.checks.evidence import Evidence, gather
from wardround.record.report import Line, Report, Verdict


def verify(path: str | Path) -> Report:
    """Check the record of a study.

    Args:
        path: results folder that holds `record/`, or that `record` folder itself.

    Returns:
        One line a question. A whole and honest record passes every line but `witnesses`, which comes with a later release.

    Example:
        report = verify("results")
        print(report.text())
        raise SystemExit(report.exit_code)
    """
    directory = Path(path).resolve()
    if directory.name == bundle.RECORD and (directory / bundle.STUDY).is_dir() and not (directory / bundle.RECORD).exists():
        directory = directory.parent
    found = bundle.read(directory)
    evidence = gather(directory, found)
    lines = (
        Line.of("files", found.problems, "every file of the record is here, and nothing else."),
        logs.entries(evidence),
        logs.checkpoints(evidence),
        logs.keys(evidence),
        approvals.protocol(evidence),
        approvals.approvals(evidence),
        messages.messages(evidence),
        rows.rows(evidence),
        heads.heads(evidence),
        heads.layouts(evidence),
        rounds.rounds(evidence),
        *released.released(evidence),
        _witnesses(evidence),
    )
    return Report(lines, messages.totals(evidence))


def _witnesses(evidence: Evidence) -> Line:
    where = tuple(f"{log.files.place}/{bundle.CHECKPOINT}" for log in (evidence.study, *evidence.sites.values()))
    return Line(
        "witnesses",
        Verdict.INCOMPLETE,
        "no other site has cosigned these logs yet, so their last entries rest on their owners' word.",
        where,
    )
