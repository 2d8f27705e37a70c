"""Be a hostile coordinator: it drives the true gates of a small study with tasks of its own making, and keeps whatever it is told.

It holds the key that signs closings, everything an honest coordinator sees, and `Puppet`s: sites whose keys it has, be they hospitals that
help it or names that it made up. `laid_bare` is its best attempt at single sites' sums.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import Small, protocol, rows, small
from tests.system.puppet import Puppet, parsed
from wardround.combining.fixedpoint import decoded
from wardround.combining.secure import keys, shamir
from wardround.combining.secure import session as machine  # its names, as a test may have weakened them
from wardround.combining.secure.bodies import masked_specs, unpack_masked
from wardround.combining.secure.masks import Mask, add
from wardround.combining.secure.opening import Opening
from wardround.combining.secure.seal import NAME
from wardround.combining.secure.words import STAGES, Advert, Revealed, Sealed, agreement, bond_of
from wardround.learning.network import initial_parameters
from wardround.record.envelope import CLOSING, sign
from wardround.study.arrays import Arrays, from_bytes, to_bytes
from wardround.study.canonical import canonical, digest_json
from wardround.study.files import blocks
from wardround.study.layout import Layout
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import NOTHING, Done, Refusal, RoundClosed, Stage, State, Task, Total, Update
from wardround.study.threshold import threshold

Told = Mapping[str, Any] | Callable[[str], Mapping[str, Any]] | None
Key = tuple[str, int, str]
"""Phase, round and ask: what the same site answers twice with the same sums."""


class Coordinator:
    """Hold a study, and lead it astray.

    Args:
        folder: of the study.
        sites: how many hospitals, puppets included.
        puppets: how many of them the coordinator owns, the last by name.
        quorum: of the signed protocol.
        prepare: changes the study before it begins.
        combine: of the signed protocol.
    """

    def __init__(
        self,
        folder: Path,
        sites: int = 4,
        puppets: int = 0,
        quorum: int = 3,
        prepare: Callable[[Small], object] = lambda study: None,
        combine: str = "secure",
    ) -> None:
        self.sites = tuple(f"site{number}" for number in range(sites)) if sites <= 10 else tuple(f"site{n:02d}" for n in range(sites))
        self.protocol: Protocol = agreed(quorum, sites, combine)
        self.study = small(folder, self.protocol, {name: rows(number, 60) for number, name in enumerate(self.sites)}, following=True)
        prepare(self.study)
        gates = {name: place.site for name, place in self.study.places.items()}
        self.honest = self.sites[: sites - puppets]
        self.gates = {name: gates[name] for name in self.honest}
        self.puppets = [Puppet(name, gates[name].keys.signing) for name in self.sites[sites - puppets :]]
        self.key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        self.refusals: list[tuple[Task, Refusal]] = []
        self.attempts: list[Attempt] = []
        self.closings: list[RoundClosed] = []
        self.done = {"initial": Done("initial", 0, initial_parameters(self.protocol))}
        self.supplies: dict[str, Any] = {self.protocol.initial["model"]: to_bytes(self.done["initial"].results)}
        self.proper: set[str] = set()
        self.state = self.at(self.begun(self.protocol.algorithms[0].phase))

    def begun(self, phase: str, done: Mapping[str, Done] | None = None) -> State:
        """Return the first state of a phase."""
        rng = Stream.public(self.protocol.evaluation.seed).child("phase", phase)
        found = self.protocol.by_phase[phase].begin(self.protocol, done or self.done, rng)
        assert isinstance(found, State)
        return found

    def at(self, state: State) -> State:
        """Note that this is where the study truly stands."""
        self.proper.add(self.protocol.by_phase[state.phase].ask(state).digest)
        return state

    def task(
        self, site: str, stage: Stage, attempt: int, relay: Mapping[str, Any] | None = None, state: State | None = None, **changes: Any
    ) -> Task:
        """Return the task that an honest coordinator would give, or a changed one."""
        state = state or self.state
        ask = self.protocol.by_phase[state.phase].ask(state)
        turn = (self.protocol.study, self.protocol.digest, state.phase, state.round, attempt)
        about = (60.0, ask.digest, digest_json(list(self.sites)), self.study.book.log.head)
        more: dict[str, Any] = {
            "closed": tuple(self.closings) if stage == "keys" else (),
            "supplies": self.supplies,
            "layout": ask.layout_digest,
        }
        body, passed = ask if stage == "answer" else NOTHING, canonical(relay) if relay else b""
        return replace(Task(*turn, stage, site, *about, body=body, relay=passed, **more), **changes)

    def say(self, task: Task) -> Any:
        """Give a site a task; return what it says, parsed, or None if it says nothing or refuses."""
        layout = task.body.layout
        if task.site not in self.gates:
            return next(one for one in self.puppets if one.name == task.site).say(task, layout)
        self.study.engine.send([task])
        for reply in self.study.engine.receive(0):
            if isinstance(reply, Refusal):
                self.refusals.append((task, reply))
            elif isinstance(reply, Update):
                if task.stage == "answer":
                    return dict(unpack_masked(layout, reply.body))
                said = b"".join(blocks(reply.body))
                return json.loads(said)["adverts"][0] if task.stage == "keys" else parsed(task, said)
        return None

    def closing(self, total: Total, new: State | Done, attempt: int, /, **changes: Any) -> RoundClosed:
        """Return a closing, signed by the coordinator whatever stands in it."""
        made = RoundClosed(self.state.phase, self.state.round, attempt, total.receipts, total.digest, new.digest, "", *total.proof)
        made = replace(made, **changes)
        return replace(made, signature=sign(self.key, CLOSING, made.signed_part(self.protocol.digest)))

    def advanced(self, total: Total) -> State | Done:
        """Return what a total leads to."""
        return self.protocol.by_phase[self.state.phase].advance(self.state, total)

    def close(self, total: Total, attempt: int) -> None:
        """Close the round and go on, as an honest coordinator would."""
        new = self.advanced(total)
        self.closings.append(self.closing(total, new, attempt))
        self.supplies[total.digest] = to_bytes(total.integers)
        if isinstance(new, Done):
            self.done[new.phase] = new
            new = self.begun(self.after(new.phase))
        self.state = self.at(new)

    def pretended(self, total: Total, attempt: int = 0, /, **changes: Any) -> dict[str, Any]:
        """Return what tasks hold once the round was closed with some total, or with some other closing; the study stands where it stood."""
        new = self.advanced(total)
        made = self.closing(total, new, attempt, **changes)
        follows = new if isinstance(new, State) else self.begun(self.after(new.phase), {**self.done, new.phase: new})
        return {"state": follows, "closed": (*self.closings, made), "supplies": {**self.supplies, total.digest: to_bytes(total.integers)}}

    def after(self, phase: str) -> str:
        """Return the phase that comes next."""
        names = [one.phase for one in self.protocol.algorithms]
        return names[names.index(phase) + 1]

    def forged(self, total: Total, by: int = 2**20) -> Total:
        """Return a total that differs in one number, with the proof of the true one."""
        term = total.layout[-1]
        integers = {name: np.array(value) for name, value in total.integers.items()}
        integers[term.name].reshape(-1)[:1] += by
        return Total(total.layout, integers, decoded(total.layout, integers), total.sites, total.receipts, total.proof)

    def invented(self) -> Total:
        """Return a total that nobody gave, of all sites."""
        layout = self.protocol.by_phase[self.state.phase].ask(self.state).layout
        integers = {term.name: np.ones(term.shape, term.total_type(self.protocol.bounds.sites)) for term in layout}
        return Total(layout, integers, decoded(layout, integers), len(self.sites), (), (self.sites, {}, ("0",) * 6))

    def worked_on_what_it_should_not(self) -> set[str]:
        """Return the honest sites that gave sums for something else than the protocol and the true totals lead to."""
        return {site for one in self.attempts for site, ask in one.asked.items() if ask not in self.proper}

    def laid_bare(self) -> set[str]:
        """Return the honest sites whose own sums follow from everything that was heard."""
        learned: dict[Key, set[frozenset[str]]] = {}
        for attempt in self.attempts:
            for key, sites in attempt.learned():
                learned.setdefault(key, set()).add(sites)
        return {site for sets in learned.values() for site in self.honest if _follows(site, sets, self.honest)}


def agreed(quorum: int, sites: int, combine: str) -> Protocol:
    """Return the protocol of the study."""
    return protocol(rounds={"quorum": quorum, "combine": combine}, bounds={"sites": max(sites, 6), "examples": 500})


def _follows(site: str, sets: Iterable[frozenset[str]], honest: tuple[str, ...]) -> bool:
    """Say whether one site's sums are a combination of totals that are known."""
    known = np.array([[float(name in one) for name in honest] for one in sets]).T
    wanted = np.array([float(name == site) for name in honest])
    return bool(np.allclose(known @ np.linalg.lstsq(known, wanted, rcond=None)[0], wanted, atol=1e-6))


