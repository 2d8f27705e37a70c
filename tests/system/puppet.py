"""Be a hospital that helps a hostile coordinator, or one that it made up: its keys are the coordinator's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.combining.secure import session as machine  # its names, as a test may have weakened them
from wardround.combining.secure.bodies import masked_specs
from wardround.combining.secure.groups import Party
from wardround.combining.secure.masks import add
from wardround.combining.secure.seal import NAME, seal
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import bond_of
from wardround.study.canonical import canonical
from wardround.study.layout import Layout
from wardround.study.task import Task

EVERYBODY = Party(frozenset(f"site{number}" for number in range(20)), 0)


@dataclass
class Puppet:
    """Be a site whose keys the coordinator holds; it gives sums of nought.

    Attributes:
        name: of the site.
        signing: its identity.
        sessions: every step that it has taken.
        party: tells among whom it masks, and for what it vouches.
    """

    name: str
    signing: Ed25519PrivateKey
    sessions: list[machine.Session] = field(default_factory=list)
    party: Callable[[Task], tuple[Party, Behind]] = lambda task: (EVERYBODY, Behind())

    def say(self, task: Task, layout: Layout) -> Any:
        """Say what the step wants, from whichever session fits; None if none does."""
        if task.stage == "keys":
            party, behind = self.party(task)
            session, said = machine.begin(task, party, self.signing, behind)
            self.sessions.append(session)
            return json.loads(said)["adverts"][0]
        for session in [one for one in reversed(self.sessions) if one.bond == bond_of(task)]:
            try:
                session, said = machine.follow(session, task.stage, task.relay, self.signing, {})
            except Broken:
                continue
            self.sessions.append(session)
            return self._nought(session, layout) if task.stage == "answer" else parsed(task, said)
        return None

    def advert(self, task: Task) -> dict[str, Any]:
        """Make keys for an attempt and return the advert."""
        return dict(self.say(replace(task, stage="keys", site=self.name, relay=b""), ()))

    def seals(self, task: Task, adverts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Return shares sealed for everybody in a list of adverts."""
        return dict(self.say(replace(task, stage="shares", site=self.name, relay=canonical({"adverts": list(adverts)})), ()))

    def _nought(self, session: machine.Session, layout: Layout) -> dict[str, np.ndarray]:
        made = {name: np.zeros(shape, kind) for name, (kind, shape) in masked_specs(layout).items()}
        made[NAME] = seal(session.common(), self.name, layout, {term.name: made[term.name].view(f"i{term.bits // 8}") for term in layout})
        for number, name in enumerate(made):
            add(session.masks(), number, made[name])
        return made


def parsed(task: Task, said: bytes) -> Any:
    """Return what is in a message that is no answer."""
    found = json.loads(said)
    return found["shares"] if task.stage == "shares" else found["signature"][task.site] if task.stage == "agree" else found
