"""Decide what this site lets happen, whatever a coordinator asks: deny is the default."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from wardround.site.rules import Rules
from wardround.study.errors import PolicyRefused
from wardround.study.protocol import Protocol
from wardround.study.task import Layout

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

    def permit(self, protocol: Protocol, layout: Layout, now: datetime.datetime) -> None:
        """Let something be answered, or refuse it.

        Args:
            protocol: the plan that the task quotes.
            layout: the sums that are asked for.
            now: at the site, local time.

        Raises:
            PolicyRefused: it names the reason and a remedy.
        """
        if protocol.digest not in self.approved:
            raise PolicyRefused("this site has not approved this protocol", "Review and approve the protocol first, or leave the study.")
        if protocol.parties.expires is not None and now.date() > protocol.parties.expires:
            raise PolicyRefused("the study has expired", "Ask the coordinating centre for an amended protocol and approve it.")
        counts = [term.name for term in layout if term.kind == "count" and term.shape]
        if counts and not self.simulation and not protocol.privacy.counts:
            raise PolicyRefused(f"{counts[0]} would show counts under 10 in a plain sum", _COUNTS)


@dataclass(frozen=True)
class HospitalPolicy(Policy):
    """Hold the hospital's `policy.toml` beside what it approved.

    Attributes:
        rules: read from the file.
        source: kind of source that the rows came from.
        patients: in the snapshot.
    """

    rules: Rules = field(kw_only=True)
    source: str = field(kw_only=True)
    patients: int = field(kw_only=True)

    def permit(self, protocol: Protocol, layout: Layout, now: datetime.datetime) -> None:
        """Let something be answered that the hospital's own rules allow as well."""
        super().permit(protocol, layout, now)
        self.rules.permit(protocol, layout, self.source, self.patients, now)
