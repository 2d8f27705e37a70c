"""Say on one page what a study of statistics does with a hospital's data: the page of `summary.py` for a study that trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from wardround.study.protocol import secured

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
    yield "Plain sums: the coordinator sees each hospital's counts, not only their total."
    if least > 1:
        yield (
            f"No count of fewer than {least} patients leaves a hospital, nor counts that give one away by adding and subtracting; "
            "how many hospitals held a cell back is told."
        )
    else:
        yield "Counts of single patients too leave each hospital (privacy.smallest_count = 1)."


def asked(protocol: Protocol) -> Iterator[str]:
    """Yield title, purpose, and that nothing is trained."""
    yield f"{protocol.question.title} (study {protocol.study})."
    yield f"Purpose: {protocol.question.purpose}"
    yield "Statistics only: no model is trained or tested. All rows count, those of every part."


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
        yield "Two studies with almost the same patients can be subtracted from each other; each hospital decides what it approves."
    else:
        yield "Each pair of tables with a common field is held to the rule; what three or more tables give away together is not worked out."
    yield "A hospital's administrator can always read the hospital's own data. The log shows what this program sent, not what others sent."
    yield "Research use; not a medical device."
