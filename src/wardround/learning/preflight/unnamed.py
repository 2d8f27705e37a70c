"""Take the hospitals' names out of a preflight's result, so that each finds itself in it and nobody finds another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wardround.study.canonical import digest_json

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def unnamed(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with letters in place of names, in an order that the names do not tell, and without the label cards' texts.

    Args:
        told: as `Compared.told` gives it.
    """
    names = {site: letter(place) for place, site in enumerate(sorted(told["hospitals"], key=lambda site: _mark(told, site)))}
    fields = [{**one, "sites": {names[site]: each for site, each in one["sites"].items()}} for one in told["fields"]]
    fields = [{**one, "sites": dict(sorted(one["sites"].items()))} for one in fields]
    hospitals = {names[site]: {**one, "card": None} for site, one in told["hospitals"].items()}
    return {**told, "fields": fields, "hospitals": dict(sorted(hospitals.items())), "unnamed": True}


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
    return own_mark([one["sites"][site].get("patients", {}) | {"means": one["sites"][site].get("means")} for one in told["fields"]])


def own_mark(summaries: list[dict[str, Any]]) -> str:
    """Return the digest of a hospital's summaries, field by field."""
    return digest_json(summaries)


def whose(told: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Return under which letter a hospital stands in a result without names, or None.

    Args:
        told: the released result.
        own: what the hospital itself told, as `Compared.told` gives it for this hospital alone.
    """
    (site,) = own["hospitals"]
    mark = _mark(own, site)
    return next((name for name in told["hospitals"] if _mark(told, name) == mark), None)
