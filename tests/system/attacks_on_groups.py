"""List what a hostile coordinator tries where sums are in groups, each with the words by which honest hospitals must refuse it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.system.attacks import Attacks, stranger
from tests.system.attacks_on_sums import named
from tests.system.group_attacks import Divided, GroupedAttempt, rebuilt
from tests.system.puppet import Puppet
from wardround.combining.secure.seal import LENGTH
from wardround.study.task import Total

ATTACKS: Attacks[Divided] = Attacks()
attack = ATTACKS.attack
UNVOUCHED = "^secure sum, shares: {} of the 5 sites in the last total of one group .* say that they checked it, 3 are needed"
UNSIGNED = "^secure sum, shares: the keys of site site.. are not signed by it for this attempt"


def opened(evil: Divided, number: int = 0, *sites: str) -> Total:
    """Open the groups' totals honestly."""
    return GroupedAttempt(evil, number, sites).to("open").total()


def closed(evil: Divided, *sites: str) -> Total:
    """Open the groups' totals and close the round honestly."""
    total = opened(evil, 0, *sites)
    evil.close(total, 0)
    return total


def told(evil: Divided, total: Total, **changes: Any) -> GroupedAttempt:
    """Publish a total to everybody, and go on from it as far as sites do."""
    attempt = GroupedAttempt(evil, 0, **evil.pretended(total, **changes))
    attempt.to("open")
    return attempt


def without(evil: Divided, *sites: str) -> tuple[str, ...]:
    """Return all other sites."""
    return tuple(site for site in evil.sites if site not in sites)


# the division


@attack("^secure sum, keys: the list is not that of the first round, so the sites would be divided into other groups", sites=16)
def another_list_for_another_division(evil: Divided) -> None:
    closed(evil)
    GroupedAttempt(evil, 0, evil.sites[:15], evil.sites[:15]).to("open")


@attack("^secure sum, keys: the list is not that of the first round, so the sites would be divided into other groups", sites=16)
def the_same_round_in_other_groups(evil: Divided) -> None:
    GroupedAttempt(evil, 0).to("open")
    GroupedAttempt(evil, 1, evil.sites[:15], evil.sites[:15]).to("open")


@attack("^secure sum, keys: a site is asked that was not among those of the first round")
def longer_list_for_another_division(evil: Divided) -> None:
    closed(evil)
    GroupedAttempt(evil, 0, evil.sites, (*evil.sites, "site99")).to("open")


@attack("^secure sum, keys: 14 sites are too few for groups of 5")
def no_groups_at_all(evil: Divided) -> None:
    GroupedAttempt(evil, 0, evil.sites[:14], evil.sites[:14]).to("open")


@attack(UNSIGNED, sites=16)
def two_first_lists(evil: Divided) -> None:
    """Each half believes in another division; the keys of the one are worth nothing to the other."""
    other = GroupedAttempt(evil, 0, evil.sites[8:15], evil.sites[:15]).step("keys")
    attempt = GroupedAttempt(evil, 0).step("keys", *evil.sites[:8])
    attempt.said["keys"] |= other.said["keys"]
    attempt.step("shares", *evil.sites[:8])
    other.step("shares", *evil.sites[8:15], told={"adverts": attempt.adverts()})


@attack("^secure sum, agree: another total of this round was opened in an earlier attempt, with other sites in it")
def one_site_fewer_in_a_group(evil: Divided) -> None:
    GroupedAttempt(evil, 0).to("open")
    GroupedAttempt(evil, 1, without(evil, evil.groups[1][0])).to("open")


# small groups


@attack("^secure sum, shares: only 3 sites take part, 4 are needed")
def group_below_its_threshold(evil: Divided) -> None:
    GroupedAttempt(evil, 0, without(evil, *evil.groups[0][3:])).to("open")


