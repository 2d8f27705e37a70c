"""Say for how long a hospital's rows stand: frozen for the whole study, or rolling, with new snapshots between rounds.

The plan says which (`data`), every hospital signs it, and its gate holds it. In both a patient who withdraws is taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wardround.study.findings import Finding

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol


def stands(protocol: Protocol) -> bool:
    """Say whether a hospital's rows must stay those of which its first answers were.

    Sums that the coordinator sees by themselves could be subtracted from those on other rows, and show the patients in whom these differ:
    a coordinator may ask for the same gradient in two rounds. In a secure sum that trains, it sees totals alone, and hospitals work out
    for themselves what comes next, so it cannot ask for the same twice. Tables are about the same in each round.
    """
    return not protocol.hides if protocol.trains else protocol.privacy.smallest_count > 1


def said(protocol: Protocol) -> Iterator[str]:
    """Yield what the page for the data-protection officer says of it."""
    if protocol.data == "rolling":
        yield "Rolling data: each hospital may bring a newer snapshot of its rows between rounds; each is an entry in its signed log."
        yield "No patient who is known again by the identifier moves between training, validation and test by that."
    else:
        yield "Frozen data: the rows that were approved are those of every round; where the hospital finds them changed, its gate stops."
    if protocol.contract.patient:
        yield "Patients on the hospital's opt-out list are in no snapshot made from then on. What was sent before stays in the sums."
        if stands(protocol):
            yield "A withdrawal after answers have left ends the hospital's part: sums with and without that patient could be subtracted."
        elif protocol.trains:
            yield "Totals of later rounds lack who withdrew; how many these are, over all hospitals, follows from the counts in the totals."


def contradictions(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding where newer rows would tell single patients, or nobody could tell whose they are."""
    if protocol.data != "rolling":
        return
    if stands(protocol) and not protocol.trains:
        wrong = "tables of two snapshots, subtracted, would show the few patients in whom these differ."
        yield Finding("data", wrong, 'Write data = "frozen", or privacy.smallest_count = 1 if such counts may be seen.')
    elif stands(protocol):
        wrong = "a hospital's plain sums on two snapshots, subtracted, would show the few patients in whom these differ."
        yield Finding("data", wrong, 'Write data = "frozen", or rounds.combine = "secure".')
    if protocol.contract.patient is None:
        wrong = "without patient identifiers nobody can tell which rows are new and which are of another part."
        yield Finding("data", wrong, 'Write data = "frozen", or name contract.patient.')
