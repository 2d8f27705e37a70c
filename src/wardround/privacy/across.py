"""Lay what several studies were told beside each other, patient by patient, at a site whose rows change between them.

Within one study a site remembers what rows can be told apart by. Another study comes with another snapshot: rows in another order, patients
who are new, patients who are gone. So patients are known by a keyed hash, the same in all studies of one hospital, and what an earlier
study was told is put into the order of the rows that are here now. From there on the rule is that of `disclosure.py`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wardround.privacy.disclosure import ABSENT, joined, small_beside_earlier

EARLIER = "/earlier"
"""Name under which a worker finds what other studies were told, beside what it kept of each phase; no phase has such a name."""
LEFT = "left|"
"""Begins the name of what tables told rows apart by; after it where it was told and the tables' fields, with bars between."""
SUMMED = 2**30
"""Label of rows over which sums of values were told, in place of what a table told them apart by."""
FLOOR = "floor"
"""Name of the site's own k, beside the tables of other studies."""


def pseudonyms(key: bytes, patients: Iterable[str]) -> np.ndarray:
    """Return uint64 [N], a keyed hash of each identifier: HMAC-SHA-256, its first 8 bytes.

    Two of a million patients share one with a chance of 3 in 100 million; they are then taken for one.

    Source: RFC 2104.
    """
    found = [hmac.digest(key, patient.encode(), hashlib.sha256)[:8] for patient in patients]
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)


def gone(now: np.ndarray, cohorts: Sequence[np.ndarray]) -> np.ndarray:
    """Return uint64 [M], the patients of earlier studies who are not here now, sorted.

    Args:
        now: uint64 [N], the patient of each row.
        cohorts: uint64 each, those of earlier studies.
    """
    return np.setdiff1d(np.concatenate(cohorts), now) if cohorts else np.zeros(0, dtype=np.uint64)


def places(wanted: np.ndarray, cohort: np.ndarray) -> np.ndarray:
    """Return int64 [W], where each patient stands in an earlier study's cohort, -1 for who was not in it.

    Args:
        wanted: uint64 [W], those who are here and then those who are gone.
        cohort: uint64 [L], the earlier study's patients, each once, ascending.
    """
    if not len(cohort):
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(cohort, wanted), len(cohort) - 1)
    return np.where(cohort[place] == wanted, place, -1)


def laid_beside(places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return int32 [W], what an earlier table told these patients apart by, -2 for who was not in its cohort.

    Args:
        places: of these patients in the cohort.
        labels: int [L], what the table told the cohort apart by.

    Example:
        >>> now, then = np.array([5, 7], dtype=np.uint64), np.array([7, 9], dtype=np.uint64)
        >>> laid_beside(places(np.append(now, gone(now, [then])), then), np.array([0, 1])).tolist()
        [-2, 0, 1]
    """
    return np.where(places >= 0, labels[places], ABSENT).astype(np.int32)


def fields_of(name: str) -> tuple[str, ...]:
    """Return the fields of tables, in order of name, by the name under which it is kept what they told rows apart by.

    Example:
        >>> fields_of("left|0|sex|age")
        ('age', 'sex')
    """
    return tuple(sorted({field for field in name.split("|")[2:] if field}))


def is_sum(labels: np.ndarray) -> bool:
    """Say whether labels stand for sums of values, and for no table."""
    return bool(np.any(labels == SUMMED))


def together(tables: Iterable[tuple[str, np.ndarray]], rows: int) -> dict[tuple[str, ...], np.ndarray]:
    """Return by fields what all tables of exactly these fields together tell rows apart by, int64 [rows]; sums are left out.

    Args:
        tables: name and labels of each; of labels of more rows only the first are taken.
        rows: that are here now.
    """
    alike: dict[tuple[str, ...], list[np.ndarray]] = {}
    for name, labels in tables:
        fields = fields_of(name)
        if name.startswith(LEFT) and fields and not is_sum(labels):
            alike.setdefault(fields, []).append(labels[:rows])
    return {fields: joined(*labels) for fields, labels in alike.items()}


def gives_away(name: str, apart: np.ndarray, patient: np.ndarray | None, least: int, earlier: Mapping[str, np.ndarray]) -> bool:
    """Say whether tables give fewer than `least` away beside each earlier one with a field in common, or beside all of the same fields.

    Args:
        name: of the tables, with their fields.
        apart: int64 [N], what they tell rows apart by.
        patient: int64 [N], or None; see `small_beside_earlier`.
        least: k.
        earlier: int [N + M] each, by name.
    """
    fields = set(fields_of(name))
    beside = [labels for other, labels in sorted(earlier.items()) if fields & set(fields_of(other))]
    whole = [labels for names, labels in together(sorted(earlier.items()), len(apart)).items() if set(names) == fields]
    return bool(np.any(small_beside_earlier(apart, patient, least, [*beside, *whole])))


def nearly_the_same(now: np.ndarray, then: np.ndarray, least: int) -> bool:
    """Say whether two studies' patients differ by some, but by fewer than `least`: their totals would then tell of so few.

    Args:
        now: uint64 [N].
        then: uint64 [L].
        least: k.

    Example:
        >>> nearly_the_same(np.arange(20), np.arange(21), 10), nearly_the_same(np.arange(20), np.arange(30), 10)
        (True, False)
    """
    here, there = np.unique(now), np.unique(then)
    both = len(np.intersect1d(here, there, assume_unique=True))
    return any(0 < size - both < least for size in (len(here), len(there)))
