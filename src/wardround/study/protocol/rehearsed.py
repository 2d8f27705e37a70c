"""Make of a plan its rehearsal: the same study in short, on made-up rows, with a digest of its own.

Coordinator and sites each derive it from the plan that they have, so nobody has to be sent anything, and a task of a rehearsal can never be
taken for one of the study. A site's gate answers it with made-up rows only, and runs no file that the coordinator sends (a model to be
tested gives made-up scores); that is why it needs no approval.
"""

from __future__ import annotations

from wardround.study.errors import ProtocolError
from wardround.study.protocol.protocol import Protocol
from wardround.study.protocol.sections import Phase

ROUNDS = 3
"""Rounds of each phase in a rehearsal, at most."""

ROWS = 1000
"""Rows that a site makes up, at most; fewer where the plan allows fewer."""

DUE, LOST = 30.0, 10.0
"""Seconds that a site has to answer, and for which one that is lost holds up a round, at most."""

_TITLE = "Rehearsal on made-up rows: "


def rehearsal_of(protocol: Protocol) -> Protocol:
    """Return the rehearsal of a plan: all its phases, each with few rounds.

    Raises:
        ProtocolError: it is the rehearsal of a plan itself; so no plan is ever its own rehearsal.
    """
    if protocol.rehearsal:
        raise ProtocolError("This plan is a rehearsal already.", "Take the study's own plan.")
    rounds = protocol.rounds
    limits = {"due_seconds": min(rounds.due_seconds, DUE), "lost_seconds": min(rounds.lost_seconds, LOST), "attempts": 1}
    return protocol.changed(
        rehearsal=True,
        data="frozen",
        question=protocol.question.model_copy(update={"title": (_TITLE + protocol.question.title)[:200]}),
        phases=shortened(protocol, ROUNDS),
        rounds=rounds.model_copy(update=limits),
    )


def shortened(protocol: Protocol, most: int) -> tuple[Phase, ...]:
    """Return the phases of a plan, each with at most so many rounds."""
    return tuple(_short(phase, most) for phase in protocol.phases)


def _short(phase: Phase, most: int) -> Phase:
    rounds = phase.options.get("rounds")
    return phase.model_copy(update={"options": {**phase.options, "rounds": min(rounds, most)}}) if isinstance(rounds, int) else phase


def made_up_rows(protocol: Protocol) -> int:
    """Return how many rows a site makes up for a rehearsal."""
    return min(protocol.bounds.examples, ROWS)
