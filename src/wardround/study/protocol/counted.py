"""Say on one page what a study of statistics does with a hospital's data: the page of `summary.py` for a study that trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from wardround.study.protocol import lasting, secured

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol


def privacy(protocol: Protocol) -> Iterator[str]:
    """Yield what is seen of a hospital's counts, and from how many patients on."""
    least = protocol.privacy.smallest_count
    yield "No differential privacy: no noise is added, so there is no proven limit to what the tables reveal about one patient."
    if protocol.hides:
        yield from secured.promised(protocol)
        yield (
            f"The coordinator and the hospitals see exact totals; none of fewer than {least} patients is written into the result or shown."
            if least > 1
            else "Totals of single patients too are written into the result (privacy.smallest_count = 1)."
        )
        return
    if protocol.rounds.combine == "append":
        yield from _compared(protocol)
        return
    yield "Plain sums: the coordinator sees each hospital's counts, not only their total."
    if least > 1:
        yield (
            f"No count of fewer than {least} patients leaves a hospital, nor counts that give one away by adding and subtracting; "
            "how many hospitals held a cell back is told."
        )
    else:
        yield "Counts of single patients too leave each hospital (privacy.smallest_count = 1)."


def _compared(protocol: Protocol) -> Iterator[str]:
    """Yield who sees what, where hospitals are compared and nothing is added up."""
    least = protocol.privacy.smallest_count
    yield "Hospitals are compared, so nothing is added up: the coordinator sees each hospital's answer."
    if least > 1:
        yield (
            f"Each mean in it is over {least} patients or more; a count under {least} reads 'few', and its patients count with the largest "
            "cell of their table, so that nothing tells how many they are."
        )
    else:
        yield "Counts and means of single patients too leave each hospital (privacy.smallest_count = 1)."
    yield (
        "All hospitals and whoever reads the result see each hospital's answer and verdicts under its name (evaluation.site_results)."
        if protocol.evaluation.site_results == "open"
        else "Hospitals and whoever reads the result see all answers and verdicts without names; each hospital finds its own."
    )


def asked(protocol: Protocol) -> Iterator[str]:
    """Yield title, purpose, and that nothing is trained."""
    yield f"{protocol.question.title} (study {protocol.study})."
    yield f"Purpose: {protocol.question.purpose}"
    which = "Each patient counts once, by the first row." if protocol.rounds.combine == "append" else "All rows count, those of every part."
    yield f"Statistics only: no model is trained or tested. {which}"


def reads(protocol: Protocol, described: Callable[..., str]) -> Iterator[str]:
    """Yield the fields."""
    contract = protocol.contract
    if contract.patient:
        yield f"Patient identifiers ({contract.patient!r}), to know how many patients a count is of."
    else:
        yield "No patient identifiers: every row counts as a patient of its own."
    if contract.time:
        yield f"The time of each row ({contract.time!r})."
    yield f"Fields: {'; '.join(f'{name} ({described(field)})' for name, field in contract.fields.items())}."
    refused = [name for name, field in contract.fields.items() if field.missing == "refuse"]
    yield "Missing values are counted" + (f"; not allowed in {', '.join(refused)}." if refused else ".")
    yield from lasting.said(protocol)


def never(protocol: Protocol) -> Iterator[str]:
    """Yield what stays."""
    yield "Rows of a patient; patient identifiers; lowest and highest values."
    if not protocol.hides and protocol.privacy.smallest_count > 1:
        yield f"Counts of fewer than {protocol.privacy.smallest_count} patients."


def bounds(protocol: Protocol) -> Iterator[str]:
    """Yield how large a study may be."""
    most = protocol.bounds
    yield f"At most {most.sites} hospitals, each with at most {most.examples:,} rows. A sum that is too large or not finite is refused."


def unprotected(protocol: Protocol) -> Iterator[str]:
    """Yield what the rules do not cover."""
    yield "Whoever knows most of the patients in a table, or has other tables of them, may learn something of the others."
    if protocol.hides:
        yield from secured.remaining(protocol)
        yield "Two studies can be subtracted from each other; each hospital limits how many, and refuses nearly the same patients."
    elif protocol.rounds.combine == "append":
        yield "What is told of one field is held to the rule by itself; what several fields give away together is not worked out."
    else:
        yield "Each pair of tables with a common field is held to the rule; what three or more tables give away together is not worked out."
    yield "A hospital's administrator can always read the hospital's own data. The log shows what this program sent, not what others sent."
    yield "Research use; not a medical device."