class Attempt:
    """Be one attempt, led by the coordinator step by step.

    Attributes:
        said: what each site said, by stage.
        told: what each site was told, by stage.
        truth: the sums that each honest site hid in its answer.
        asked: digest of what each honest site worked on.
        revealed: every reply to the last step, in order.
    """

    def __init__(self, evil: Coordinator, number: int, sites: Iterable[str] = (), names: Iterable[str] = (), **changes: Any) -> None:
        self.names = sorted(names or evil.sites)
        changes |= {"roster": digest_json(self.names)} if names else {}
        self.evil, self.number, self.sites, self.changes = evil, number, tuple(sites) or evil.sites, changes
        self.said: dict[str, dict[str, Any]] = {stage: {} for stage in STAGES}
        self.told: dict[str, dict[str, Mapping[str, Any]]] = {stage: {} for stage in STAGES}
        self.truth: dict[str, Arrays] = {}
        self.asked: dict[str, str] = {}
        self.tasks: dict[str, Task] = {}
        self.layout: Layout = ()
        self.revealed: list[tuple[str, Mapping[str, Any]]] = []
        evil.attempts.append(self)

    def step(self, stage: Stage, *sites: str, told: Told = None, **changes: Any) -> Self:
        """Take sites through an exchange; tell them what an honest coordinator would, or something else."""
        for site in sites or self.here(stage):
            relay = told(site) if callable(told) else self.passed(stage, site) if told is None else told
            task = self.evil.task(site, stage, self.number, relay, **{**self.changes, **changes})
            self.told[stage][site] = relay
            self.tasks.setdefault(site, task)
            said = self.evil.say(task)
            if said is None:
                continue
            self.said[stage][site] = said
            self.revealed += [(site, said)] if stage == "open" else []
            if stage == "answer":
                self.layout = task.body.layout
            if stage == "answer" and site in self.evil.gates:
                answered = self.evil.gates[site].state.answered(task.phase)
                assert answered is not None
                self.truth[site], self.asked[site] = from_bytes(answered.update.body), task.ask
        return self

    def here(self, stage: Stage) -> list[str]:
        """Return the sites that spoke in the exchange before."""
        return [one for one in self.sites if stage == "keys" or one in self.said[STAGES[STAGES.index(stage) - 1]]]

    def to(self, stage: Stage, *sites: str) -> Self:
        """Take sites honestly through all exchanges that are left, up to this one."""
        for one in STAGES[: STAGES.index(stage) + 1]:
            if not self.said[one]:
                self.step(one, *sites)
        return self

    def passed(self, stage: Stage, site: str) -> Mapping[str, Any]:
        """Return what an honest coordinator passes on."""
        said = self.said
        if stage == "keys":
            return {"roster": self.names}
        if stage == "shares":
            return {"adverts": self.adverts()}
        if stage == "answer":
            return {"shares": {owner: sealed[site] for owner, sealed in said["shares"].items() if site in sealed}}
        later: dict[str, dict[str, Any]] = {"agree": {"survivors": sorted(said["answer"])}, "open": {"signatures": dict(said["agree"])}}
        return later.get(stage, {})

    def adverts(self, **changes: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
        """Return the list of adverts, some changed, added, or left out (None)."""
        found = {**self.said["keys"], **changes}
        return [one for _, one in sorted(found.items()) if one is not None]

    def listed(self, site: str) -> tuple[str, dict[str, Advert]]:
        """Return the bond and the list of adverts as one site was told."""
        adverts = {one["site"]: Advert(**one) for one in self.told["shares"][site]["adverts"]}
        return str(vars(machine)["list_bond"](bond_of(self.tasks[site]), adverts)), adverts

    def puppet_signs(self, site: str, masking: Iterable[str], survivors: Iterable[str]) -> dict[str, str]:
        """Return each puppet's signature under whatever a site was told to agree to."""
        payload = agreement(self.listed(site)[0], masking, survivors)
        return {one.name: keys.sign(one.signing, payload) for one in self.evil.puppets}

    def total(self) -> Total:
        """Open the total that stands; as an honest coordinator does."""
        first = self.sites[0]
        _, adverts = self.listed(first)
        sealed = {owner: {site: Sealed(**one) for site, one in by.items()} for owner, by in self.said["shares"].items()}
        survivors = frozenset(self.told["agree"][first]["survivors"])
        opening = Opening(bond_of(self.tasks[first]), adverts, sealed, survivors, threshold(len(adverts), self.evil.protocol.rounds.quorum))
        for site, said in self.said["open"].items():
            opening.take(site, Revealed(**said))
        hidden = {name: np.zeros(shape, kind) for name, (kind, shape) in masked_specs(self.layout).items()}
        for number, name in enumerate(hidden):
            for site in survivors:
                hidden[name] += self.said["answer"][site][name]
            add(opening.masks(), number, hidden[name])
        integers = {term.name: hidden[term.name].view(f"int{term.bits}") for term in self.layout}
        proof = (tuple(sorted(survivors)), dict(self.said["agree"]), tuple(f"{one:x}" for one in hidden[NAME].tolist()))
        return Total(self.layout, integers, decoded(self.layout, integers), len(survivors), (), proof)

    def learned(self) -> list[tuple[Key, frozenset[str]]]:
        """Return each set of honest sites whose sum comes out once every mask is taken off that can be."""
        bare = {site: self._stripped(site) for site in self.truth}
        found = []
        for count in range(1, len(bare) + 1):
            for sites in combinations(sorted(bare), count):
                task = self.tasks[sites[0]]
                if all(self._comes_out(term.name, [bare[one] for one in sites], sites) for term in self.layout):
                    found.append(((task.phase, task.round, self.asked[sites[0]]), frozenset(sites)))
        return found

    def _comes_out(self, name: str, bare: Iterable[Mapping[str, np.ndarray]], sites: Iterable[str]) -> bool:
        kind = masked_specs(self.layout)[name][0]
        found = np.add.reduce([one[name] for one in bare], dtype=kind)
        return np.array_equal(found, np.add.reduce([np.asarray(self.truth[one][name]).view(kind) for one in sites], dtype=kind))

    def _stripped(self, site: str) -> dict[str, np.ndarray]:
        """Return a masked answer without the masks whose keys are known."""
        bond, adverts = self.listed(site)
        secrets, masks = self._secrets(), []
        seed = self._joined(site, "seed")
        if seed is not None:
            masks.append(Mask(keys.derived(seed, bond, "self", site), -1))
        for other in self.told["answer"][site]["shares"]:
            pair = (adverts[site].mask, adverts[other].mask)
            mine = next(((secrets[one], two) for one, two in (pair, pair[::-1]) if one in secrets), None)
            if other != site and mine is not None:
                key = keys.agreed(mine[0], bytes.fromhex(mine[1]), bond, "mask", (site, other))
                masks.append(Mask(key, -1 if site < other else 1))
        found = {name: np.array(self.said["answer"][site][name]) for name in masked_specs(self.layout)}
        for number, name in enumerate(found):
            add(masks, number, found[name])
        return found

    def _secrets(self) -> dict[str, bytes]:
        """Return the mask keys that are known, by their public half."""
        found = {keys.public_of(bytes.fromhex(one.mask)).hex(): bytes.fromhex(one.mask) for by in self.evil.puppets for one in by.sessions}
        for site in self.said["shares"]:
            secret = self._joined(site, "key")
            if secret is not None:
                found[keys.public_of(secret).hex()] = secret
        return found

    def _joined(self, owner: str, what: str) -> bytes | None:
        """Return a site's secret if enough of its shares were revealed, or sealed for puppets."""
        if owner not in self.told["shares"] or owner not in self.said["shares"]:
            return None
        bond, adverts = self.listed(owner)
        points = {name: point for point, name in enumerate(sorted(adverts), start=1)}
        shares = {points[one]: bytes.fromhex(said[what][owner]) for one, said in self.revealed if owner in said[what] and one in points}
        for name, text in self._sealed_for_puppets(owner, bond, adverts):
            size = shamir.SHARE_BYTES
            shares[points[name]] = text[:size] if what == "seed" else text[size : 2 * size]
        bond = bond_of(self.tasks[owner])
        for count in range(2, len(shares) + 1):
            try:
                secret = shamir.join(dict(sorted(shares.items())[:count]))
            except ValueError:
                continue
            if what == "seed" and keys.commitment(bond, "seed", owner, value=secret) == adverts[owner].seed:
                return secret
            if what == "key" and keys.public_of(secret).hex() == adverts[owner].mask:
                return secret
        return None

    def _sealed_for_puppets(self, owner: str, bond: str, adverts: Mapping[str, Advert]) -> Iterable[tuple[str, bytes]]:
        channels = {keys.public_of(bytes.fromhex(one.channel)).hex(): one.channel for by in self.evil.puppets for one in by.sessions}
        for name, sealed in self.said["shares"][owner].items():
            if adverts[name].channel in channels and owner in self.evil.gates:
                secret = bytes.fromhex(channels[adverts[name].channel])
                key = keys.agreed(secret, bytes.fromhex(adverts[owner].channel), bond, "channel", (owner, name))
                about = canonical({"bond": bond, "from": owner, "to": name})
                yield name, keys.unlock(key, bytes.fromhex(sealed["text"]), about)
