"""Take up attempts whose totals were asked to be opened, and keep them from that moment on.

Gates help to open one total of a round and no other. So a coordinator that was killed, or heard too few, must finish the very attempt: it
asks the same again, of those that are in the total and have not helped yet, until as many have as it takes.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from wardround.study.arrays import Arrays, under
from wardround.study.errors import VerificationError
from wardround.study.files import Data
from wardround.study.keeping import Keeping
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Stage, Update


class Lasting(typing.Protocol):
    """Be an attempt that can be kept while its total is being opened."""

    @property
    def layout(self) -> Layout:
        """Return what is summed."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what is to be kept, as JSON values."""
        ...

    @property
    def hidden(self) -> Arrays:
        """Return the masked total."""
        ...

    def restore(self, facts: Mapping[str, Any], hidden: Arrays) -> None:
        """Go on from there."""
        ...

    def read(self, stage: Stage, layout: Layout, body: Data) -> Any:
        """Return what a message holds."""
        ...

    def take(self, stage: Stage, update: Update, said: Any) -> None:
        """Take in what a site says."""
        ...

    def fault(self, refusal: Refusal) -> None:
        """Take in who said what is false while the total was being opened."""
        ...


def keep(keeper: Keeping, attempts: Sequence[Lasting], refusals: Sequence[Refusal]) -> None:
    """Keep attempts that are about to be opened, and who was left out of them.

    Args:
        keeper: writes it down.
        attempts: all of the round.
        refusals: of the exchanges before.
    """
    facts = [attempt.facts for attempt in attempts]
    sums: dict[str, np.ndarray] = {}
    for number, attempt in enumerate(attempts):
        sums |= {f"{number}/{name}": value for name, value in attempt.hidden.items()}
    survivors = sorted({site for one in facts if not one["over"] for site in one["survivors"]})
    keeper.keep({"attempts": facts, "refusals": [asdict(one) for one in refusals], "survivors": survivors}, sums)


def take_up(keeper: Keeping, attempts: Sequence[Lasting]) -> list[Refusal] | None:
    """Bring attempts to where they were kept; return who was left out of them, or None where these begin."""
    found = keeper.standing()
    if found is None:
        return None
    for number, (attempt, facts) in enumerate(zip(attempts, found.facts["attempts"], strict=True)):
        attempt.restore(facts, under(found.sums, str(number)))
    whose = {site: one for one, facts in zip(attempts, found.facts["attempts"], strict=True) for site in facts["receipts"]}
    for stage, update in found.said:
        attempt = whose[update.site]
        try:
            attempt.take(stage, update, attempt.read(stage, attempt.layout, update.body))
        except VerificationError as error:
            attempt.fault(false(update, error))
    return [Refusal(**one) for one in found.facts["refusals"]]


LOOK = "Look at this site's software; the study goes on while the quorum holds."


def false(update: Update, error: VerificationError) -> Refusal:
    """Return the refusal of what a site must not say."""
    return Refusal(update.task, update.site, "admit", error.message.rstrip("."), LOOK)
