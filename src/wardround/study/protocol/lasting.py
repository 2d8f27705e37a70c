"""Say for how long a hospital's rows stand: frozen for the whole study, or rolling, with new snapshots between rounds.

The plan says which (`data`), every hospital signs it, and its gate holds it. In both a patient who withdraws is taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wardround.study.findings import Finding

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol


def said(protocol: Protocol) -> Iterator[str]:
    """Yield what the page for the data-protection officer says of it."""
    if protocol.data == "rolling":
        yield "Rolling data: each hospital may bring a newer snapshot of its rows between rounds; each is an entry in its signed log."
        yield "No patient moves between training, validation and test by that."
    else:
        yield "Frozen data: the rows that were approved are those of every round; where the hospital finds them changed, its gate stops."
    if protocol.contract.patient:
        yield "Patients on the hospital's opt-out list are in no snapshot made from then on. What was sent before stays in the sums."


def contradictions(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding where newer rows would tell single patients, or nobody could tell whose they are."""
    if protocol.data != "rolling":
        return
    if not protocol.trains and protocol.privacy.smallest_count > 1:
        wrong = "tables of two snapshots, subtracted, would show the few patients in whom these differ."
        yield Finding("data", wrong, 'Write data = "frozen", or privacy.smallest_count = 1 if such counts may be seen.')
    if protocol.contract.patient is None:
        wrong = "without patient identifiers nobody can tell which rows are new and which are of another part."
        yield Finding("data", wrong, 'Write data = "frozen", or name contract.patient.')
