"""Read the images of one field, hold each against the contract, and count what does not fit; nothing is guessed, nothing is skipped.

Every image is looked at before anything is refused. What is found is told with its count and up to three row numbers of the manifest
(counted from 1 without a header), never with a file name or an identifier: these may name a patient.

A field holds *masks* where more than half of the images have at most three different values in the file, before it is resized: outlines
that somebody drew, where radiographs were expected. A few such images are a warning.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from wardround.data.cells import without
from wardround.data.fields import markers
from wardround.data.fitting import Fitting
from wardround.data.report import SMALL, FieldSummary, Found, shown
from wardround.data.rowstore import MEMORY, RowStore
from wardround.data.site_file import FieldMap, SiteFile
from wardround.study.dataset import stored_as
from wardround.study.errors import DataError
from wardround.study.interfaces import Flaw, Source
from wardround.study.protocol import Field

_MASK_VALUES = 3
_GLANCE = 4096
# Less of the contract's range than this share means that values were read at another depth, such as 8 bits as 16.
_FILLED = 1 / 64


@dataclass(frozen=True)
class Pictured:
    """Hold the images of one field, and what was seen of each.

    Attributes:
        values: [N, *shape], of the type that the snapshot keeps; zeros where there is no image.
        there: bool [N], which rows have an image.
        alike: by row the digest of its image, 16 bytes; equal for the very same image.
        low: float64 [N], smallest value of each image.
        high: float64 [N], largest.
        mean: float64 [N], mean over pixels.
        square: float64 [N], mean of squares.
        shallow: bool [N], which files have 8 bits a value.
    """

    values: np.ndarray
    there: np.ndarray
    alike: list[bytes]
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    shallow: np.ndarray

    @property
    def constant(self) -> np.ndarray:
        """Return bool [N], which images have one value only."""
        return np.asarray(self.there & (self.low == self.high))


@dataclass(frozen=True)
class Place:
    """Say where images are read to and how rows are named.

    Attributes:
        rows: the place of each row in the hospital's manifest, counted from 1 without a header; None for the row's own number.
        memory: bytes of images that are held in memory; more are mapped from a file.
        scratch: folder on whose disk that file is; None for the system's.
    """

    rows: Sequence[int] | None = None
    memory: int = MEMORY
    scratch: Path | None = None

    def named(self, numbers: Iterable[int]) -> str:
        """Return up to three rows in words.

        Example:
            >>> Place().named([0, 4, 7, 9])
            'such as rows 1, 5 and 8'
        """
        found = [str(number + 1 if self.rows is None else self.rows[number]) for number in sorted(numbers)[:3]]
        return f"such as row {found[0]}" if len(found) == 1 else f"such as rows {', '.join(found[:-1])} and {found[-1]}"


def read_images(
    name: str, field: Field, column: pl.Series, source: Source | None, site: SiteFile, found: Found, place: Place
) -> Pictured | None:
    """Return the images of a field, or None where the source has none at all.

    Args:
        name: of the field.
        field: what the contract says of it.
        column: the local column, whose cells the source understands.
        source: of the site.
        site: says how images are made to fit.
        found: gets what does not fit.
        place: where to, and how rows are named.
    """
    entry = site.map.get(name, FieldMap())
    if entry.unit is not None or entry.factor is not None or entry.offset is not None or entry.codes is not None:
        found.error(name, f"{site.place('map', name)}: an image has no unit, factor, offset or codes.", "Leave them out.")
    references = without(column, markers(site, name)) if column.dtype == pl.String else column
    try:
        if source is None:
            raise DataError("This kind of source has no images.", "Use another kind.")
        pictured, flaws, few = _gone_through(references, source, field, Fitting.of(name, field, entry), place)
    except DataError as error:
        found.error(name, f"{name}: {error.message}", error.remedy)
        return None
    for flaw, rows in flaws.items():
        found.error(name, f"{name}: {shown(len(rows))} images {flaw.wrong} ({place.named(rows)}).", flaw.remedy, len(rows))
    _masks(name, few, int(pictured.there.sum()) + sum(map(len, flaws.values())), found, place)
    if entry.rescale is not None or not _shallow(name, field, pictured, found, place):
        _faint(name, field, pictured, found)
    constant = np.flatnonzero(pictured.constant & ~few)
    if len(constant):
        sentence = f"{name}: {shown(len(constant))} images have one value everywhere ({place.named(constant.tolist())})."
        found.warn(name, sentence, "Look whether the export lost them, and leave such rows out.", len(constant))
    return pictured


def _gone_through(
    references: pl.Series, source: Source, field: Field, fitting: Fitting, place: Place
) -> tuple[Pictured, dict[Flaw, list[int]], np.ndarray]:
    """Return what was seen of each image, the rows of each flaw, and bool [N] which images have hardly any values."""
    count = len(references)
    store = RowStore(count, fitting.shape, stored_as(field), place.memory, place.scratch)
    low, high, mean, square = np.zeros((4, count))
    (there, few, shallow), alike = np.zeros((3, count), dtype=bool), [b""] * count
    flaws: dict[Flaw, list[int]] = defaultdict(list)
    images = source.pictures(field, references)
    for row in range(count):
        raw = next(images, None)
        if raw is None:
            raise DataError("The source has fewer images than rows.", "Prepare again; tell the authors where it stays so.")
        few[row] = not isinstance(raw, Flaw) and _few_values(raw)
        image = raw if isinstance(raw, Flaw) else fitting.fitted(raw)
        if isinstance(image, Flaw):
            flaws[image].append(row)
            store.put(None)
            continue
        store.put(image)
        there[row], shallow[row] = True, not isinstance(raw, Flaw) and raw.dtype.itemsize == 1
        alike[row] = hashlib.blake2b(image.data, digest_size=16).digest()
        low[row], high[row] = image.min(), image.max()
        exact = image.reshape(-1).astype(np.float64)
        mean[row], square[row] = exact.mean(), exact @ exact / len(exact)
    return Pictured(store.array(), there, alike, low, high, mean, square, shallow), dict(flaws), few


def _few_values(raw: np.ndarray) -> bool:
    """Say whether an image has two or three different values."""
    flat = raw.reshape(-1)
    if len(np.unique(flat[:: max(1, len(flat) // _GLANCE)])) > _MASK_VALUES:
        return False
    return 1 < len(np.unique(flat)) <= _MASK_VALUES


def _masks(name: str, few: np.ndarray, seen: int, found: Found, place: Place) -> None:
    count = int(few.sum())
    if not count:
        return
    sentence = f"{name}: {shown(count)} images have at most {_MASK_VALUES} different values ({place.named(np.flatnonzero(few).tolist())})"
    if 2 * count > seen:
        found.error(name, f"{sentence}. These are masks.", "Name the column with the images themselves under [map].", count)
    else:
        found.warn(name, f"{sentence}, as masks have.", "Look whether they are masks, and leave such rows out.", count)


def _shallow(name: str, field: Field, pictured: Pictured, found: Found, place: Place) -> bool:
    """Tell of files of 8 bits where the contract's intensities need more, and say whether there are any: the scanner's values are lost.

    Most of the images: refused. Some among deeper ones: a warning, for the model would tell the exports apart.
    """
    low, high = field.intensity or (0.0, 255.0)
    rows = np.flatnonzero(pictured.shallow)
    if high <= 255 or not len(rows):
        return False
    ask = f"Write rescale = [lowest, highest intensity of your images] at {name} under [map], such as rescale = [0, 255]"
    sentence = f"{name}: {shown(len(rows))} images have values between 0 and 255, as of 8 bits ({place.named(rows.tolist())})"
    if 2 * len(rows) > (seen := int(pictured.there.sum())):
        remedy = f"{ask}; or bring the images with all their bits." if len(rows) == seen else "Bring all images with all their bits."
        found.error(name, f"{sentence}; the contract says {low:g} to {high:g}.", remedy, len(rows))
    else:
        remedy = "Bring these images with all their bits, or leave such rows out."
        found.warn(name, f"{sentence}, among others with more; the contract says {low:g} to {high:g}.", remedy, len(rows))
    return True


def _faint(name: str, field: Field, pictured: Pictured, found: Found) -> None:
    """Refuse intensities that fill so little of the contract's range that they must have been read at another depth."""
    low, high = field.intensity or (0.0, 255.0)
    if not pictured.there.any():
        return
    least, most = float(pictured.low[pictured.there].min()), float(pictured.high[pictured.there].max())
    if not 0 < most - least < (high - low) * _FILLED:
        return
    ask = f"Write rescale = [lowest, highest intensity of your images] at {name} under [map]"
    if low >= 0 and high > 1000 and least >= 0 and most <= 255:
        sentence = f"{name}: all values lie between 0 and 255, as of 8 bits; the contract says {low:g} to {high:g}."
        found.error(name, sentence, f"{ask}, such as rescale = [0, 255]; or bring the images with all their bits.")
    else:
        sentence = f"{name}: all values together fill less than a {round(1 / _FILLED)}th of the contract's intensity, {low:g} to {high:g}."
        found.error(name, sentence, f"{ask}.")


