"""Divide one real source over simulated hospitals, for experiments: labels, sizes, instruments or a column decide who goes where.

Patients are divided, never rows of one patient. What comes out are site files as a hospital writes them, marked as simulated; the same seed
gives the same files, whatever the order of rows.

Example:
    >>> sites = partition("all.toml", "study.toml", by=["labels", "quantity"], sites=10, alpha=0.5, out="ten")  # doctest: +SKIP
    >>> wardround.simulate("study.toml", sites, out="run")  # doctest: +SKIP
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wardround.data.site_file import SiteFile, load_site
from wardround.partitions import allot
from wardround.partitions.cohort import Cohort, cohort
from wardround.partitions.folder import Divided, write_all
from wardround.partitions.partitioner import Partitioner
from wardround.study.errors import ProtocolError
from wardround.study.findings import nearest
from wardround.study.plugins import find, make, names
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from wardround.simulation import Study

SITES, LEAST = 10, 10
_DRAWS = 100
"""How often shares are drawn anew before too small a hospital is refused."""


def partition(
    source: str | Path | SiteFile,
    study: Study | Protocol | str | Path,
    by: str | Sequence[str] = "labels",
    sites: int | None = None,
    out: str | Path = "hospitals",
    *,
    seed: int = 0,
    least: int = LEAST,
    test: Literal["own", "central"] = "own",
    **options: Any,
) -> list[Path]:
    """Write the site files of simulated hospitals, and return them.

    Args:
        source: a site file with all patients, read or as a path.
        study: says what a patient and what the label is.
        by: how to divide: "iid", "labels", "quantity", "column", "shift", or several that decide different things.
        sites: how many hospitals; 10 where nothing is said; with "column" as many as it has values.
        out: folder for the files; empty, or with an earlier partition, which is replaced.
        seed: of everything that is drawn.
        least: fewest patients of a hospital, of those that are divided by `by`.
        test: "own": test patients go where `by` sends them; "central": the test part that the source states is dealt out evenly and at
            random, so that the hospitals' test parts together are exactly that part and each patient is tested once.
        options: of the ways of dividing, such as `alpha=0.5`, `column="scanner"`.

    Raises:
        ProtocolError: a way or an option does not exist, ways contradict each other, or there are too few patients.
        DataError: the rows do not meet the contract.
        StoreError: the folder holds something else, or cannot be written.
    """
    from wardround.simulation import Study, load_study

    if not isinstance(study, Study | Protocol):
        study = load_study(study)
    protocol = study.protocol if isinstance(study, Study) else study.complete()
    ways = _ways([by] if isinstance(by, str) else list(by), options)
    site = source if isinstance(source, SiteFile) else load_site(Path(source))
    if test == "central" and site.split is None:
        remedy = "Write [split] with its column and values, or use test = 'own'."
        raise ProtocolError("test = 'central' keeps a stated test part whole, and the source's site file states none.", remedy)
    everyone = cohort(site, protocol)
    place, hospitals = _places(everyone, protocol, ways, sites, seed, least, test)
    wished = {
        "by": sorted(ways),
        "seed": seed,
        "least": least,
        "test": test,
        "options": {name: asdict(ways[name]) for name in sorted(ways)},
    }
    return write_all(Path(out), Divided(everyone, protocol, tuple(ways.values()), place, tuple(hospitals)), wished)


def _ways(wanted: Sequence[str], options: Mapping[str, Any]) -> dict[str, Partitioner]:
    """Return the ways of dividing by name, each with those of the options that are its own.

    Raises:
        ProtocolError: there is no such way or option, or two ways decide the same.
    """
    if not wanted or len(set(wanted)) < len(wanted):
        raise ProtocolError("by: names no way of dividing, or one twice.", f"Use one or several of: {', '.join(names('partitioner'))}.")
    known = {name: [field.name for field in fields(find("partitioner", name, "by"))] for name in wanted}
    for key in options:
        if not any(key in own for own in known.values()):
            every = [one for own in known.values() for one in own]
            remedy = nearest(key, every) if every else "Leave it out."
            raise ProtocolError(f"{key}: is no option of {' and '.join(wanted)}.", remedy)
    ways: dict[str, Partitioner] = {
        name: make("partitioner", name, {key: value for key, value in options.items() if key in own}, name) for name, own in known.items()
    }
    deciding = [name for name, one in ways.items() if not one.changes]
    if len(deciding) > 1 and any(ways[name].by for name in deciding):
        raise ProtocolError("by: a column decides alone who goes where.", "Leave the others out, or leave the column out.")
    return ways


def _places(
    everyone: Cohort, protocol: Protocol, ways: Mapping[str, Partitioner], sites: int | None, seed: int, least: int, test: str
) -> tuple[np.ndarray, list[str]]:
    """Return the hospital of each patient, int64 [P], and the hospitals' names."""
    column = next((one.by for one in ways.values() if one.by), "")
    divided = ~everyone.tested() if test == "central" else np.ones(len(everyone.identifiers), dtype=bool)
    order = everyone.order(seed)
    if column:
        values = everyone.values(column)
        known = sorted(set(values))
        if sites not in (None, len(known)):
            raise ProtocolError(f"Column {column!r} makes {len(known)} hospitals, not {sites}.", "Leave sites out.")
        place = np.searchsorted(np.array(known), np.array(values)).astype(np.int64)
        hospitals = _named(known)
        _enough(np.bincount(place[divided], minlength=len(known)), least, f"Put small values of column {column!r} together")
    else:
        count = SITES if sites is None else sites
        if not 1 <= count <= 100_000:
            raise ProtocolError(f"sites: {count} hospitals are not possible.", "Use a number from 1 to 100000.")
        hospitals = [f"hospital-{number:0{len(str(count))}d}" for number in range(1, count + 1)]
        place = np.zeros(len(divided), dtype=np.int64)
        kinds = everyone.kinds(protocol)[divided]
        _of_two_classes(ways, kinds)
        table = _table(np.bincount(kinds), list(ways.values()), count, Stream.public(seed).child("partition"), least)
        place[divided] = allot.dealt(order[divided], kinds, table)
    if not divided.all():
        place[~divided] = allot.evenly(order[~divided], len(hospitals))
    return place, hospitals


