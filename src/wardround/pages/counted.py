"""Say what a result counts: patients, their rows where a patient has several, or single examples where nobody knows the patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wardround.pages.words import whole


def unit(result: Mapping[str, Any]) -> str:
    """Return what is counted, split and compared: patients, or examples (rows or images) where the result knows no patients."""
    return "examples" if result.get("unit") == "image" else "patients"


def rows(result: Mapping[str, Any]) -> int | None:
    """Return how many rows all sites have, or None where a site's count is hidden or unknown."""
    return _sum(result, "examples")


def several_rows(result: Mapping[str, Any]) -> bool:
    """Say whether some patient has more than one row, as far as the shown counts tell."""
    pairs = [(site.get("patients"), site.get("examples")) for site in _sites(result)]
    return unit(result) == "patients" and any(isinstance(one, int) and isinstance(other, int) and one != other for one, other in pairs)


def tested(result: Mapping[str, Any]) -> str:
    """Return what the figures of a model are over, to stand after "over all".

    Example:
        >>> tested({"sites": {"Aachen": {"patients": 40, "examples": 90, "test": 12}}})
        'rows of the 12 test patients'
    """
    if not several_rows(result):
        return f"test {unit(result)}"
    patients = _sum(result, "test")
    return "rows of the test patients" if patients is None else f"rows of the {whole(patients)} test patients"


def _sites(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((result.get("sites") or {}).values())


def _sum(result: Mapping[str, Any], what: str) -> int | None:
    counts = [site.get(what) for site in _sites(result)]
    known = [count for count in counts if isinstance(count, int)]
    return sum(known) if known and len(known) == len(counts) else None
