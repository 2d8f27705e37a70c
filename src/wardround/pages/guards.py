"""Say who saw what: what the sums hid, from whom, what they did not hide, and whom each site's own test figures reached.

One place for these sentences, because a page that says "hidden" of something that was sent is worse than one that says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wardround.pages.counted import unit
from wardround.pages.figures import Result, models, only_totals
from wardround.pages.words import curled

_MASKED: Mapping[str, str] = {
    "bucketed": (
        "Each site's sums left under masks that cancel only within its group of sites: the coordinator saw each group's "
        "total, not the sums of a single site. That holds as long as no more than two sites act together with it; a total "
        "of five sites shows more of each than a total of all."
    ),
    "one_message": (
        "Each site's sums left under masks that cancel only in a total over several sites: the coordinator saw that "
        "total, not the sums of a single site. Three sites held the seeds of the masks; two of them together with the "
        "coordinator could have seen every site's sums, and so could all sites but one of a total, together with it, those "
        "of the one that is left."
    ),
    "secure": (
        "Each site's sums left under masks that cancel only in a total over several sites: the coordinator saw that "
        "total, not the sums of a single site. That holds as long as few enough sites act together with it; the summary "
        "that each site read before it signed says how many."
    ),
}

_NOT_HIDDEN = (
    "The totals of each round and the model, which the coordinator and the sites saw; what a total shows about a "
    "patient; who took part, when, and how large each message was. Nobody outside the project has reviewed this way of "
    "adding yet."
)

_PLAIN = (
    "The coordinator saw each site's sums before it added them up. These are sums over that site's patients, such as a "
    "model update; they are not rows of data, but they can reveal something about the patients behind them, most of all "
    "at a small site."
)

_COUNTS = "The protocol lets counts leave a site, such as histograms of scores, since the test figures on this page are made from them."

_MODEL = "A trained model can retain traces of the patients it was trained on. Treat the released file as derived from patient data."

_HERE = (
    "The sites were played on one machine, so whoever ran them could see everything, and this page shows each site's "
    "figures. The masks were worked out as between hospitals; there, what stands above would hold."
)


def guards(result: Result, protocol: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what protects the patients, and what does not, as terms with a sentence or two each.

    Args:
        result: what `result.json` holds.
        protocol: the signed plan's JSON, or nothing.
    """
    secure = bool((result.get("privacy") or {}).get("secure_sum"))
    combine = str((protocol.get("rounds") or {}).get("combine"))
    found = [("Plain sums", _PLAIN)]
    if secure:
        found = [("Secure sums", _MASKED.get(combine, _MASKED["secure"])), ("Not hidden by them", _NOT_HIDDEN)]
    if secure and result.get("simulation"):
        found.append(("In this simulation", _HERE))
    if not secure and (protocol.get("privacy") or {}).get("counts"):
        found.append(("Counts", _COUNTS))
    if own := _own(result, secure):
        found.append(("Figures of one site", own))
    return tuple((term, curled(means)) for term, means in (*found, ("The model", _MODEL)))


def _own(result: Result, secure: bool) -> str:
    """Return whom the test figures of a single hospital reached; nothing of a simulation, or where none were worked out."""
    if result.get("simulation") is not False or not models(result):
        return ""
    sent = (
        "When the study ended, the own test figures of each hospital that was there (metrics and their differences with intervals, and how "
        f"many test {unit(result)} as a band) were sent to the coordinator under its name{', not under masks' if secure else ''}, "
        f"none with fewer than ten test {unit(result)} in all or of a class; "
    )
    match result.get("site_results"):
        case "open":
            return f"{sent}everybody who has this result sees them."
        case "blinded":
            rest = "all others see only the median, lowest and highest value of each metric over three sites or more."
            return f"{sent}{rest} With few sites one can guess whose a lowest or highest value is."
        case "own":
            kept = "Each hospital worked its own test figures out for itself, from what it kept; they were not sent."
            return kept if secure else f"{kept} The coordinator could work them out too, from the sums that it saw."
    return ""


def withheld(result: Result) -> str:
    """Return why a page over all sites names no hospital's figures: they stay there, or they were told to the coordinator alone."""
    if not only_totals(result):
        return ""
    blinded = result.get("site_results") == "blinded"
    return curled("no hospital's figures are told here under its name" if blinded else "each hospital's own figures stay at that hospital")


def without_local(result: Result) -> bool:
    """Say whether sites had no model of their own to compare with, so that no verdict can be."""
    return bool(models(result)) and "local" not in models(result)