@attack("^secure sum, agree: a total of 3 sites is to be opened; 4 are needed", helpers=("site13", "site14"))
def total_of_three_of_a_group(evil: Divided) -> None:
    attempt = GroupedAttempt(evil, 0).to("answer")
    attempt.step("agree", told=lambda site: {"survivors": sorted({site, *attempt.group(site)[:2], attempt.group(site)[2]})[:3]})
    attempt.step("open")


@attack("^secure sum, agree: a total of 10 sites is to be opened; 4 are needed, this site among them")
def two_groups_in_one_total(evil: Divided) -> None:
    attempt = GroupedAttempt(evil, 0).to("answer")
    attempt.step("agree", told={"survivors": sorted((*attempt.groups[0], *attempt.groups[1]))}).step("open")


# who vouches


@attack(UNVOUCHED.format(0))
def invented_total_of_another_group(evil: Divided) -> None:
    told(evil, evil.forged_group(opened(evil), 1))


@attack(UNVOUCHED.format(0))
def round_that_never_took_place(evil: Divided) -> None:
    layout = evil.protocol.by_phase[evil.state.phase].ask(evil.state).layout
    integers = {f"{number}/{term.name}": np.ones(term.shape, f"int{term.bits}") for number in range(3) for term in layout}
    seal = tuple(f"{number}/0" for number in range(3) for _ in range(LENGTH))
    told(evil, rebuilt(Total(layout, {}, {}, 15), integers, survivors=evil.sites, agreed={}, seal=seal))


@attack(UNVOUCHED.format("[012]"), helpers=("site13", "site14"))
def helpers_vouch_for_an_invented_total(evil: Divided) -> None:
    helped = next(number for number, group in enumerate(evil.groups) if "site14" in group)
    told(evil, evil.forged_group(opened(evil), helped))


@attack(UNVOUCHED.format(0))
def one_group_is_told_other_closings(evil: Divided) -> None:
    """What is asked next is the same; only a figure of the last round differs, so that each group finds its own total in its closing."""
    closed(evil)
    group, total = evil.groups[1], opened(evil)
    fork = evil.pretended(evil.forged_group(total, 1, "validation/loss", 2))
    evil.close(total, 0)
    attempt = GroupedAttempt(evil, 0).step("keys", *group).step("keys", *without(evil, *group), **fork)
    for stage in ("shares", "answer", "agree", "open"):
        attempt.step(stage, *[site for site in group if site in attempt.here(stage)])
        attempt.step(stage, *[site for site in attempt.here(stage) if site not in group], **fork)


@attack(UNVOUCHED.format(2))
def a_group_that_stays_away_cannot_vouch(evil: Divided) -> None:
    group = evil.groups[1]
    closed(evil)
    GroupedAttempt(evil, 0, without(evil, *group[:3])).to("open")


@attack(UNSIGNED)
def vouchers_of_an_older_attempt(evil: Divided) -> None:
    group = evil.groups[1]
    closed(evil)
    older = GroupedAttempt(evil, 0).step("keys")
    attempt = GroupedAttempt(evil, 1, without(evil, *group[:3])).step("keys")
    attempt.step("shares", told={"adverts": attempt.adverts(**{site: older.said["keys"][site] for site in group[:3]})})
    attempt.to("open")


@attack(UNSIGNED)
def word_put_into_a_mouth(evil: Divided) -> None:
    group = evil.groups[1]
    total = opened(evil)
    invented = evil.pretended(evil.forged_group(total, 1), survivors=total.proof[0])
    true = GroupedAttempt(evil, 0, group, **evil.pretended(total)).step("keys")
    attempt = GroupedAttempt(evil, 0, without(evil, *group), **invented).step("keys")
    word = next(iter(attempt.said["keys"].values()))["checked"]
    attempt.step("shares", told={"adverts": attempt.adverts(**{site: {**one, "checked": word} for site, one in true.said["keys"].items()})})
    attempt.to("open")


