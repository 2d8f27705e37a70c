"""Who must vouch for a total, and which sites a published total of groups may be of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.combining.secure.groups import groups_of, parties
from wardround.combining.secure.seal import LENGTH
from wardround.combining.secure.vouching import Behind, numbered, opened_groups, vouchers
from wardround.combining.secure.wording import Broken
from wardround.study.canonical import digest
from wardround.study.task import RoundClosed
from wardround.study.threshold import allies_in_groups

NAMES = tuple(f"site{number:02d}" for number in range(16))
PARTIES = parties(groups_of(digest(b"protocol"), NAMES))
CLOSING = RoundClosed("train", 0, 0, ("aa",), digest(b"total"), digest(b"state"), "", NAMES, {"site00": "bb"}, ("cc",))
WHOLE = opened_groups(PARTIES, NAMES)
NEEDED = vouchers(PARTIES, WHOLE)


def members(number: int) -> tuple[str, ...]:
    return tuple(sorted(PARTIES[number].sites))


def said(behind: Behind, *silent: str) -> dict[str, str]:
    return {site: "no" if site in silent else behind.word for site in NAMES}


# what is said


def test_where_all_are_one_sum_a_site_says_yes_or_no_and_most_must_say_yes() -> None:
    behind = Behind().after(CLOSING, True, ())
    assert behind == Behind(True, "yes", ()) and behind.says == "yes"
    assert Behind().after(CLOSING, False, ()).says == "no"
    assert not behind.missing(said(behind, *NAMES[:7]))
    assert behind.missing(said(behind, *NAMES[:8])).startswith("8 of 16 sites checked the last total themselves, more than half")


@pytest.mark.parametrize(
    "changes",
    [
        {"total": digest(b"other")},
        {"state": digest(b"other")},
        {"survivors": NAMES[1:]},
        {"attempt": 1},
        {"round": 1},
        {"phase": "local"},
    ],
)
def test_the_word_is_another_for_other_closings(changes: dict[str, object]) -> None:
    behind = Behind().after(CLOSING, True, NEEDED)
    other = Behind().after(replace(CLOSING, **changes), True, NEEDED)  # type: ignore[arg-type]
    assert len(behind.word) == 64 and other.word != behind.word
    assert other.after(CLOSING, True, NEEDED).word != behind.after(CLOSING, True, NEEDED).word, "all closings count, not only the last"
    assert Behind().after(CLOSING, False, NEEDED).word == behind.word
    assert "0 of the" in behind.missing(said(other)), "who followed something else does not vouch for this"


@pytest.mark.parametrize("number", range(3))
def test_of_each_group_one_fewer_than_its_threshold_must_vouch(number: int) -> None:
    behind, group = Behind().after(CLOSING, True, NEEDED), members(number)
    spare = len(group) - (PARTIES[number].quorum - 1)
    assert not behind.missing(said(behind, *group[:spare]))
    reason = behind.missing(said(behind, *group[: spare + 1]))
    assert reason.startswith(f"{len(group) - spare - 1} of the {len(group)} sites in the last total of one group ({', '.join(group)})")
    assert f"{len(group) - spare} are needed" in reason


def test_sites_of_other_groups_do_not_vouch_for_a_group() -> None:
    behind = Behind().after(CLOSING, True, vouchers(PARTIES, {**WHOLE, 1: members(1)[:4]}))
    assert not behind.missing(said(behind, members(1)[4]))
    assert behind.missing(said(behind, *members(1)[:2]))


@given(st.integers(15, 400))
def test_more_must_vouch_than_may_help_the_coordinator(count: int) -> None:
    groups = parties(groups_of(digest(b"protocol"), [f"s{number:03d}" for number in range(count)]))
    assert {5, 6, 7} >= {len(party.sites) for party in groups}
    assert min(party.quorum - 1 for party in groups) > allies_in_groups(count) >= 2
    for party in groups:
        helpers, size = allies_in_groups(count), len(party.sites)
        assert party.quorum - helpers >= 2, "two others are in each total"
        assert 2 * (party.quorum - helpers) > size - helpers, "two different totals would need an honest site twice"


@pytest.mark.parametrize("behind", [Behind(), Behind(False), Behind().after(CLOSING, False, NEEDED)])
def test_what_is_written_down_is_read_again(behind: Behind) -> None:
    assert Behind.of(behind.described) == behind
    assert Behind.of({"checked": behind.checked}) == Behind(behind.checked), "as earlier releases wrote it"


# what is published


def test_a_group_may_be_left_out_or_smaller() -> None:
    parties_of_four = parties(groups_of(digest(b"protocol"), [f"s{number}" for number in range(10, 30)]))
    out = parties_of_four[2].sites
    left = sorted({site for party in parties_of_four for site in party.sites} - out)
    assert set(opened_groups(parties_of_four, left)) == {0, 1, 3}
    short = next(iter(parties_of_four[0].sites))
    assert len(opened_groups(parties_of_four, [site for site in left if site != short])[0]) == 4


@pytest.mark.parametrize(
    ("survivors", "reason"),
    [
        ([*NAMES, "site99"], "of a site that belongs to no group"),
        ([site for site in NAMES if site not in members(1)[:2]], r"group 1 is said to be opened with [34] sites, [45] are needed"),
        ([site for site in NAMES if site not in members(2)], "2 groups are said to be opened, 3 are needed"),
        ([], "0 groups are said to be opened"),
    ],
)
def test_a_total_of_sites_that_it_cannot_be_of_is_refused(survivors: list[str], reason: str) -> None:
    with pytest.raises(Broken, match=f"^secure sum, follow: .*{reason}"):
        opened_groups(PARTIES, survivors)


SEAL = tuple(f"{number}/{one:x}" for number in WHOLE for one in range(LENGTH))


def test_the_seals_of_all_groups_whole_and_in_order_are_taken() -> None:
    numbered(WHOLE, SEAL)


@pytest.mark.parametrize("seal", [SEAL[1:], SEAL[:-LENGTH], (*SEAL, "3/0"), SEAL[::-1], tuple(one.replace("/", "") for one in SEAL), ()])
def test_other_seals_are_refused(seal: tuple[str, ...]) -> None:
    with pytest.raises(Broken, match="seals are not those of the groups"):
        numbered(WHOLE, seal)
