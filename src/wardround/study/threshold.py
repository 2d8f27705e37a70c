"""Say how many sites must be in a secure sum: the one rule that sites, the coordinator and the page for people all go by."""

from __future__ import annotations

LEAST = 3
"""Fewest sites whose sum hides anything: of two, each takes away its own and holds the other's."""

IN_GROUPS = 15
"""Fewest sites that make three groups of five, among which a rule can leave any out."""

IN_A_GROUP = 5
"""Fewest sites of a group; none has more than seven."""


def threshold(sites: int, quorum: int) -> int:
    """Return how many sites must be in a total, and must help to open it.

    More than two thirds, so that two different totals of one attempt would need an honest site that helps twice; and never fewer than the
    protocol's quorum or than three.

    Args:
        sites: that take part.
        quorum: of the protocol.

    >>> threshold(10, 3)
    7
    """
    return max(2 * sites // 3 + 1, quorum, LEAST)


def allies(sites: int, quorum: int) -> int:
    """Return how many sites a hostile coordinator may have on its side and still see no other site's own sums.

    Fewer than a third of those that take part, or two different totals could be opened; and two fewer than the quorum, since a coordinator
    can ask few sites, and those that act with it take their own sums off the total: two others must be left in it.

    Args:
        sites: that take part.
        quorum: of the protocol.

    >>> allies(10, 5), allies(10, 3), allies(3, 3)
    (3, 1, 0)
    """
    return min((sites - 1) // 3, max(quorum, LEAST) - 2)


def allies_in_groups(sites: int) -> int:
    """Return how many sites a hostile coordinator may have on its side where sums are in groups, even if all of them fall into one group.

    Two fewer than must be in a group's total, so that two others are in it; and too few for two different totals of the group, each with
    enough signatures: these need other honest sites.

    Args:
        sites: of the study's first round.

    >>> allies_in_groups(15), allies_in_groups(18), allies_in_groups(19)
    (2, 3, 2)
    """
    count = max(sites // IN_A_GROUP, 1)
    sizes = {sites // count, -(-sites // count)}
    return min(min(2 * size // 3 - 1, 2 * (2 * size // 3 + 1) - size - 1) for size in sizes)