def _strangers(evil: Divided) -> None:
    """Have strangers vouch, under their names, for a total of the sites of one group."""
    group = evil.groups[1]
    attempt = GroupedAttempt(evil, 0, without(evil, *group), **evil.pretended(evil.forged_group(opened(evil), 1))).step("keys")
    task = attempt.tasks[without(evil, *group)[0]]
    false = {site: Puppet(site, stranger(site), party=evil.party).advert(task) for site in group}
    attempt.step("shares", told={"adverts": attempt.adverts(**false)})
    attempt.to("open")


@attack("^secure sum, shares: site site.. has another identity than before")
def strangers_vouch(evil: Divided) -> None:
    _strangers(evil)


@attack("^secure sum, shares: site site.. with the fingerprint .* is not accepted by this hospital's rule sites", prepare=named)
def strangers_vouch_where_hospitals_are_named(evil: Divided) -> None:
    _strangers(evil)


@attack("^secure sum, shares: a site is in the list that does not belong to this site's round")
def one_more_vouches(evil: Divided) -> None:
    closed(evil)
    attempt = GroupedAttempt(evil, 0).step("keys")
    more = Puppet("site99", stranger("site99")).advert(attempt.tasks["site00"])
    attempt.step("shares", told={"adverts": attempt.adverts(site99=more)})
    attempt.to("open")


# what is published


@attack("^secure sum, follow: the published total is not what the sites' sums came to")
def swapped_group_numbers(evil: Divided) -> None:
    total, swap = opened(evil), {"0": "1", "1": "0", "2": "2"}

    def swapped(name: str) -> str:
        return f"{swap[name.partition('/')[0]]}/{name.partition('/')[2]}"

    integers = {swapped(name): value for name, value in total.integers.items()}
    told(evil, rebuilt(total, integers, seal=tuple(sorted(map(swapped, total.proof[2]), key=lambda one: one[0]))))


def _of_groups(total: Total, *numbers: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in total.integers.items() if name.partition("/")[0] in numbers}


@attack("^secure sum, follow: 2 groups are said to be opened, 3 are needed")
def two_groups_only(evil: Divided) -> None:
    out, total = evil.groups[2], opened(evil)
    seal = tuple(one for one in total.proof[2] if not one.startswith("2/"))
    told(evil, rebuilt(total, _of_groups(total, "0", "1"), survivors=without(evil, *out), seal=seal))


@attack("^secure sum, follow: group 1 is said to be opened with 3 sites, 4 are needed")
def another_group_of_three(evil: Divided) -> None:
    told(evil, opened(evil), survivors=without(evil, *evil.groups[1][:2]))


@attack("^secure sum, follow: the published total has other names than its layout")
def group_that_is_none(evil: Divided) -> None:
    total = opened(evil)
    told(evil, rebuilt(total, {name.replace("2/", "7/", 1): value for name, value in total.integers.items()}))


@attack("^secure sum, follow: the published total has other names than its layout")
def group_more_than_sites_are_of(evil: Divided) -> None:
    total = opened(evil)
    told(evil, rebuilt(total, {**total.integers, **{f"3/{name[2:]}": value for name, value in _of_groups(total, "2").items()}}))


@attack("^secure sum, follow: the published seals are not those of the groups that are said to be opened")
def seal_of_a_group_left_out(evil: Divided) -> None:
    total = opened(evil)
    told(evil, total, seal=tuple(one for one in total.proof[2] if not one.startswith("2/")))


@attack("^secure sum, follow: the total of .* is beyond what 5 sites may send together")
def more_than_a_group_may_send(evil: Divided) -> None:
    total = opened(evil)
    term = next(one for one in total.layout if one.per is None and np.ndim(one.limit) == 0)
    told(evil, evil.forged_group(total, 1, term.name, int(10 * float(term.limit) / term.step)))


@attack("^secure sum, follow: the published total is said to be of a site that was not among those of the first round")
def site_that_was_never_asked(evil: Divided) -> None:
    told(evil, opened(evil), survivors=(*evil.sites[1:], "site99"))
