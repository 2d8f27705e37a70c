"""Be the coordinator in one attempt of a sum of one message: three helpers first and last, and in between each site once, when it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from wardround.combining.fixedpoint import OutOfBounds, check_total, decoded
from wardround.combining.secure import keys, window
from wardround.combining.secure.attempt import Relays, insist, staged
from wardround.combining.secure.window import HELPERS, HelperKey, agreement, classes_of, commitments, passed_on, sums_specs
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import bond_of, read_signatures
from wardround.study.files import Data, blocks
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Short, Stage, Task, Total, Update
from wardround.study.threshold import LEAST


class WindowAttempt:
    """Hold one attempt.

    Args:
        tasks: of stage "answer", one a site that is asked.
        quorum: of the protocol.
        helpers: three sites, as the protocol names them.
    """

    stages: Sequence[Stage] = window.STAGES

    def __init__(self, tasks: Sequence[Task], quorum: int, helpers: Sequence[str]) -> None:
        """Begin with the helpers."""
        insist(tasks)
        self.over = ""
        self._tasks, self._quorum, self._helpers = {task.site: task for task in tasks}, quorum, tuple(helpers)
        self._layout, self._bond = tasks[0].body.layout, bond_of(tasks[0])
        self._receipts: dict[str, list[str]] = {site: [] for site in self._tasks}
        self._keys: dict[str, HelperKey] = {}
        self._hidden = {name: np.zeros(shape, kind) for name, (kind, shape) in sums_specs(self._layout).items()}
        self._parcels: dict[str, bytes] = {}
        self._agreements: dict[str, str] = {}
        self._missing = set(range(HELPERS))
        self._asked: dict[str, int] = {}
        self._opening = 0

    def tasks(self, stage: Stage) -> list[Task]:
        """Return the tasks of one exchange: who is asked, and what is passed on; none when the attempt is over."""
        if self.over:
            return []
        relays = self._relays(stage)
        asks = stage in ("answer", "open")
        late = {site for site in self._tasks if site not in self._helpers} if stage == "answer" else set()
        return [
            staged(task, stage, relays[site], asks, stage == "keys" or site in late) for site, task in self._tasks.items() if site in relays
        ]

    def read(self, stage: Stage, layout: Layout, body: Data) -> Any:
        """Return what a message of an exchange holds."""
        if stage in ("answer", "open"):
            return window.unpack(layout, body, parcel=stage == "answer")
        data = b"".join(blocks(body))
        return window.read_helpers(stage, data) if stage == "keys" else read_signatures(stage, data, "signature")

    def take(self, stage: Stage, update: Update, said: Any) -> None:
        """Take in what a site says.

        Raises:
            Broken: it is not what the site must say.
        """
        steps: dict[Stage, Callable[[str, Any], None]] = {"keys": self._advertised, "answer": self._answered}
        steps |= {"agree": self._agreed, "open": self._revealed}
        steps[stage](update.site, said)
        self._receipts[update.site].append(update.receipt.entry)

    def end(self, stage: Stage, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Close an exchange; return the refusals that leave their sites out."""
        found = [one for one in refusals if stage not in ("agree", "open") or one.where != "deadline"]
        self._opening += stage == "open"
        if found and stage in ("agree", "open"):
            self.over = f"{found[0].site} found fault with the secure sum or broke it, so nothing was opened"
        elif stage == "keys" and len(self._keys) < HELPERS:
            self.over = f"{len(self._keys)} of the {HELPERS} helpers were there"
        elif stage == "answer" and len(self._parcels) < max(self._quorum, LEAST):
            self.over = f"{len(self._parcels)} sites gave their sums, {max(self._quorum, LEAST)} are needed"
        elif stage == "agree" and len(self._agreements) < HELPERS:
            self.over = f"{len(self._agreements)} of the {HELPERS} helpers agreed to the total"
        elif stage == "open" and self._opening == 2 and self._missing:
            self.over = "fewer than two helpers were left to open the total"
        return found

    def outcome(self, refused: int) -> Total | Short:
        """Return the opened total, held against what its sites may send; or why there is none."""
        if self.over:
            return Short(len(self._tasks) - refused, self._quorum, self.over)
        integers = {term.name: self._hidden[term.name].view(f"int{term.bits}") for term in self._layout}
        try:
            check_total(self._layout, integers, len(self._parcels))
        except OutOfBounds as error:
            return Short(len(self._tasks) - refused, self._quorum, error.message)
        receipts = sorted(entry for site in self._parcels for entry in self._receipts[site])
        proof = (tuple(sorted(self._parcels)), self._agreements, ())
        return Total(self._layout, integers, decoded(self._layout, integers), len(self._parcels), tuple(receipts), proof)

    def _relays(self, stage: Stage) -> Relays:
        helpers = [site for site in self._helpers if site in self._tasks]
        if stage == "keys":
            return {site: {} for site in helpers}
        if stage == "answer":
            return {site: {"helpers": [asdict(self._keys[one]) for one in sorted(self._keys)]} for site in self._tasks}
        if stage == "agree":
            every = sorted(self._parcels.items())
            return {helper: {"parcels": {site: passed_on(one, at) for site, one in every}} for at, helper in enumerate(self._helpers)}
        self._asked = self._shared_out()
        return {helper: {"signatures": self._agreements, "class": number} for helper, number in self._asked.items()}

    def _shared_out(self) -> dict[str, int]:
        """Return which helper is asked for which class: each one first, and whatever is missing then from the other that holds it."""
        turn = 1 + self._opening
        asked = {helper: (at + turn) % HELPERS for at, helper in enumerate(self._helpers)}
        return {helper: number for helper, number in asked.items() if number in self._missing}

    def _advertised(self, site: str, said: Mapping[str, HelperKey]) -> None:
        if said.keys() != {site}:
            raise Broken.at("keys", "it gives other keys than its own")
        window.genuine("keys", said[site], self._bond)
        self._keys[site] = said[site]

    def _answered(self, site: str, said: Mapping[str, np.ndarray]) -> None:
        for name in self._hidden:
            self._hidden[name] += said[name]
        self._parcels[site] = said[window.NAME].tobytes()

    def _agreed(self, site: str, said: Mapping[str, str]) -> None:
        payload = agreement(self._bond, {one: commitments(parcel.hex()) for one, parcel in self._parcels.items()})
        if said.keys() != {site} or not keys.signed(self._keys[site].identity, payload, said[site]):
            raise Broken.at("agree", "it did not sign the total that stands")
        self._agreements[site] = said[site]

    def _revealed(self, site: str, said: Mapping[str, np.ndarray]) -> None:
        number = self._asked[site]
        if number not in classes_of(self._helpers.index(site)):
            raise Broken.at("open", "it revealed another class than it was asked for")
        for name in self._hidden:
            self._hidden[name] -= said[name]
        self._missing.discard(number)