def find_repeated(
    name: str, pictured: Pictured, patient: np.ndarray, roles: np.ndarray, labels: Sequence[np.ndarray], found: Found, place: Place
) -> None:
    """Warn of the very same image in rows of several patients or parts, or with several labels.

    Args:
        name: of the field.
        pictured: its images.
        patient: int64 [N], the patient of each row.
        roles: int8 [P], the part of each patient; empty where it is not known.
        labels: each [N].
        found: gets the warnings.
        place: how rows are named.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row in np.flatnonzero(pictured.there & ~pictured.constant):
        groups[pictured.alike[row]].append(int(row))
    told: Mapping[str, tuple[Sequence[np.ndarray], str]] = {
        "stand in rows of several patients": ([patient], "Look whether patients were mixed up, or one has two identifiers."),
        "stand in two parts (training, validation, test)": (
            [roles[patient]] if len(roles) else [],
            "The test would be too easy: put all rows with the same image into one part, or leave copies out.",
        ),
        "stand there with different labels": (labels, "One of the labels is wrong; correct it or leave these rows out."),
    }
    several = [rows for rows in groups.values() if len(rows) > 1]
    for what, (values, remedy) in told.items():
        rows = [row for group in several if any(len(np.unique(one[group])) > 1 for one in values) for row in group]
        if rows:
            found.warn(name, f"{name}: {shown(len(rows))} images are copies that {what} ({place.named(rows)}).", remedy, len(rows))


def summarised_images(name: str, field: Field, pictured: Pictured, patient: np.ndarray) -> FieldSummary:
    """Return a field's summary: size, mean, deviation and range of the intensities; the size alone where few patients stand behind it.

    Args:
        name: of the field.
        field: what the contract says of it.
        pictured: its images.
        patient: int64 [N], the patient of each row.
    """
    there = pictured.there
    size, missing = " x ".join(map(str, field.shape or ())), int((~there).sum())
    if len(np.unique(patient[there])) < SMALL:
        return FieldSummary(name, None, missing, size=size)
    mean = float(pictured.mean[there].mean())
    deviation = math.sqrt(max(0.0, float(pictured.square[there].mean()) - mean * mean))
    ends = (float(pictured.low[there].min()), float(pictured.high[there].max()))
    return FieldSummary(name, None, missing, mean, deviation, size=size, ends=ends)
