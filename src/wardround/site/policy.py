"""Decide what this site lets happen, whatever a coordinator asks: deny is the default."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from wardround.combining.secure.window import identities, read_helpers
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import read_adverts
from wardround.record.note import fingerprint
from wardround.site.rules import FILE, Rules
from wardround.site.telling import Telling
from wardround.study.arrays import Arrays, Lazy
from wardround.study.errors import PolicyRefused, WardroundError
from wardround.study.plugins import find
from wardround.study.protocol import Protocol
from wardround.study.task import Task

_COUNTS = "Use the secure sum, or state privacy.counts = true in the protocol so that every site can judge it."


@dataclass(frozen=True)
class Policy:
    """Hold the site's own rules.

    Attributes:
        approved: digests of the protocols that this site has signed.
        simulation: all sites are on one machine and nothing leaves it; counts may then pass in plain sums.
    """

    approved: frozenset[str] = frozenset()
    simulation: bool = False

    def permit(self, protocol: Protocol, task: Task, now: datetime.datetime) -> None:
        """Let something be answered, or refuse it.

        Args:
            protocol: the plan that the task quotes.
            task: with what is asked.
            now: at the site, local time.

        Raises:
            PolicyRefused: it names the reason and a remedy.
        """
        if protocol.digest not in self.approved:
            raise PolicyRefused("this site has not approved this protocol", "Review and approve the protocol first, or leave the study.")
        if protocol.parties.expires is not None and now.date() > protocol.parties.expires:
            raise PolicyRefused("the study has expired", "Ask the coordinating centre for an amended protocol and approve it.")
        counts = [term.name for term in task.body.layout if term.kind == "count" and term.shape]
        if counts and not (self.simulation or protocol.privacy.counts or protocol.hides):
            raise PolicyRefused(f"{counts[0]} would show counts under 10 in a plain sum", _COUNTS)

    def tell(self, task: Task, proposal: Arrays | None, now: datetime.datetime) -> None:
        """Note that an answer is about to leave, or refuse it, where the hospital counts what its patients are asked."""

    def beside(self, mine: Mapping[str, Arrays]) -> Mapping[str, Arrays]:
        """Return what a worker is to know: what the site kept of each phase, and what else a hospital holds beside it."""
        return mine


@dataclass(frozen=True)
class HospitalPolicy(Policy):
    """Hold the hospital's `policy.toml` beside what it approved.

    Attributes:
        rules: read from the file.
        source: kind of source that the rows came from.
        patients: in the snapshot.
        telling: holds tables against what other studies of these patients were told; None where nothing is asked for.
    """

    rules: Rules = field(kw_only=True)
    source: str = field(kw_only=True)
    patients: int = field(kw_only=True)
    telling: Telling | None = field(default=None, kw_only=True)

    def permit(self, protocol: Protocol, task: Task, now: datetime.datetime) -> None:
        """Let something be answered that the protocol's algorithm asks as well, and that the hospital's own rules allow."""
        super().permit(protocol, task, now)
        if protocol.rehearsal and not find("source", self.source).synthetic:
            raise PolicyRefused("a rehearsal is answered with made-up rows only", "Rehearse with: wardround site rehearse.")
        if task.stage == "answer":
            _planned(protocol, task)
        self.rules.permit(protocol, task.body.layout, self.source, self.patients, now)
        if self.telling is not None:
            self.telling.permit(now.timestamp())
        self._known(task, window=protocol.combiner.hides == "window")

    def tell(self, task: Task, proposal: Arrays | None, now: datetime.datetime) -> None:
        """Note in the hospital's ledger what is about to leave; refuse what other studies have made too much in the meantime."""
        if self.telling is not None:
            self.telling.note(task, proposal, now.timestamp())

    def beside(self, mine: Mapping[str, Arrays]) -> Mapping[str, Arrays]:
        """Add what other studies of the same patients were told."""
        return mine if self.telling is None else self.telling.beside(mine)

    def _known(self, task: Task, window: bool) -> None:
        """Refuse a secure sum with a site that this hospital does not accept.

        Raises:
            Broken: names the site, with its fingerprint.
        """
        for other, identity in _others(task, window).items():
            if other != task.site and not self.rules.accepts(other, identity):
                found = f"site {other} with the fingerprint {fingerprint(identity)} is not accepted by this hospital's rule sites"
                raise Broken.at(task.stage, found, f"Compare the fingerprint by telephone; if it is right, name the site in {FILE}.")


def _others(task: Task, window: bool) -> dict[str, str]:
    """Return the identities of other sites that a task tells of, by name."""
    if window and task.stage == "agree":
        return identities(task.relay)
    if window and task.stage == "answer":
        return {other: one.identity for other, one in read_helpers(task.stage, task.relay).items()}
    return {other: one.identity for other, one in read_adverts(task.stage, task.relay).items()} if task.stage == "shares" else {}


def _planned(protocol: Protocol, task: Task) -> None:
    """Refuse what this site's own algorithm would not ask: which sums are counts, and their limits, is not for the asker to say."""
    ask = task.body
    try:
        planned = protocol.by_phase[task.phase].planned(replace(ask, arrays=_blank(ask.arrays), layout=()), task.round)
        same = planned.layout_digest == ask.layout_digest and dict(planned.options) == dict(ask.options)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, WardroundError):
        same = False  # nothing can be asked with such arrays and options
    if not same:
        raise PolicyRefused("the task asks for other sums than the protocol's algorithm", "Report this to the coordinating centre.")


def _blank(arrays: Arrays) -> Arrays:
    """Return arrays of these names, types and shapes that hold nothing and take no memory."""
    specs = arrays.specs if isinstance(arrays, Lazy) else {name: (value.dtype, value.shape) for name, value in arrays.items()}
    return Lazy(specs, lambda name: np.broadcast_to(np.zeros((), specs[name][0]), specs[name][1]))
