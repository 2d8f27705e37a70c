"""Take out of a preflight's result what hospitals are known by, so that each finds itself in it: names, counts, what label cards say.

Shares stand in place of counts, in whole hundredths, since a hospital's number of patients is known. What remains is what a preflight is
for: where numbers lie, shares of codes, and what is odd. Who knows a hospital's patients well can still recognise it by these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wardround.study.canonical import digest_json

CARD: Mapping[str, str] = {
    "differs": "The label card names another coding system, or another version of it, than most others.",
    "note": "Readers of the label agree little, by the label card.",
}
"""What is said of a label card, by grade, in place of a sentence that quotes it."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def unnamed(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with letters in place of names, in an order that the names do not tell, shares in place of counts, and no quotations.

    Args:
        told: as `Compared.told` gives it.
    """
    names = {site: letter(place) for place, site in enumerate(sorted(told["hospitals"], key=lambda site: _mark(told, site)))}
    fields = [{**one, "sites": {names[site]: _bare(each) for site, each in one["sites"].items()}} for one in told["fields"]]
    fields = [{**one, "sites": dict(sorted(one["sites"].items()))} for one in fields]
    hospitals = {
        names[site]: {"card": None, "findings": [_unquoted(each) for each in one["findings"]]} for site, one in told["hospitals"].items()
    }
    return {**told, "fields": fields, "hospitals": dict(sorted(hospitals.items())), "unnamed": True}


def _bare(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a field at a hospital: of patients shares, and of codes whether any local one leads there."""
    mapped = {"mapped": {code: min(count, 1) for code, count in one["mapped"].items()}} if "mapped" in one else {}
    return {**one, "patients": _shares(one["patients"]), **mapped}


def _shares(patients: Mapping[str, int | float | str]) -> dict[str, float | str]:
    """Return counts by cell as shares; shares stay as they are.

    Example:
        >>> _shares({"f": 60, "m": 15, "missing": "few"})
        {'f': 0.8, 'm': 0.2, 'missing': 'few'}
    """
    if any(isinstance(one, float) for one in patients.values()):
        return {cell: one if isinstance(one, str) else float(one) for cell, one in patients.items()}
    total = sum(one for one in patients.values() if not isinstance(one, str))
    return {cell: one if isinstance(one, str) else round(one / max(total, 1), 2) for cell, one in patients.items()}


def _unquoted(finding: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finding about a hospital as a whole, without what its label card says."""
    return {**finding, "sentence": CARD[finding["grade"]]} if finding["kind"] == "card" else dict(finding)


def letter(place: int) -> str:
    """Return the name of a hospital that has none.

    Example:
        >>> letter(1), letter(27)
        ('Hospital B', 'Hospital AB')
    """
    text = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, len(LETTERS))
        text = LETTERS[rest] + text
    return f"Hospital {text}"


def _mark(told: Mapping[str, Any], site: str) -> str:
    """Return a mark of what a hospital told, from which its name does not follow and by which it finds itself again."""
    return own_mark([{**_shares(one["sites"][site]["patients"]), "means": one["sites"][site].get("means")} for one in told["fields"]])


def own_mark(summaries: list[dict[str, Any]]) -> str:
    """Return the digest of a hospital's summaries, field by field."""
    return digest_json(summaries)


def whose(told: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Return under which letter a hospital stands in a result without names; None where it stands under none, or under two alike.

    Args:
        told: the released result.
        own: what the hospital itself told, as `Compared.told` gives it for this hospital alone.
    """
    (site,) = own["hospitals"]
    mark = _mark(own, site)
    alike = [name for name in told["hospitals"] if _mark(told, name) == mark]
    return alike[0] if len(alike) == 1 else None
