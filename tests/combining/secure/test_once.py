"""Whatever a coordinator says, to whom and in whichever order: of no site does it get both secrets."""

from __future__ import annotations

from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.combining.secure.exchange import Exchange, parsed
from wardround.combining.secure import keys
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import STAGES, agreement
from wardround.study.canonical import canonical

NAMES = ("aarau", "basel", "bern", "chur", "olten")
HONEST, ALLY = NAMES[:-1], NAMES[-1]
"""The coordinator has an ally: a site whose keys and shares it has, and which signs whatever is asked of it."""

LEFT_OUT = st.one_of(st.just(frozenset[str]()), st.sets(st.sampled_from(NAMES), max_size=2).map(frozenset))


class Coordinator(RuleBasedStateMachine):
    """Be a coordinator that shows each site other lists, and takes steps again and out of order."""

    @initialize()
    def start(self) -> None:
        self.exchange = Exchange(NAMES)
        self.exchange.begin(NAMES)
        self.opened: list[tuple[str, Any]] = []
        self.agreements: dict[str, str] = {}

    @rule(site=st.sampled_from(HONEST), stage=st.sampled_from(STAGES), out=LEFT_OUT)
    def say(self, site: str, stage: str, out: frozenset[str]) -> None:
        """Take any step with one site, leaving some sites out of what it is shown."""
        self.take(site, stage, out)

    @rule(out=LEFT_OUT, others=LEFT_OUT, apart=st.sets(st.sampled_from(HONEST)))
    def go_on(self, out: frozenset[str], others: frozenset[str], apart: set[str]) -> None:
        """Take each site's next step; show some sites another thing than the rest."""
        for site in NAMES:
            stage = STAGES[min(STAGES.index(self.exchange.sessions[site].stage) + 1, 4)]
            self.take(site, stage, others if site in apart else out)

    def take(self, site: str, stage: str, out: frozenset[str]) -> None:
        try:
            said = self.exchange.follow(stage, site, self.message(site, stage, out))
        except Broken:
            return
        if stage == "open":
            event("opened")
            self.opened.append((site, parsed(said)))

    def message(self, site: str, stage: str, out: frozenset[str]) -> bytes:
        said, session = self.exchange.said, self.exchange.sessions[site]
        if stage == "answer":
            kept = {owner: parsed(one)["shares"] for owner, one in said["shares"].items() if owner not in out}
            return canonical({"shares": {owner: one[site] for owner, one in kept.items() if site in one}})
        if stage == "agree":
            return canonical({"survivors": [one for one in session.shares if one not in out]})
        if stage == "open":
            payload = agreement(session.listed, session.shares, session.survivors)
            found = {one: parsed(reply)["signature"][one] for one, reply in said["agree"].items() if one in session.survivors - out}
            found |= {ALLY: keys.sign(self.exchange.signing[ALLY], payload)}
            return canonical({"signatures": found})
        return canonical({"adverts": [parsed(one)["adverts"][0] for owner, one in said["keys"].items() if owner not in out]})

    @invariant()
    def nobody_reveals_both(self) -> None:
        for site in HONEST:
            replies = [reply for who, reply in self.opened if who == site]
            assert len(replies) <= 1
            assert not any(reply["seed"].keys() & reply["key"].keys() for reply in replies)

    @invariant()
    def no_site_is_laid_bare(self) -> None:
        """Of no honest site are there enough shares of its seed and also of its mask key."""
        for owner in HONEST:
            seeds = {who for who, reply in self.opened if owner in reply["seed"]} | {ALLY}
            secrets = {who for who, reply in self.opened if owner in reply["key"]} | {ALLY}
            least = min(session.threshold for session in self.exchange.sessions.values())
            assert len(seeds) < least or len(secrets) < least

    @invariant()
    def all_who_open_open_one_total(self) -> None:
        totals = {tuple(reply["seed"]) for who, reply in self.opened if who in HONEST}
        assert len(totals) <= 1


TestCoordinator = Coordinator.TestCase
TestCoordinator.settings = settings(max_examples=60, stateful_step_count=14, deadline=None)
