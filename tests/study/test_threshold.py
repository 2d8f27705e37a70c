"""How many sites a total takes: more than two thirds, the quorum, three."""

from __future__ import annotations

import pytest

from wardround.study.threshold import IN_GROUPS, LEAST, allies_in_groups, threshold


@pytest.mark.parametrize(
    ("sites", "quorum", "least"), [(1, 1, 3), (2, 1, 3), (3, 1, 3), (4, 1, 3), (5, 3, 4), (6, 3, 5), (9, 3, 7), (10, 3, 7), (10, 9, 9)]
)
def test_a_total_takes_so_many(sites: int, quorum: int, least: int) -> None:
    assert threshold(sites, quorum) == least


def test_two_totals_share_more_sites_than_may_be_hostile() -> None:
    for sites in range(LEAST, 200):
        assert 2 * threshold(sites, 1) - sites > (sites - 1) // 3


def test_in_groups_two_helpers_are_withstood_however_many_sites_there_are() -> None:
    assert {allies_in_groups(sites) for sites in range(IN_GROUPS, 100)} == {2, 3}
    assert allies_in_groups(IN_GROUPS) == 2, "which is what the study's page says"