def _of_two_classes(ways: Mapping[str, Partitioner], kinds: np.ndarray) -> None:
    """Refuse to divide by classes where there is one only: it would divide by size, and say that it was by labels."""
    mixing = [name for name, one in ways.items() if type(one).mix is not Partitioner.mix]
    if mixing and len(np.unique(kinds)) < 2:
        message = (
            f"by: {mixing[0]!r} divides by classes, and all patients are of one (combinations of several labels that are rare are one)."
        )
        raise ProtocolError(message, "Name a label in the study, or use 'quantity' or 'iid'.")


def _table(counts: np.ndarray, ways: Sequence[Partitioner], sites: int, rng: Stream, least: int) -> np.ndarray:
    """Return how many patients of each class each hospital gets, int64 [S, K].

    Raises:
        ProtocolError: there are too few patients, or no draw gave every hospital enough.
    """
    total = int(counts.sum())
    if least < 1 or total < sites * least:
        message = f"{total} patients cannot be divided over {sites} hospitals of at least {least}."
        raise ProtocolError(message, "Ask for fewer hospitals, or lower least (1 or more).")
    for draw in range(_DRAWS):
        stream = rng.child(draw)
        wished = [one for way in ways if (one := way.sizes(sites, stream)) is not None]
        mixes = [one for way in ways if (one := way.mix(counts, sites, stream)) is not None]
        weights = np.prod([np.ones((sites, len(counts))), *mixes], axis=0)
        if len(wished) > 1:
            raise ProtocolError("by: two ways decide the hospitals' sizes.", "Leave one of them out.")
        sizes = least + allot.apportioned(wished[0], total - sites * least) if wished else None
        table = allot.fitted(weights, counts, sizes)
        sizes = allot.apportioned(table.sum(axis=1), total) if sizes is None else sizes
        if sizes.min() >= least:
            return allot.whole_table(table, counts, sizes)
    message = f"In {_DRAWS} draws some hospital always had fewer than {least} patients."
    raise ProtocolError(message, "Raise alpha, ask for fewer hospitals, lower least, or add 'quantity', which decides sizes.")


def _enough(sizes: np.ndarray, least: int, remedy: str) -> None:
    small = int((sizes < least).sum())
    if small:
        message = f"{small} of {len(sizes)} hospitals would have fewer than {least} patients."
        raise ProtocolError(message, f"{remedy}, or lower least.")


def _named(values: Sequence[str]) -> list[str]:
    """Return names of hospitals after a column's values; numbers where these are no names or would collide."""
    plain = [re.sub(r"[^A-Za-z0-9_.-]+", "-", value).strip("-.") for value in values]
    found = [name if name[:1].isalpha() else f"hospital-{name}" for name in plain]
    if len({name.casefold() for name in found}) == len(found) and all(0 < len(name) <= 64 and plain[at] for at, name in enumerate(found)):
        return found
    return [f"hospital-{number:0{len(str(len(values)))}d}" for number in range(1, len(values) + 1)]
