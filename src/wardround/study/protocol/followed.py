"""Say what it means that sites are given totals in place of the model, and when that cannot be.

Where single sites' sums are hidden, sites always follow the totals; what is said of that stands in `secured.py`. Here it is about plain
sums: it costs fewer bytes where sums are short, and shows every hospital more than the model would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wardround.study.findings import Finding
from wardround.study.threshold import LEAST

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol


def contradictions(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding where totals cannot be followed, or would give a single hospital's sums away."""
    if protocol.rounds.down != "totals" or protocol.hides:
        return
    if not protocol.combiner.publishes:
        wrong = f"of {protocol.rounds.combine!r} no total is published from which hospitals could work out the model."
        yield Finding("rounds.down", wrong, 'Write down = "model", or combine = "plain" or "secure".')
    if min(protocol.bounds.sites, protocol.rounds.quorum) < LEAST:
        wrong = "of two hospitals each takes its own sums off the total, and has the other's."
        yield Finding("rounds.down", wrong, f'Write quorum = {LEAST} or more with as many hospitals, or down = "model".')


def said(protocol: Protocol) -> Iterator[str]:
    """Yield what hospitals are given each round."""
    if protocol.rounds.down == "totals" and not protocol.hides:
        yield "Each hospital is given the totals of the rounds, and works out the model itself (rounds.down); it goes on from no other."
