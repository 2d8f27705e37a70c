"""Be the coordinator in one attempt of a sum of one message: three helpers first and last, and in between each site once, when it comes.

Once helpers are asked to open a total there is no way back: one that did opens no other of the round. So from then on whoever does not
help, for whatever reason, is away, and the same is asked again later, until the masks of each class have come from one of its two helpers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from wardround.combining.fixedpoint import check_total, decoded
from wardround.combining.secure import keys, window
from wardround.combining.secure.attempt import EXCHANGE_SECONDS, NOBODY, Relays, insist, staged
from wardround.combining.secure.window import HELPERS, HelperKey, agreement, classes_of, commitments, passed_on, signer, sums_specs
from wardround.combining.secure.wording import Broken, finds_fault
from wardround.combining.secure.words import bond_of, read_signatures
from wardround.combining.written import OutOfBounds
from wardround.study.arrays import Arrays
from wardround.study.files import Data, blocks
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Short, Stage, Task, Total, Update
from wardround.study.threshold import LEAST

_AGAIN = "It is asked again when all three helpers are there."


class WindowAttempt:
    """Hold one attempt.

    Args:
        tasks: of stage "answer", one a site that is asked.
        quorum: of the protocol.
        helpers: three sites, as the protocol names them.
        identities: with which key each site joined, as far as it is known.
    """

    stages: Sequence[Stage] = window.STAGES

    def __init__(self, tasks: Sequence[Task], quorum: int, helpers: Sequence[str], identities: Mapping[str, str] = NOBODY) -> None:
        """Begin with the helpers."""
        self._identities = identities
        insist(tasks)
        self._tasks, self._quorum, self._helpers = {task.site: task for task in tasks}, quorum, tuple(helpers)
        self.asked, self.opening = len(tasks), False
        strange = [helper for helper in self._helpers if helper not in self._tasks]
        self.over = f"{_named(strange)} no part in the study, and without all {HELPERS} nothing is opened" if strange else ""
        self.layout, self._bond = tasks[0].body.layout, bond_of(tasks[0])
        self._receipts: dict[str, list[str]] = {site: [] for site in self._tasks}
        self._keys: dict[str, HelperKey] = {}
        self._hidden = {name: np.zeros(shape, kind) for name, (kind, shape) in sums_specs(self.layout).items()}
        self._parcels: dict[str, bytes] = {}
        self._agreements: dict[str, str] = {}
        self._missing = set(range(HELPERS))
        self._asked: dict[str, int] = {}
        self._classes: dict[str, int] = {}
        self._opening = 0
        self._missed: dict[str, Refusal] = {}
        self._faulty: set[str] = set()

    def tasks(self, stage: Stage) -> list[Task]:
        """Return the tasks of one exchange: who is asked, and what is passed on; none when the attempt is over."""
        if self.over:
            return []
        relays, found = self._relays(stage), []
        for site, task in self._tasks.items():
            if site in relays:
                first = stage == "keys" or (stage == "answer" and site not in self._helpers)
                found.append(staged(task, stage, relays[site], stage in ("answer", "open"), first))
        if stage == "open":
            self.opening = True
            self._classes |= {task.digest: self._asked[task.site] for task in found}
        return found if stage == "answer" else [replace(task, due=min(task.due, EXCHANGE_SECONDS)) for task in found]

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
        if update.task in self._classes:
            self._asked[update.site] = self._classes[update.task]
        steps[stage](update.site, said)
        self._receipts[update.site].append(update.receipt.entry)

    def end(self, stage: Stage, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Close an exchange; return the refusals that leave their sites out."""
        if self.opening:
            self._opening += 1
            for one in refusals:
                self._missed[one.site] = one
                if finds_fault(one):
                    self.fault(one)
            return []
        # from `agree` on the total stands: who is away then is in it, and is named only if it cannot be opened
        away = [one for one in refusals if stage == "agree" and not finds_fault(one)]
        found = [one for one in refusals if one not in away]
        if not self.over:
            self._judge(stage, found)
        if self.over:
            found += away
            found += self._unasked(found) if stage == "keys" else []
        return found

    def fault(self, refusal: Refusal) -> None:
        """Take in which helper found fault while the total was being opened, or said what is false; it is not asked for the same again."""
        self._missed[refusal.site] = refusal
        self._faulty.add(refusal.site)

    def _judge(self, stage: Stage, refusals: Sequence[Refusal]) -> None:
        """End the attempt if it cannot go on."""
        if stage == "agree" and refusals:
            self.over = f"{refusals[0].site} found fault with the secure sum or broke it, so nothing was opened"
        elif stage in ("keys", "agree"):
            self._all_helped(stage, self._keys if stage == "keys" else self._agreements)
        elif stage == "answer" and len(self._parcels) < max(self._quorum, LEAST):
            self.over = f"{len(self._parcels)} sites gave their sums, {max(self._quorum, LEAST)} are needed"

    @property
    def survivors(self) -> frozenset[str]:
        """Return who is in the total."""
        return frozenset(self._parcels)

    @property
    def awaited(self) -> list[str]:
        """Return which helpers can still help to open the total; none where it is open, or where it can never be."""
        if not self.opening or self.over:
            return []
        left = [one for one in self._helpers if one in self._tasks and one not in self._faulty]
        holders = [[one for one in left if number in classes_of(self._helpers.index(one))] for number in sorted(self._missing)]
        return sorted({one for each in holders for one in each}) if all(holders) else []

    def waits(self) -> Short:
        """Return that the total stands, and for which helpers it waits."""
        why = f"two helpers must help to open the total; it waits for {' or '.join(self.awaited)}"
        return Short(HELPERS - len(self._missing), HELPERS, why, stands=True)

    def missed(self) -> list[Refusal]:
        """Return why helpers have not helped to open the total."""
        return [self._missed[site] for site in sorted(self._missed)]

    def faults(self) -> list[Refusal]:
        """Return which helpers found fault when the total was opened."""
        return [one for one in self.missed() if one.site in self._faulty]

    def give_up(self) -> list[Refusal]:
        """End the attempt, if too few have helped to open its total; return why they did not."""
        if not self.opening or self.over or not self._missing:
            return []
        self.over = "fewer than two helpers were left to open the total"
        return self.missed()

    @property
    def facts(self) -> dict[str, Any]:
        """Return, as JSON values, what is to be kept beside the masked sums before the total is asked to be opened."""
        return {
            "asked": self.asked,
            "over": self.over,
            "survivors": sorted(self._parcels),
            "receipts": self._receipts,
            "agreements": self._agreements,
            "keys": {site: asdict(one) for site, one in self._keys.items()},
            "parcels": {site: one.hex() for site, one in self._parcels.items()},
        }

    @property
    def hidden(self) -> Arrays:
        """Return the masked total."""
        return self._hidden

    def restore(self, facts: Mapping[str, Any], hidden: Arrays) -> None:
        """Go on from where the total was asked to be opened."""
        self.asked, self.over, self._receipts, self._agreements = (facts[name] for name in ("asked", "over", "receipts", "agreements"))
        self._keys = {site: HelperKey(**one) for site, one in facts["keys"].items()}
        self._parcels = {site: bytes.fromhex(one) for site, one in facts["parcels"].items()}
        self._hidden = {name: np.array(hidden[name]) for name in self._hidden}
        self.stages, self.opening = [one for one in self.stages if one == "open"], True
        task = next(iter(self._tasks.values()))
        for at, helper in enumerate(self._helpers):
            for number in classes_of(at):
                again = staged(replace(task, site=helper), "open", self._to_open(number), True, False)
                self._classes[again.digest] = number

    def _to_open(self, number: int) -> Mapping[str, Any]:
        return {"signatures": self._agreements, "class": number}

    def _unasked(self, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Return a refusal for each site that was asked nothing, because helpers were missing."""
        known = {*self._keys, *(one.site for one in refusals)}
        left = [task for site, task in self._tasks.items() if site not in known]
        return [Refusal(task.digest, task.site, "admit", f"nothing was asked of it: {self.over}", _AGAIN, again=True) for task in left]

    def _all_helped(self, stage: Stage, heard: Collection[str]) -> None:
        """End the attempt if a helper is missing; name it."""
        missing = [helper for helper in self._helpers if helper not in heard]
        if missing:
            when = "when the round began" if stage == "keys" else "when the total was to be agreed to"
            self.over = f"{_named(missing)} no part {when}, and without all {HELPERS} nothing is opened"

    def outcome(self, refused: int) -> Total | Short:
        """Return the opened total, held against what its sites may send; or why there is none."""
        if self.over:
            return Short(self.asked - refused, self._quorum, self.over)
        integers = {term.name: self._hidden[term.name].view(f"int{term.bits}") for term in self.layout}
        try:
            check_total(self.layout, integers, len(self._parcels))
        except OutOfBounds as error:
            return Short(self.asked - refused, self._quorum, error.message)
        receipts = sorted(entry for site in self._parcels for entry in self._receipts[site])
        proof = (tuple(sorted(self._parcels)), self._agreements, ())
        return Total(self.layout, integers, decoded(self.layout, integers), len(self._parcels), tuple(receipts), proof)

    def _relays(self, stage: Stage) -> Relays:
        if stage == "keys":
            return {helper: {} for helper in self._helpers}
        helping = {"helpers": [asdict(self._keys[one]) for one in sorted(self._keys)]}
        if stage == "answer":
            return dict.fromkeys(self._tasks, helping)
        if stage == "agree":
            every = sorted(self._parcels.items())
            parts = {helper: {site: passed_on(one, at) for site, one in every} for at, helper in enumerate(self._helpers)}
            return {helper: {**helping, "parcels": parcels} for helper, parcels in parts.items()}
        self._asked = self._shared_out()
        return {helper: self._to_open(number) for helper, number in self._asked.items() if helper not in self._faulty}

    def _shared_out(self) -> dict[str, int]:
        """Return which helper is asked for which class: each one first, and whatever is missing then from the other that holds it."""
        turn = 1 + self._opening
        asked = {helper: (at + turn) % HELPERS for at, helper in enumerate(self._helpers)}
        return {helper: number for helper, number in asked.items() if number in self._missing}

    def _advertised(self, site: str, said: Mapping[str, HelperKey]) -> None:
        if said.keys() != {site}:
            raise Broken.at("keys", "it gives other keys than its own")
        window.genuine("keys", said[site], self._bond)
        self._insist_on_identity("keys", site, said[site].identity)
        self._keys[site] = said[site]

    def _answered(self, site: str, said: Mapping[str, np.ndarray]) -> None:
        parcel = said[window.NAME].tobytes()
        identity = signer("answer", self._bond, site, parcel)
        if site in self._keys and identity != self._keys[site].identity:
            raise Broken.at("answer", "its parcel is signed by another identity than its key")
        self._insist_on_identity("answer", site, identity)
        for name in self._hidden:
            self._hidden[name] += said[name]
        self._parcels[site] = parcel

    def _insist_on_identity(self, stage: Stage, site: str, identity: str) -> None:
        """Refuse what other sites would refuse the whole list for."""
        if identity != self._identities.get(site, identity):
            raise Broken.at(stage, "it is signed by another identity than the site joined with")

    def _agreed(self, site: str, said: Mapping[str, str]) -> None:
        payload = agreement(self._bond, {one: commitments(parcel.hex()) for one, parcel in self._parcels.items()})
        if said.keys() != {site} or not keys.signed(self._keys[site].identity, payload, said[site]):
            raise Broken.at("agree", "it did not sign the total that stands")
        self._agreements[site] = said[site]

    def _revealed(self, site: str, said: Mapping[str, np.ndarray]) -> None:
        if self._asked[site] not in self._missing:
            return  # its other helper revealed it before
        for name in self._hidden:
            self._hidden[name] -= said[name]
        self._missing.discard(self._asked[site])


def _named(helpers: Sequence[str]) -> str:
    """Return helpers as the beginning of a sentence."""
    return f"the helper {helpers[0]} took" if len(helpers) == 1 else f"the helpers {' and '.join(helpers)} took"
