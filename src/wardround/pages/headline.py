"""Say what a study came to in one sentence: who gains, who loses, who cannot say, and by how much over all patients.

Of a study among hospitals, whose result holds totals alone, it says how good the model is over all, and where the rest is.

The report opens with it, the command line ends with it, a notebook shows it. Plain text; whoever sets it in HTML escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping

from wardround.pages import words
from wardround.pages.counted import tested
from wardround.pages.figures import Figure, Result, better, gain, judged, level, primary, used
from wardround.pages.guards import withheld

MOST_NAMES = 4
MOST_SPELLED = 12
OF = "\N{RIGHT SINGLE QUOTATION MARK}s"


def headline(result: Result) -> str:
    """Return the one sentence that answers the study.

    Args:
        result: what `result.json` holds.

    Example:
        >>> headline({"sites": {"Aachen": {}}, "verdicts": {"Aachen": "cannot_say"}, "synthetic": True})
        'On synthetic data there is not enough evidence to say whether the one site, Aachen, gains from the federated model.'
    """
    over_all, stay = _how_much(result), withheld(result)
    parts = (over_all or "no model was judged over all sites", stay) if stay else (_who(result), over_all)
    clauses = "; ".join(part for part in parts if part)
    lead = "On synthetic data " if result.get("synthetic") else ""
    return f"{lead}{clauses}." if lead else f"{clauses[:1].upper()}{clauses[1:]}."


def groups(result: Result) -> dict[str, list[str]]:
    """Return the sites of each verdict; a site without one cannot say."""
    verdicts: Mapping[str, str] = result.get("verdicts") or {}
    found: dict[str, list[str]] = {verdict: [] for verdict in words.VERDICTS}
    for site in judged(result):
        verdict = verdicts.get(site, "cannot_say")
        found[verdict if verdict in found else "cannot_say"].append(site)
    return found


def _who(result: Result) -> str:
    by = groups(result)
    total, model = sum(len(sites) for sites in by.values()), words.USED[used(result)]
    if total == 0 or not result.get("verdicts"):
        return f"no verdict was reached for {'this hospital' if 'reader' in result else 'any site'}"
    if total == 1:
        said = _the_one(*next((verdict, sites[0]) for verdict, sites in by.items() if sites), model)
        return said.replace("the one site", "this hospital") if "reader" in result else said
    if len(by["cannot_say"]) == total:
        whom = "neither of the two sites" if total == 2 else f"none of the {words.spelled(total)} sites"
        return f"for {whom} is there enough evidence to say whether it gains from {model}"
    if len(by["gains"]) == total:
        return f"{'both' if total == 2 else 'all ' + words.spelled(total)} sites gain from {model}"
    say = words.spelled if total <= MOST_SPELLED else words.whole
    gains, no_worse, loses, unsure = by.values()
    most = f"{say(len(gains)) if gains else 'none'} of {say(total)} sites {_verb(gains, 'gains', 'gain')}"
    parts = [f"{most} from {model}{_named(gains)}"]
    if no_worse:
        parts.append(f"{say(len(no_worse))} {_verb(no_worse, 'does', 'do')} no worse{_named(no_worse)}")
    parts.append(f"{say(len(loses)) if loses else 'none'} {_verb(loses, 'loses', 'lose')}{_named(loses, most=MOST_NAMES + 2)}")
    if unsure:
        parts.append(f"{say(len(unsure))} cannot say{_named(unsure)}")
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _the_one(verdict: str, site: str, model: str) -> str:
    says = {
        "gains": "the one site, {0}, gains from {1}",
        "no_worse": "the one site, {0}, does no worse with {1}",
        "loses": "the one site, {0}, loses with {1}",
        "cannot_say": "there is not enough evidence to say whether the one site, {0}, gains from {1}",
    }
    return says[verdict].format(site, model)


def _verb(sites: list[str], one: str, many: str) -> str:
    return one if len(sites) <= 1 else many


def _named(sites: list[str], most: int = MOST_NAMES) -> str:
    return f" ({words.listed(sites, most)})" if 0 < len(sites) <= most else ""


def _how_much(result: Result) -> str:
    metric = primary(result)
    name = f"{words.USED[used(result)]}{OF} {words.in_sentence(metric)}"
    over = f"over all {tested(result)}"
    whose = f"{name} {over}" if withheld(result) else f"{over} {name}"
    gap = gain(result, metric)
    if gap.value is not None:
        return f"{whose} {_against(gap, better(result, metric))}"
    reached = level(result, used(result), metric)
    if reached.value is None:
        return ""
    within = f" ({words.LEVEL}{words.GAP}interval {reached.interval()})" if reached.bounded else ""
    return f"{whose} is {words.number(reached.value, reached.places)}{within}"


def _against(gap: Figure, sign: int) -> str:
    value = gap.value or 0.0
    size = words.number(abs(value), gap.places)
    if round(value, gap.places) == 0:
        start = f"equals that of the sites\N{RIGHT SINGLE QUOTATION MARK} own models to {words.spelled(gap.places)} decimals"
    else:
        good = " (which is better)" if sign < 0 and value < 0 else ""
        start = f"is {size} {'higher' if value > 0 else 'lower'}{good} than that of the sites\N{RIGHT SINGLE QUOTATION MARK} own models"
    if gap.low is None or gap.high is None:
        return start
    if gap.low > 0 or gap.high < 0:
        near, far = sorted((abs(gap.low), abs(gap.high)))
        ends = f"{words.number(near, gap.places)}{words.GAP}to{words.GAP}{words.number(far, gap.places)}"
        return f"{start} ({words.LEVEL}{words.GAP}interval {ends})"
    return f"{start}, and the {words.LEVEL}{words.GAP}interval ({gap.interval(signed=True)}) does not settle which is better"
