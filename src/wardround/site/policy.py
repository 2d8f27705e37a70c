"""Decide what this site lets happen, whatever a coordinator asks: deny is the default."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from wardround.study.errors import PolicyRefused
from wardround.study.protocol import Protocol
from wardround.study.task import Layout


@dataclass(frozen=True)
class Policy:
    """Hold the site's own rules.

    Attributes:
        approved: digests of the protocols that this site has signed.
        simulation: all sites are on one machine and nothing leaves it; counts may then pass in plain sums.
    """

    approved: frozenset[str] = frozenset()
    simulation: bool = False

    def permit(self, protocol: Protocol, layout: Layout, today: datetime.date) -> None:
        """Let something be answered, or refuse it.

        Args:
            protocol: the plan that the task quotes.
            layout: the sums that are asked for.
            today: at the site.

        Raises:
            PolicyRefused: it names the reason and a remedy.
        """
        if protocol.digest not in self.approved:
            raise PolicyRefused("this site has not approved this protocol", "Review and approve the protocol first, or leave the study.")
        if protocol.parties.expires is not None and today > protocol.parties.expires:
            raise PolicyRefused("the study has expired", "Ask the coordinating centre for an amended protocol and approve it.")
        counts = [term.name for term in layout if term.kind == "count" and term.shape and not term.noise]
        if counts and not self.simulation and not protocol.privacy.counts:
            remedy = "Use the secure sum, or state privacy.counts = true in the protocol so that every site can judge it."
            raise PolicyRefused(f"{counts[0]} would show counts under 10 in a plain sum", remedy)
