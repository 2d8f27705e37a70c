"""Be the coordinator in one attempt in which sites mask in groups: one `Attempt` a group, and what they have to do with each other.

Every site is shown the keys of all sites of the round, because all of them vouch for the totals behind what is asked; and no group is
opened where too few others are left, since a site helps to open one total of a round and no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from wardround.combining.secure.attempt import NOBODY, Attempt, Relays
from wardround.combining.secure.groups import LEAST, Party
from wardround.combining.secure.vouching import NO, YES, Behind, Vouchers
from wardround.combining.secure.words import Advert
from wardround.study.task import Refusal, Short, Stage, Task


@dataclass
class Together:
    """Hold what the groups of one attempt share.

    Attributes:
        roster: all sites of the study's first round.
        behind: who was in the last closing, by group, and how many of them must vouch.
        quorum: of the protocol.
        why: no group is opened; empty while that is not so.
        adverts: keys by site, of all groups.
    """

    roster: Sequence[str]
    behind: Vouchers
    quorum: int
    why: str = ""
    adverts: dict[str, Advert] = field(default_factory=dict)
    attempts: list[GroupAttempt] = field(default_factory=list)

    def judge(self, stage: Stage) -> None:
        """Before an exchange: see whether it is asked in vain."""
        alive = [attempt for attempt in self.attempts if not attempt.over]
        if self.why or stage == "keys":
            return
        if len(alive) < LEAST:
            self.why = f"{len(alive)} groups were left, and {LEAST} are needed"
        elif (here := sum(attempt.given for attempt in alive)) < self.quorum and stage in ("agree", "open"):
            self.why = f"{len(alive)} groups with {here} sites were left, and {self.quorum} sites are needed"
        elif stage == "shares":
            self.why = self._missing()

    @property
    def asked(self) -> int:
        """Return how many sites were asked."""
        return sum(attempt.asked for attempt in self.attempts)

    def waits(self) -> Short | None:
        """Return that totals stand and whom they wait for, where without them too few groups are opened and with them enough."""
        ready, later = [one for one in self.attempts if one.ready], [one for one in self.attempts if one.awaited]
        both = [*ready, *later]
        if self._suffice(ready) or not self._suffice(both):
            return None
        who = ", ".join(site for one in later for site in one.awaited)
        why = f"{len(ready)} groups were opened, and {LEAST} are needed; more of those in the others' totals must help, it waits for {who}"
        return Short(sum(one.given for one in ready), self.quorum, why, stands=True)

    def _suffice(self, attempts: Sequence[GroupAttempt]) -> bool:
        return len(attempts) >= LEAST and sum(one.given for one in attempts) >= self.quorum

    def _missing(self) -> str:
        """Return why gates would not work on; the word that most say is taken for the true one."""
        said = {site: one.checked for site, one in self.adverts.items()}
        words = Counter(one for one in said.values() if one != NO).most_common(1)
        return Behind(True, words[0][0] if words else YES, self.behind).missing(said)


class GroupAttempt(Attempt):
    """Hold one group's attempt.

    Args:
        tasks: of stage "answer", one a site of the group that is asked.
        party: the group.
        together: what it shares with the others.
        about: a task of the round, where none of the group is asked.
        identities: with which key each site joined, as far as it is known.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        party: Party,
        together: Together,
        about: Task | None = None,
        identities: Mapping[str, str] = NOBODY,
    ) -> None:
        """Begin with everybody in the group who is asked."""
        super().__init__(tasks, party.quorum, together.roster, about, identities)
        self.party, self._together = party, together
        together.attempts.append(self)

    def tasks(self, stage: Stage) -> list[Task]:
        """Return the tasks of one exchange; none when the attempt is over, here or for all groups."""
        self._together.judge(stage)
        self.over = self.over or self._together.why
        return super().tasks(stage)

    def _unvouched(self) -> list[Refusal]:
        """Leave nobody out: who vouches is counted over all groups, before shares are asked."""
        return []

    def _relays(self, stage: Stage) -> Relays:
        if stage == "shares":
            everybody = [asdict(one) for _, one in sorted(self._together.adverts.items())]
            return {site: {"adverts": everybody} for site in self._adverts}
        return super()._relays(stage)

    @property
    def _listed(self) -> Mapping[str, Advert]:
        return self._together.adverts

    def _advertised(self, site: str, said: Mapping[str, Advert]) -> None:
        super()._advertised(site, said)
        self._together.adverts[site] = said[site]
