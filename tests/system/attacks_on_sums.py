"""List what a hostile coordinator tries within one secure sum, each with the words by which an honest hospital must refuse it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tests.support import Small
from tests.system.attacks import HELPED, attack, opened, stranger
from tests.system.coordinator_attacks import Attempt, Coordinator
from tests.system.puppet import Puppet
from wardround.combining.secure import keys
from wardround.combining.secure.words import Advert, bond_of
from wardround.record.note import fingerprint
from wardround.site.policy import HospitalPolicy
from wardround.site.rules import Rules
from wardround.study.canonical import digest_json


def impersonate(evil: Coordinator, attempt: Attempt, site: str, genuine: bool) -> None:
    """Be everybody else towards one site: with strange identities, or with theirs and strange keys."""
    fakes, adverts = [], {site: attempt.said["keys"][site]}
    task = attempt.tasks[site]
    for other in evil.sites:
        if other != site:
            fake = Puppet(other, stranger(other))
            advert = fake.advert(task)
            if genuine:
                advert |= {name: attempt.said["keys"][other][name] for name in ("identity", "signature")}
                fake.sessions[-1] = replace(fake.sessions[-1], adverts={other: Advert(**advert)})
            fakes.append(fake)
            adverts[other] = advert
    evil.puppets += fakes
    told = [one for _, one in sorted(adverts.items())]
    attempt.step("shares", site, told={"adverts": told})
    if site in attempt.said["shares"]:
        sealed = {fake.name: fake.seals(task, told)[site] for fake in fakes}
        attempt.step("answer", site, told={"shares": {**sealed, site: attempt.said["shares"][site][site]}})


# keys and lists


@attack("^secure sum, shares: the keys of site site1 are not signed by it for this attempt")
def key_swap(evil: Coordinator) -> None:
    impersonate(evil, Attempt(evil, 0).step("keys"), "site0", genuine=True)


@attack("^secure sum, shares: site site1 has another identity than before")
def everybody_else_is_the_coordinator(evil: Coordinator) -> None:
    Attempt(evil, 0).to("shares")
    impersonate(evil, Attempt(evil, 1).step("keys"), "site0", genuine=False)


def named(study: Small) -> None:
    """Have every hospital accept the true others, and nobody else."""
    prints = [f"{name} {fingerprint(place.site.keys.public.public_bytes_raw().hex())}" for name, place in study.places.items()]
    rules = Rules(
        purposes=("*",), models=("*",), sources=("*",), min_patients=1, rounds=9, hours="any", may_leave=("sums",), release="auto",
        sites=tuple(prints),
    )  # fmt: skip
    for place in study.places.values():
        approved = frozenset({study.protocol.digest})
        object.__setattr__(place.site, "policy", HospitalPolicy(approved, rules=rules, source="table", patients=50))


@attack("^secure sum, shares: site site1 with the fingerprint .* is not accepted by this hospital's rule sites", prepare=named)
def invented_hospitals(evil: Coordinator) -> None:
    impersonate(evil, Attempt(evil, 0).step("keys"), "site0", genuine=False)


@attack("^secure sum, shares: this site's own keys are not in the list as it sent them")
def own_keys_altered(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).step("keys")
    said = attempt.said["keys"]
    attempt.step("shares", told=lambda site: {"adverts": attempt.adverts(**{site: {**said[site], "mask": "11" * 32}})})


@attack("^secure sum, shares: two names share one key", again=(), **HELPED)
def one_hospital_under_two_names(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0, names=(*evil.sites, "site9")).step("keys")
    twin = Puppet("site9", evil.puppets[0].signing)
    attempt.step("shares", told={"adverts": attempt.adverts(site9=twin.advert(attempt.tasks["site0"]))})


@attack("^secure sum, shares: the key of site site6 is no key", **HELPED)
def key_that_everybody_knows(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).step("keys")
    advert = replace(Advert(**attempt.said["keys"]["site6"]), mask="00" * 32)
    signature = keys.sign(evil.puppets[1].signing, advert.signed_part(bond_of(attempt.tasks["site6"])))
    attempt.step("shares", told={"adverts": attempt.adverts(site6=asdict(replace(advert, signature=signature)))})


@attack("^secure sum, answer: the shares of site site. are not what it sealed for this site in this attempt")
def overlapping_lists(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).step("keys")
    out = {"site0": "site3", "site1": "site2", "site2": "site1", "site3": "site0"}
    attempt.step("shares", told=lambda site: {"adverts": attempt.adverts(**{out[site]: None})})
    attempt.step("answer")


@attack("^secure sum, open: site site. did not agree to the total that this site agreed to")
def overlapping_masks(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("shares")
    out = {"site0": "site3", "site3": "site0"}

    def told(site: str) -> dict[str, Any]:
        return {"shares": {owner: one for owner, one in attempt.passed("answer", site)["shares"].items() if owner != out.get(site)}}

    attempt.step("answer", told=told)
    attempt.step("agree", told=lambda site: {"survivors": sorted({*evil.sites} - {out.get(site, "")})}).step("open")


@attack("^secure sum, shares: the keys of site site. are not signed by it for this attempt", again=())  # the first roster stands
def roster_fork(evil: Coordinator) -> None:
    other = sorted([*evil.sites, "site9"])
    attempt = Attempt(evil, 0).step("keys", "site0", "site1")
    attempt.step("keys", "site2", "site3", told={"roster": other}, roster=digest_json(other))
    attempt.step("shares", "site0", "site1").step("shares", "site2", "site3", roster=digest_json(other))


@attack("^secure sum, keys: the list of sites is not the one that the task quotes, or this site is not in it")
def roster_that_is_not_the_quoted_one(evil: Coordinator) -> None:
    Attempt(evil, 0).step("keys", told={"roster": [*evil.sites, "site9"]})


@attack("^secure sum, shares: a site is in the list that does not belong to this site's round", **HELPED)
def keys_of_somebody_who_is_not_asked(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).step("keys")
    more = Puppet("site9", stranger("site9"))
    attempt.step("shares", told={"adverts": attempt.adverts(site9=more.advert(attempt.tasks["site0"]))})


@attack("^secure sum, shares: the keys of site site1 are not signed by it for this attempt")
def keys_of_an_older_attempt(evil: Coordinator) -> None:
    older = Attempt(evil, 0).step("keys")
    newer = Attempt(evil, 1).step("keys")
    newer.step("shares", "site0", told={"adverts": newer.adverts(site1=older.said["keys"]["site1"])})


# small sets and low thresholds


@attack("^secure sum, shares: only 2 sites take part, 3 are needed")
def low_threshold(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0, ("site0", "site1")).to("answer")
    attempt.step("agree").step("open")


@attack("^secure sum, shares: only 4 sites take part, 5 are needed", **HELPED)
def small_set(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0, ("site0", "site1", "site5", "site6")).to("answer")
    three = ["site0", "site5", "site6"]
    attempt.step("agree", *three, told={"survivors": three}).step("open", *three)


@attack("^secure sum, answer: shares of 2 sites are passed on; 3 are needed")
def few_shares(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("shares")
    attempt.step("answer", "site0", told={"shares": {one: attempt.said["shares"][one]["site0"] for one in ("site0", "site1")}})


@attack("^secure sum, agree: a total of 2 sites is to be opened; 3 are needed")
def total_of_two(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("answer")
    attempt.step("agree", "site0", "site1", told={"survivors": ["site0", "site1"]}).step("open", "site0", "site1")


@attack("^secure sum, open: 2 sites agreed to the total, 3 of those in it are needed")
def few_signatures(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("agree")
    attempt.step("open", told={"signatures": {one: attempt.said["agree"][one] for one in ("site0", "site1")}})
    attempt.step("open")


# shares, answers, agreements, opening


@attack("^secure sum, answer: the shares of site site1 are not what it sealed for this site in this attempt")
def shares_for_another(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("shares")
    told = {"shares": {**attempt.passed("answer", "site0")["shares"], "site1": attempt.said["shares"]["site1"]["site2"]}}
    attempt.step("answer", "site0", told=told)


@attack("^secure sum, answer: the shares of site site. are not what it sealed for this site in this attempt")
def shares_of_an_older_attempt(evil: Coordinator) -> None:
    older = Attempt(evil, 0).to("shares")
    Attempt(evil, 1).to("shares").step("answer", told=lambda site: older.passed("answer", site))


@attack("^secure sum, answer: the shares of site site6 are not those that it committed to", **HELPED)
def false_shares_of_a_helper(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("shares")
    for site in evil.honest:
        attempt.said["shares"]["site6"][site] |= {"seed": "77" * 32}
    attempt.step("answer")


@attack("^secure sum, agree: it came after the step 'open'")
def double_unmask(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("open")
    three = ["site0", "site1", "site2"]
    attempt.step("agree", *three, told={"survivors": three})
    for site in three:
        attempt.step("open", site, told={"signatures": {one: attempt.said["agree"][one] for one in three}})


@attack("^secure sum, open: site site2 did not agree to the total that this site agreed to")
def withheld_survivors(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("answer")
    attempt.step("agree", "site0", "site1", "site3").step("agree", "site2", told={"survivors": ["site0", "site1", "site2"]})
    attempt.step("open")


@attack("^secure sum, open: 3 sites agreed to the total, 5 of those in it are needed", **HELPED)
def helpers_sign_two_totals(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("answer")
    without = sorted({*evil.sites} - {"site4"})
    attempt.step("agree", "site0", "site1", "site2", "site4").step("agree", "site3", told={"survivors": without})
    masking, said = evil.sites, attempt.said["agree"]
    four = {one: said[one] for one in ("site0", "site1", "site2", "site4")} | attempt.puppet_signs("site0", masking, evil.sites)
    attempt.step("open", "site0", "site1", "site2", "site4", told={"signatures": four})
    lone = {"site3": said["site3"]} | attempt.puppet_signs("site3", masking, without)
    attempt.step("open", "site3", told={"signatures": lone})


@attack("^secure sum, open: site site1 did not agree to the total that this site agreed to", **HELPED)
def a_helper_signs_for_another(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("agree")
    forged = {"site1": attempt.puppet_signs("site0", evil.sites, evil.sites)["site6"]}
    attempt.step("open", *evil.honest, told={"signatures": {**attempt.said["agree"], **forged}})


@attack("^secure sum, open: site site. did not agree to the total that this site agreed to")
def agreements_of_an_older_attempt(evil: Coordinator) -> None:
    older = Attempt(evil, 0).to("agree")
    Attempt(evil, 1).to("agree").step("open", told={"signatures": older.said["agree"]})


@attack("^secure sum, open: it came after the step 'answer'")
def opened_before_it_is_agreed(evil: Coordinator) -> None:
    Attempt(evil, 0).to("answer").step("open", *evil.sites, told={"signatures": {}})


@attack("^secure sum, agree: this site has not given its sums")
def agreed_before_the_sums_are_given(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("shares").step("answer", "site0", "site1", "site2")
    evil.study.engine.send([evil.task("site3", "answer", 0, attempt.passed("answer", "site3"))])  # its worker is slow
    attempt.step("agree", *evil.sites, told={"survivors": list(evil.sites)}).step("open")


@attack("^secure sum, answer: it came after the step 'answer'")
def answered_twice_with_other_masks(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).to("answer")
    three = ("site0", "site1", "site2")
    attempt.step("answer", *three, told=lambda site: {"shares": {one: attempt.said["shares"][one][site] for one in three}})


@attack("^secure sum, agree: another total of this round was opened in an earlier attempt, with other sites in it")
def one_site_fewer_after_a_total(evil: Coordinator) -> None:
    opened(evil)
    Attempt(evil, 1, ("site0", "site1", "site2")).to("open")


@attack("^secure sum, shares: only 6 sites take part, 7 are needed", sites=10, puppets=3, quorum=5)
def two_totals_by_asking_fewer(evil: Coordinator) -> None:
    """The totals of two small attempts, each opened by other honest sites, would differ by one site's sums."""
    helped = tuple(one.name for one in evil.puppets)
    for number, there in enumerate((("site0", "site1", "site2", "site3"), ("site0", "site2", "site3"))):
        attempt = Attempt(evil, number, (*there, *helped)).to("answer")
        openers = (*there[:2], *helped) if number == 0 else (*there[1:], *helped)
        attempt.step("agree", *openers).step("open", *openers)
