"""Repeat what the coordinator computes, and work on nothing else: the coordinator that can be checked.

A site begins each phase itself, from the signed protocol and the initial parameters that stand in it by digest. For every round that closed
it takes the published total, holds it against what it knows of that round, repeats `advance`, and compares; and it works out itself what
it is asked. So a coordinator can neither send sites a model of its own choosing nor different models to different sites.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from wardround.combining.deflated import total_of
from wardround.combining.secure import keys
from wardround.combining.secure.groups import Party
from wardround.combining.secure.masked import Bucketed, Secure, grouped_sums
from wardround.combining.secure.seal import fits
from wardround.combining.secure.session import Session
from wardround.combining.secure.vouching import Behind, numbered, opened_groups, vouchers
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import agreement, read_roster
from wardround.site.sessions import Said, Sessions
from wardround.site.states import States
from wardround.study.arrays import Arrays, Specs, arrays_digest, from_bytes, under
from wardround.study.errors import VerificationError
from wardround.study.files import Data
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Layout
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import NOTHING, Ask, Done, RoundClosed, State, Task, Total
from wardround.study.threshold import IN_A_GROUP, IN_GROUPS

_STEP = "follow"


@dataclass
class Following:
    """Hold how far a site has followed a study.

    Attributes:
        protocol: the plan it approved.
        sessions: what it remembers of its secure sums.
        states: where each phase stands.
    """

    protocol: Protocol
    sessions: Sessions
    states: States
    _asked: Ask | None = field(default=None, init=False, repr=False)
    _turn: tuple[str, int] = field(default=("", 0), init=False)

    def prepared(self, task: Task) -> Task:
        """Follow the rounds that closed, and return the task with what this site itself finds it must be asked.

        Raises:
            Broken: the coordinator published, or asks, something that does not follow from the rounds before.
        """
        try:
            roster = _first(self.protocol, self.sessions, task)
            for closing in task.closed:
                self._close(closing, task.supplies or {}, roster)
            ask = NOTHING if task.stage == "close" else self._expected(task)
            self.states.save()
            if task.stage == "keys" and roster:
                self.sessions.put_roster(roster)
            if task.stage == "close":
                self.sessions.forget()
        except Broken:
            raise
        except VerificationError as error:
            raise Broken.at(_STEP, error.message) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Broken.at(_STEP, f"the closings cannot be followed ({type(error).__name__})") from error
        finally:
            self.states.drop()  # what did not lead to what is asked was not so
        return replace(task, body=ask) if task.stage in ("answer", "open") else task

    def behind(self, phase: str) -> Behind:
        """Say whether this site itself checked the last total behind where a phase stands; where there was none, there is nothing to check.

        Others cannot know a total that they had no part in. So each says this with its keys, and all work on only if enough say yes.
        """
        return self.states.behind(self._number(phase))

    def _expected(self, task: Task) -> Ask:
        """Return what this site must be asked in a round; refuse a task that asks anything else."""
        if self._asked is not None and self._turn == (task.phase, task.round):
            ask = self._asked
        else:
            state = self._reach(task.phase, task.supplies or {})
            if not isinstance(state, State) or state.round != task.round:
                raise Broken.at(_STEP, f"{task.phase}, round {task.round + 1}, is not what comes next")
            ask = self.protocol.by_phase[task.phase].ask(state)
        if (ask.digest, ask.layout_digest) != (task.ask, task.layout):
            raise Broken.at(_STEP, "what is asked does not follow from the protocol and the published totals")
        if ask is not self._asked:
            self._asked, self._turn = self.states.filed(ask), (task.phase, task.round)
        return self._asked

    def _close(self, closing: RoundClosed, supplies: Mapping[str, Data], roster: frozenset[str]) -> None:
        """Repeat one round, unless that was done before."""
        combiner, number = self.protocol.combiner, self._number(closing.phase)
        if isinstance(combiner, Bucketed) and not roster:
            return  # this site was never asked; it is told only that the study has ended
        state = self._reach(closing.phase, supplies)
        if isinstance(state, Done) or state.round > closing.round:
            return
        if state.round < closing.round:
            raise Broken.at(_STEP, f"round {state.round + 1} of {closing.phase} is left out")
        sites = _plausible(closing, self.protocol, roster)
        layout = self.protocol.by_phase[closing.phase].ask(state).layout
        parties = _parties(self.protocol, roster)
        groups = opened_groups(parties, closing.survivors) if parties else {}
        if groups:
            numbered(groups, closing.seal)
        integers = _published(closing, supplies, _specs(combiner.specs(layout, sites), groups))
        sums = grouped_sums(layout, integers, groups) if groups else combiner.sums(layout, integers, sites)
        sealed = combiner.hides == "exchanges"  # a total of one message carries no seal, nor does a plain one
        checked = sealed and _held(closing, layout, integers, self.sessions.last(closing.phase, Session.from_json))
        new = self.protocol.by_phase[closing.phase].advance(state, Total(layout, integers, sums, sites, closing.receipts))
        if new.digest != closing.state:
            raise Broken.at(_STEP, "the coordinator went on from another state than the published total gives")
        self.states.put(number, new, self.states.behind(number).after(closing, checked, vouchers(parties, groups), roster))

    def _reach(self, phase: str, supplies: Mapping[str, Data]) -> State | Done:
        """Return where a phase stands; begin it if every phase before it is done."""
        algorithms, number = self.protocol.algorithms, self._number(phase)
        earlier = {algorithm.phase: self._ended(algorithm, supplies) for algorithm in algorithms[:number]}
        found = self.states.done(number, phase) or self.states.state(number, phase)
        if found is None:
            earlier["initial"] = Done("initial", 0, self._initial(supplies))
            rng = Stream.public(self.protocol.evaluation.seed).child("phase", phase)
            found = algorithms[number].begin(self.protocol, earlier, rng)
            self.states.put(number, found, self.states.behind(number - 1) if number else Behind())
        return found

    def _ended(self, algorithm: Algorithm, supplies: Mapping[str, Data]) -> Done:
        """Return what an earlier phase came to.

        One that ended without a total had no site that could answer it. A site that could not answer either vouches for that, no other.
        """
        number = self._number(algorithm.phase)
        done = self.states.done(number, algorithm.phase)
        if done is not None:
            return done
        state = self._reach(algorithm.phase, supplies)
        done = state if isinstance(state, Done) else algorithm.cut_short(state)
        if done is None:
            raise Broken.at(_STEP, f"{algorithm.phase} has not come to its end")
        behind = self.states.behind(number)
        vouches = behind.checked and self.sessions.failed(algorithm.phase, state.round)
        self.states.put(number, done, replace(behind, checked=vouches))
        return done

    def _initial(self, supplies: Mapping[str, Data]) -> Arrays:
        """Return the initial parameters that stand in the protocol."""
        kept, wanted = self.states.initial(), self.protocol.initial["model"]
        if kept is not None:
            return kept
        found = from_bytes(supplies[wanted]) if wanted in supplies else {}
        if arrays_digest(found) != wanted:
            raise Broken.at(_STEP, "the initial parameters are not there, or not those of the protocol")
        self.states.put_initial(found)
        return found

    def _number(self, phase: str) -> int:
        found = [number for number, one in enumerate(self.protocol.algorithms) if one.phase == phase]
        if not found:
            raise Broken.at(_STEP, "the protocol has no such phase")
        return found[0]


def _first(protocol: Protocol, sessions: Sessions, task: Task) -> frozenset[str]:
    """Return the sites of the study's first round; where all give sums together, the first list that a site hears of stands from here on.

    How many sites must be in a total follows from it, and how they are divided into groups: else a coordinator that asks fewer each time
    could open two totals of one round with different sites, or try lists until the division suits it. It has to stand before anything is
    followed by it: else totals of groups could be vouched for by one list and groups be of another. It is kept once nothing was refused.
    """
    first = sessions.roster()
    if task.stage != "keys" or not isinstance(protocol.combiner, Secure):
        return first
    names = frozenset(read_roster(task))
    if first and not first.issuperset(names):
        raise Broken.at("keys", "a site is asked that was not among those of the first round")
    if isinstance(protocol.combiner, Bucketed):
        _whole(first, names, task.site)
    return first or names


def _whole(first: frozenset[str], names: frozenset[str], site: str) -> None:
    """Refuse to be divided anew, or into fewer groups than it takes."""
    if first and names != first:
        raise Broken.at("keys", "the list is not that of the first round, so the sites would be divided into other groups")
    if len(names) < IN_GROUPS or site not in names:
        raise Broken.at("keys", f"{len(names)} sites are too few for groups of {IN_A_GROUP}, or this site is not among them")


def _parties(protocol: Protocol, roster: frozenset[str]) -> tuple[Party, ...]:
    """Return the groups of the study; none where all sites are one."""
    if not isinstance(protocol.combiner, Bucketed):
        return ()
    if len(roster) < IN_GROUPS:
        raise Broken.at(_STEP, f"{len(roster)} sites make no groups")
    return protocol.combiner.divided(protocol.digest, sorted(roster))


def _plausible(closing: RoundClosed, protocol: Protocol, roster: frozenset[str]) -> int:
    """Return of how many sites a total is; refuse one of sites that cannot be: too few, too many, twice, or never asked."""
    names = closing.survivors if protocol.hides else closing.receipts
    if list(names) != sorted(set(names)) or not protocol.rounds.quorum <= len(names) <= protocol.bounds.sites:
        raise Broken.at(_STEP, "the published total is said to be of sites that it cannot be of")
    if roster and not roster.issuperset(closing.survivors):
        raise Broken.at(_STEP, "the published total is said to be of a site that was not among those of the first round")
    return len(names)


def _specs(each: Specs, groups: Collection[int]) -> Specs:
    """Return type and shape of each array of a published total; of groups one after the other, where sites are divided."""
    return {f"{number}/{name}": spec for number in groups for name, spec in each.items()} if groups else each


def _published(closing: RoundClosed, supplies: Mapping[str, Data], specs: Specs) -> Arrays:
    """Return the published total of a closing."""
    integers = total_of(supplies[closing.total], specs) if closing.total in supplies else {}
    if arrays_digest(integers) != closing.total:
        raise Broken.at(_STEP, "the published total is not the one of the closing")
    return integers


def _held(closing: RoundClosed, layout: Layout, integers: Arrays, said: Said[Session] | None) -> bool:
    """Hold a total against this site's part in it; return False where it had none, and others have to vouch."""
    if said is None or said.turn != (closing.round, closing.attempt) or not said.session.survivors:
        return False
    session = said.session
    own = tuple(site for site in closing.survivors if site in session.group)
    if not own and session.number >= 0:
        return False  # its whole group was left out
    if own != tuple(sorted(session.survivors)):
        raise Broken.at(_STEP, "the published total is said to be of other sites than this site agreed to")
    payload = agreement(session.listed, session.shares, session.survivors)
    identities = {site: session.adverts[site].identity for site in session.survivors}
    agreed = [site for site, one in closing.agreed.items() if site in identities and keys.signed(identities[site], payload, one)]
    if len(agreed) < session.threshold:
        raise Broken.at(_STEP, "the published total does not carry the signatures of enough sites that are in it")
    start = "" if session.number < 0 else f"{session.number}/"
    seal = [one.removeprefix(start) for one in closing.seal if one.startswith(start)]
    mine = integers if not start else under(integers, start[:-1])
    if not fits(session.common(), session.survivors, layout, mine, seal):
        raise Broken.at(_STEP, "the published total is not what the sites' sums came to")
    return True
