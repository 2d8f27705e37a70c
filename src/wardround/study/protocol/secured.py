"""Say in plain words what a sum that hides single hospitals promises, how it closes, and what it does not protect against."""

from __future__ import annotations

from collections.abc import Iterator

from wardround.study.protocol.protocol import Protocol
from wardround.study.threshold import IN_A_GROUP, IN_GROUPS, LEAST, allies, allies_in_groups, threshold


def promised(protocol: Protocol) -> Iterator[str]:
    """Yield what the coordinator sees and what not."""
    fewest = max(protocol.rounds.quorum, LEAST)
    match protocol.rounds.combine:
        case "bucketed":
            yield "Secure sums in groups: the hospitals of the first round are divided into groups of five to seven for the whole study."
            yield "Each hospital's sums leave under masks; the coordinator sees the total of each group, and no hospital's own sums."
            yield f"A rule then combines the groups' mean updates. {_left_out(protocol.bounds.sites)}"
            yield "Everything else (counts, standardisation, test figures) is added up over all groups: there the rule leaves nobody out."
        case "one_message":
            yield "Sum of one message: each hospital's sums leave under masks; the coordinator sees only their total."
            yield f"Three helpers hold the seeds of the masks, each seed two of them: {', '.join(protocol.rounds.helpers)}."
            yield f"It learns no total over fewer than {fewest} hospitals (rounds.quorum, at least {LEAST})."
        case _:
            yield "Secure sum: each hospital's sums leave under masks; the coordinator sees only their total, and no hospital's own sums."
            yield f"It learns no total over fewer than {fewest} hospitals, whatever it asks (rounds.quorum, at least {LEAST})."


def said_beside(protocol: Protocol) -> str:
    """Return which messages go with each answer."""
    if protocol.rounds.combine == "one_message":
        return "A helper sends three more a round: a public key, a signature, and the sum of what the hospitals' seeds expand to."
    return "Around each go four small ones of the secure sum, without sums: public keys, sealed key shares, a signature, opened shares."


def closing(protocol: Protocol) -> Iterator[str]:
    """Yield when a round closes, and whom that suits."""
    sites, quorum = protocol.bounds.sites, protocol.rounds.quorum
    match protocol.rounds.combine:
        case "bucketed":
            yield "A group closes with more than two thirds of its hospitals; a round with three groups and the number of hospitals above."
            yield "A round begins only where, of each group in the last total, enough hospitals are here that were in it: three of five."
        case "one_message":
            yield "The three helpers must be there when a round begins and when it closes; every other hospital once in between."
        case _:
            least = threshold(sites, quorum)
            absent = (
                f"with at most {sites - least} of them absent, so with at least {least}"
                if sites > least
                else "only if none of them is absent"
            )
            yield f"A secure sum in which {sites} hospitals begin closes {absent}; of fewer nothing is learnt."
            if sites > max(quorum, LEAST):
                yield f"Where fewer begin, more than two thirds of them must be in the total, and at least {max(quorum, LEAST)}."
    if protocol.rounds.combine != "one_message":
        yield "Hospitals must answer within a minute while a round is under way; for some that are there an hour a day: one_message."


def remaining(protocol: Protocol) -> Iterator[str]:
    """Yield what a sum that hides does not protect against."""
    yield "Totals carry no noise: what a total over all hospitals shows about one patient, the secure sum does not hide."
    yield "A hospital that is hostile, or was broken into, can add false sums up to its limits unseen: nobody sees its sums."
    match protocol.rounds.combine:
        case "one_message":
            yield "Two of the three helpers together with the coordinator see every hospital's own sums."
            fewest = max(protocol.rounds.quorum, LEAST)
            yield f"So do {fewest - 1} hospitals together with it see another's, since it may close a round with {fewest} (rounds.quorum)."
            yield "A coordinator that publishes another total than the true one, within the limits, is not found out in this mode."
        case "bucketed":
            yield from _in_groups()
        case _:
            yield from _colluding(protocol)
    if protocol.rounds.combine == "secure":
        yield "One hospital on a hostile coordinator's side suffices to alter a total within the limits, and so to choose the model."
    yield "Totals of rounds with different hospitals in them can be compared, which says something about those that were absent."


def _left_out(sites: int) -> str:
    """Return how many groups the rule leaves out."""
    groups = sites // IN_A_GROUP
    out = max(groups // 4, 1)
    return f"Of {groups} groups it leaves out, number by number, the {_many(out)} highest and the {_many(out)} lowest."


def _many(count: int) -> str:
    return "one" if count == 1 else str(count)


def _in_groups() -> Iterator[str]:
    """Yield what sums in groups give up, and how many hospitals on a hostile coordinator's side they withstand."""
    yield "A total of five hospitals shows more of each than a total of all."
    yield "Such a hospital spoils the sum of its group, and only that one, but in every round: who is with whom stays as it is."
    yield (
        f"A hostile coordinator with up to {allies_in_groups(IN_GROUPS)} hospitals on its side sees no other hospital's own sums, however "
        "they fall into groups; with more in one group it may."
    )
    yield (
        "It writes the protocol and names the hospitals of the first round, so it may influence who is with whom. One hospital on its side "
        "lets it alter the total of that hospital's group within the limits; in more groups than the rule leaves out, that bends the model."
    )
    yield "The last round's totals of other groups than its own are not proved to a hospital: no round follows in which others vouch."


def _colluding(protocol: Protocol) -> Iterator[str]:
    """Yield how many hospitals on a hostile coordinator's side the secure sum withstands, and what would withstand more."""
    sites, least = protocol.bounds.sites, max(protocol.rounds.quorum, LEAST)
    withstood, wanted = allies(sites, protocol.rounds.quorum), (sites - 1) // 3 + 2
    yield (
        f"A hostile coordinator can ask few hospitals, though no fewer than {least}; those that act together with it take their own sums "
        f"off the total. With {withstood} of {sites} on its side it still sees no other hospital's own sums; with more it may."
    )
    if least < wanted:
        yield f"With rounds.quorum = {wanted} it would withstand {(sites - 1) // 3} of {sites}."
