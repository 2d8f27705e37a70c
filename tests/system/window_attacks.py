"""Be a hostile coordinator of a sum of one message: it drives true gates with tasks of its own making, and keeps whatever it is told.

Sites 0, 1 and 2 are the helpers. Of a *dishonest* site it holds all keys; `laid_bare` is its best attempt at single sites' sums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import PHASES, protocol, rows, small
from tests.system.coordinator_attacks import _follows
from wardround.combining.secure import keys, window
from wardround.combining.secure.masks import Mask, add
from wardround.combining.secure.window import HelperKey, Window, passed_on
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import bond_of
from wardround.learning.network import initial_parameters
from wardround.record.note import fingerprint
from wardround.site.policy import HospitalPolicy
from wardround.site.rules import Rules
from wardround.study.arrays import Arrays, from_bytes, to_bytes
from wardround.study.canonical import canonical, digest_json
from wardround.study.streams import Stream
from wardround.study.task import NOTHING, Refusal, State, Task, Update

SITES = tuple(f"site{number}" for number in range(5))
HELPING = SITES[:3]


class Coordinator:
    """Hold a study of five sites, and lead it astray.

    Args:
        folder: of the study.
        quorum: of the signed protocol.
        named: whether each hospital accepts the true others only, by its rule `sites`.
    """

    def __init__(self, folder: Path, quorum: int = 3, named: bool = False) -> None:
        plan = protocol(
            rounds={"quorum": quorum, "combine": "one_message", "helpers": HELPING}, phases=PHASES[:1], bounds={"sites": 9, "examples": 500}
        )
        self.study = small(folder, plan, {name: rows(number, 60) for number, name in enumerate(SITES)}, following=True)
        self.plan, self.gates = plan, {name: place.site for name, place in self.study.places.items()}
        if named:
            self._name()
        state = plan.algorithms[0].begin(plan, {}, Stream.public(plan.evaluation.seed).child("phase", plan.algorithms[0].phase))
        assert isinstance(state, State)
        self.ask = plan.algorithms[0].ask(state)
        self.state, self.refusals = state, list[tuple[Task, Refusal]]()
        self.channels: list[tuple[str, str, str]] = []
        self.attempts: list[Attempt] = []

    def _name(self) -> None:
        prints = [f"{name} {fingerprint(site.keys.public.public_bytes_raw().hex())}" for name, site in self.gates.items()]
        rules = Rules(
            purposes=("*",), models=("*",), sources=("*",), min_patients=1, rounds=9, hours="any", may_leave=("sums",), release="auto",
            sites=tuple(prints),
        )  # fmt: skip
        for site in self.gates.values():
            object.__setattr__(site, "policy", HospitalPolicy(frozenset({self.plan.digest}), rules=rules, source="table", patients=50))

    def task(self, site: str, stage: Any, attempt: int, relay: Mapping[str, Any], **changes: Any) -> Task:
        """Return the task that an honest coordinator would give, or a changed one."""
        asks = stage in ("answer", "open")
        turn, about = (
            (self.state.phase, self.state.round, attempt),
            (60.0, self.ask.digest, digest_json(list(SITES))),
        )
        supplies = {self.plan.initial["model"]: to_bytes(initial_parameters(self.plan))}
        more: dict[str, Any] = {
            "head": self.study.book.log.head,
            "layout": self.ask.layout_digest,
            "supplies": supplies,
            "relay": canonical(relay) if relay else b"",
        }
        made = Task(self.plan.study, self.plan.digest, *turn, stage, site, *about, body=self.ask if asks else NOTHING)
        return replace(made, **{**more, **changes})

    def say(self, task: Task) -> Update | None:
        """Give a site a task; return what it says, or None if it says nothing or refuses."""
        self.study.engine.send([task])
        found = list(self.study.engine.receive(0))
        self.refusals += [(task, one) for one in found if isinstance(one, Refusal)]
        return next((one for one in found if isinstance(one, Update)), None)

    def laid_bare(self, dishonest: Collection[str]) -> set[str]:
        """Return the honest sites whose own sums follow from everything that was heard and what dishonest sites know."""
        honest = tuple(site for site in SITES if site not in dishonest)
        sets = {frozenset(one) - set(dishonest) for attempt in self.attempts for one in attempt.learned(dishonest)} - {frozenset()}
        return {site for site in honest if sets and _follows(site, sets, honest)}


class Attempt:
    """Be one attempt, led by the coordinator step by step.

    Attributes:
        keys: what helpers advertised, by name.
        masked: what sites answered.
        parcels: the sealed seeds beside it.
        truth: the sums that sites hid in it.
        made_up: sessions of sites that the coordinator invented.
        signed: by helper, its agreement.
        told: by helper, whose parcels it was told of.
        revealed: whose sums a helper was to open, which class, and what it revealed.
    """

    def __init__(self, evil: Coordinator, number: int) -> None:
        self.evil, self.number = evil, number
        self.bond = bond_of(evil.task(SITES[0], "keys", number, {}))
        self.keys: dict[str, dict[str, Any]] = {}
        self.masked: dict[str, Arrays] = {}
        self.parcels: dict[str, bytes] = {}
        self.truth: dict[str, Arrays] = {}
        self.made_up: dict[str, Window] = {}
        self.signed: dict[str, str] = {}
        self.told: dict[str, frozenset[str]] = {}
        self.revealed: list[tuple[frozenset[str], int, Arrays]] = []
        evil.attempts.append(self)

    def say(self, site: str, stage: str, relay: Mapping[str, Any], **changes: Any) -> Update | None:
        """Give a site a task of this attempt."""
        return self.evil.say(self.evil.task(site, stage, self.number, relay, **changes))

    def begin(self, *helpers: str, **changes: Any) -> Attempt:
        """Have helpers advertise their keys, and note what a dishonest one would tell."""
        for helper in helpers or HELPING:
            said = self.say(helper, "keys", {}, **changes)
            if said is not None:
                self.keys[helper] = json.loads(bytes(said.body))["helpers"][0]  # type: ignore[arg-type]
                last = self.evil.gates[helper].state.sessions.last(self.evil.state.phase, Window.from_json)
                assert last is not None
                self.evil.channels.append((self.bond, helper, last.session.channel))
        return self

    def helpers(self, **changes: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
        """Return the helpers' keys, some changed, added, or left out (None)."""
        return [one for _, one in sorted({**self.keys, **changes}.items()) if one is not None]

    def fake(self, helper: str, attempt_key: Ed25519PrivateKey) -> dict[str, Any]:
        """Return a helper's key of the coordinator's own making, signed by whichever identity."""
        secret = hashlib.sha256(f"{helper} {self.number}".encode()).digest()
        self.evil.channels.append((self.bond, helper, secret.hex()))
        made = HelperKey(helper, attempt_key.public_key().public_bytes_raw().hex(), keys.public_of(secret).hex())
        return asdict(replace(made, signature=keys.sign(attempt_key, made.signed_part(self.bond))))

    def answer(self, *sites: str, helpers: list[Mapping[str, Any]] | None = None) -> Attempt:
        """Have sites mask their sums."""
        for site in sites or SITES:
            said = self.say(site, "answer", {"helpers": self.helpers() if helpers is None else helpers})
            if said is not None:
                found = from_bytes(said.body)
                self.masked[site], self.parcels[site] = found, found[window.NAME].tobytes()
                answered = self.evil.gates[site].state.answered(self.evil.state.phase)
                assert answered is not None
                self.truth[site] = from_bytes(answered.update.body)
        return self

    def puppet(self, name: str, key: Ed25519PrivateKey) -> bytes:
        """Return the parcel of a site that the coordinator made up."""
        session = Window(self.bond, name, HELPING, 0, "keys")
        self.made_up[name] = window.answer(session, canonical({"helpers": self.helpers()}), key)[0]
        return bytes.fromhex(self.made_up[name].parcel)

    def agree(self, *helpers: str, parcels: Mapping[str, bytes] | None = None, **changes: Any) -> Attempt:
        """Have helpers agree to a total; to that of all whose parcels came, or of others."""
        for helper in helpers or HELPING:
            given = self.parcels if parcels is None else parcels
            told = {site: passed_on(one, HELPING.index(helper)) if helper in HELPING else one.hex() for site, one in given.items()}
            said = self.say(helper, "agree", {"helpers": self.helpers(), "parcels": told} | changes)
            if said is not None:
                self.signed[helper] = json.loads(bytes(said.body))["signature"][helper]  # type: ignore[arg-type]
                self.told[helper] = frozenset(given)
        return self

    def open(self, *helpers: str, turn: int = 1, signatures: Mapping[str, str] | None = None, number: int | None = None) -> Attempt:
        """Have helpers reveal one class each."""
        for helper in helpers or HELPING:
            asked = (HELPING.index(helper) + turn) % 3 if number is None else number
            said = self.say(helper, "open", {"signatures": dict(self.signed if signatures is None else signatures), "class": asked})
            if said is not None:
                told = self.told[helper]
                masks = [Mask(one.masks()[asked].key, -1) for name, one in self.made_up.items() if name in told]  # those are known
                opened = {name: np.array(value) for name, value in from_bytes(said.body).items()}
                for at, term in enumerate(self.evil.ask.layout):
                    add(masks, at, opened[term.name])
                self.revealed.append((told - self.made_up.keys(), asked, opened))
        return self

    def learned(self, dishonest: Collection[str]) -> Iterable[frozenset[str]]:
        """Yield each set of sites whose sum comes out once every mask is taken off that can be."""
        known = {site: self._seeds(site, dishonest) for site in self.truth}
        for count in range(1, len(known) + 1):
            for sites in combinations(sorted(known), count):
                if all(self._comes_out(term.name, number, sites, known) for number, term in enumerate(self.evil.ask.layout)):
                    yield frozenset(sites)

    def _seeds(self, site: str, dishonest: Collection[str]) -> dict[int, str]:
        """Return the seeds of a site's masks that are known, by class."""
        found: dict[int, str] = {}
        if site in dishonest:
            return dict(enumerate(self._own(site)))
        for bond, helper, secret in self.evil.channels:
            genuine = keys.public_of(bytes.fromhex(secret)).hex() == self.keys[helper]["channel"]
            if bond == self.bond and (helper in dishonest or not genuine):
                at = HELPING.index(helper)
                raw = bytes.fromhex(passed_on(self.parcels[site], at))
                try:
                    opened = window._opened(Window(bond, helper, HELPING, 0, "keys", secret), site, raw, at)
                except Broken:
                    continue
                found |= {int(number): seed for number, seed in opened.items()}
        return found

    def _own(self, site: str) -> tuple[str, ...]:
        last = self.evil.gates[site].state.sessions.last(self.evil.state.phase, Window.from_json)
        return last.session.seeds if last is not None and last.session.bond == self.bond else ()

    def _comes_out(self, name: str, number: int, sites: tuple[str, ...], known: Mapping[str, Mapping[int, str]]) -> bool:
        found = np.array(self.masked[sites[0]][name])
        for site in sites[1:]:
            found += self.masked[site][name]
        for of in range(3):
            given = next((one[name] for told, number_, one in self.revealed if told == frozenset(sites) and number_ == of), None)
            if given is not None:
                found -= given
            elif all(of in known[site] for site in sites):
                add([Mask(keys.derived(bytes.fromhex(known[site][of]), self.bond, "class", site), -1) for site in sites], number, found)
        plain = sum((np.asarray(self.truth[site][name]) for site in sites[1:]), np.asarray(self.truth[sites[0]][name]))
        return np.array_equal(found, plain.astype(self.truth[sites[0]][name].dtype).view(found.dtype))


def total_is_true(attempt: Attempt) -> bool:
    """Say whether a whole attempt opens to the sum of what its sites hid."""
    return frozenset(attempt.truth) in set(attempt.learned(()))
