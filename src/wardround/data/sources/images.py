"""Read pictures: a folder of PNG and JPEG files with a manifest, or one `.npz` file of arrays.

    [source]                                        [source]
    kind = "images"                                 kind = "images"
    path = "radiographs"        # the folder        path = "signals.npz"
    manifest = "manifest.csv"   # in that folder    parts = ["train", "val", "test"]   # of names such as train_images

The manifest is a table, one row an image; one of its columns holds each file's path within the folder, and `[map]` says which column is
which field of the contract, as with any table. In an `.npz` file each array is a column of its own name; arrays with one number a row are
columns of values, and an array of images is a column of row numbers. With `parts` an array is found under each part's name before its own,
and a further column, "part", says which. Volumes and signals come in `.npz` files only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from wardround.data.array_file import Header, headers, rows, whole
from wardround.data.fitting import channels_first
from wardround.data.picture_file import ABSENT, needs_imaging, picture
from wardround.data.sources.table import Table
from wardround.study.errors import DataError
from wardround.study.findings import nearest
from wardround.study.interfaces import Flaw, Source
from wardround.study.protocol import Contract, Field

_OUTSIDE = Flaw(
    "lie outside the folder", "Name files within the folder of path under [source] only, or let path name the folder above them."
)
_UNNAMED = Flaw("are not named in the manifest", "Complete the manifest, or leave these rows out.")
_WHOLE = Flaw("are only in two dimensions, and the contract has another number", "Bring signals and volumes as an .npz file.")
_PART = "part"
_FEW = 64


@dataclass(frozen=True)
class Images(Source):
    """Read pictures from a folder or an array file.

    Attributes:
        path: of the folder, or of the `.npz` file; relative to the site file's folder.
        manifest: the folder's table, relative to the folder.
        prefix: goes before each file name of the manifest, such as "png/".
        suffix: goes after it, such as ".png".
        parts: of an `.npz` file: names before those of the arrays, such as "train" in "train_images"; none where there is one part.
        separator: of the manifest; None for a comma or, in a .tsv, a tab.
        missing: texts of the manifest that mean missing.
        decimal: decimal mark of numbers in the manifest.
        encoding: of the manifest.
    """

    path: Path
    manifest: str = "manifest.csv"
    prefix: str = ""
    suffix: str = ""
    parts: tuple[str, ...] = ()
    separator: str | None = None
    missing: tuple[str, ...] = ("NA",)
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Refuse what could not be read anyhow.

        Raises:
            ValueError: the manifest's options are impossible, or a part stands there twice.
        """
        Table(Path(self.manifest), separator=self.separator, encoding=self.encoding)
        if len(set(self.parts)) != len(self.parts):
            raise ValueError("parts: names a part twice; list each once")

    def read(self, contract: Contract) -> pl.DataFrame:
        """Return the manifest's rows; of an `.npz` file its values, and the row numbers of its images.

        Raises:
            DataError: folder, manifest or array file cannot be read, or arrays of one part have different numbers of rows.
        """
        return self._arrays() if self._is_array_file else self._manifest(contract)

    def pictures(self, field: Field, references: pl.Series) -> Iterator[np.ndarray | Flaw]:
        """Yield the image of each reference; see `Source.pictures`.

        Raises:
            DataError: an array cannot be read to its end.
            MissingExtra: Pillow is not installed.
        """
        return self._rows(field, references) if self._is_array_file else self._files(field, references)

    @property
    def _is_array_file(self) -> bool:
        return self.path.suffix.lower() == ".npz"

    def _manifest(self, contract: Contract) -> pl.DataFrame:
        if self.path.is_file():
            raise DataError(f"{self.path.name}: is no folder and no .npz file.", "Name the folder with the images under [source] path.")
        if not self.path.is_dir():
            raise DataError(
                f"{self.path}: there is no such folder.", "Check path under [source]; it is relative to the site file's folder."
            )
        place = self.path / self.manifest
        if not place.is_file():
            remedy = 'Write a table with one row an image there, or name it: manifest = "..." under [source].'
            raise DataError(f"{place}: there is no manifest.", remedy)
        table = Table(place, separator=self.separator, missing=self.missing, decimal=self.decimal, encoding=self.encoding)
        return table.read(contract)

    def _files(self, field: Field, references: pl.Series) -> Iterator[np.ndarray | Flaw]:
        if len(field.shape or ()) != 3:
            yield from [_WHOLE] * len(references)
            return
        needs_imaging()
        folder = self.path.resolve()
        for reference in references.cast(pl.String):
            yield _UNNAMED if reference is None or not reference.strip() else self._file(folder, reference.strip())

    def _file(self, folder: Path, reference: str) -> np.ndarray | Flaw:
        """Return the picture in one file; a path that leads out of the folder, through a link too, is not followed."""
        name = f"{self.prefix}{reference}{self.suffix}"
        try:
            place = (folder / name).resolve()
            if "\\" in name and not place.exists():  # a manifest that was written on Windows
                place = (folder / name.replace("\\", "/")).resolve()
            if not place.is_relative_to(folder):
                return _OUTSIDE
            return picture(place) if place.is_file() else ABSENT
        except (OSError, ValueError, RuntimeError):  # a name too long, with a zero byte, or a link to itself
            return ABSENT

    def _named(self) -> dict[str, list[tuple[str, Header]]]:
        """Return by column the arrays that make it up, part by part."""
        found = headers(self.path)
        if not self.parts:
            named = {name: [(name, header)] for name, header in found.items()}
        else:
            ends = {name.removeprefix(f"{part}_") for part in self.parts for name in found if name.startswith(f"{part}_")}
            lacking = [f"{part}_{end}" for end in sorted(ends) for part in self.parts if f"{part}_{end}" not in found]
            if lacking or not ends:
                wanted = lacking[0] if lacking else f"{self.parts[0]}_images"
                raise DataError(f"{self.path.name}: has no array {wanted!r}.", f"Correct parts under [source]. {nearest(wanted, found)}")
            named = {end: [(f"{part}_{end}", found[f"{part}_{end}"]) for part in self.parts] for end in sorted(ends)}
        if not named or any(not header.shape for arrays in named.values() for _, header in arrays):
            raise DataError(
                f"{self.path.name}: holds no arrays with rows.", "Save one array of images and one of labels, one row an image."
            )
        self._counts(named)
        return named

    def _counts(self, named: dict[str, list[tuple[str, Header]]]) -> None:
        """Refuse arrays of one part that have different numbers of rows: labels would go to other images."""
        for number in range(len(next(iter(named.values())))):
            counts = {arrays[number][0]: arrays[number][1].shape[0] for arrays in named.values()}
            if len(set(counts.values())) > 1:
                listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
                remedy = "Save as many labels as images, in the same order."
                if not self.parts and any("_" in name for name in counts):
                    remedy += ' Where the names begin with a part, write parts = ["train", "test"] under [source].'
                raise DataError(f"{self.path.name}: arrays have different numbers of rows ({listed}).", remedy)

    def _arrays(self) -> pl.DataFrame:
        named = self._named()
        sizes = [header.shape[0] for _, header in next(iter(named.values()))]
        columns: dict[str, pl.Series] = {}
        for name, arrays in named.items():
            shape = arrays[0][1].shape
            if _has_images(arrays[0][1]):
                columns[name] = pl.Series(name, np.arange(sum(sizes)))
            if len(shape) == 1 or (len(shape) == 2 and shape[1] <= _FEW):
                values = np.concatenate([whole(self.path, one).reshape(size, -1) for (one, _), size in zip(arrays, sizes, strict=True)])
                wide = values.shape[1] > 1
                columns |= {f"{name}.{place}" if wide else name: _series(values[:, place]) for place in range(values.shape[1])}
        if self.parts:
            columns[_PART] = pl.Series([part for part, size in zip(self.parts, sizes, strict=True) for _ in range(size)], dtype=pl.String)
        return pl.DataFrame(columns)

    def _rows(self, field: Field, references: pl.Series) -> Iterator[np.ndarray | Flaw]:
        named = self._named()
        arrays = named.get(references.name)
        if arrays is None or not _has_images(arrays[0][1]):
            images = [name for name, found in named.items() if _has_images(found[0][1])]
            raise DataError(f"{self.path.name}: {references.name!r} is no array of images.", nearest(references.name, images))
        wanted = references.to_numpy()
        start = 0
        for name, header in arrays:
            end = start + header.shape[0]
            for row in rows(self.path, name, (wanted[(wanted >= start) & (wanted < end)] - start).tolist()):
                yield channels_first(row, field)
            start = end


def _has_images(header: Header) -> bool:
    """Say whether a row of an array is more than one value."""
    return len(header.shape) > 1 and header.shape[1:] != (1,)


def _series(values: np.ndarray) -> pl.Series:
    """Return an array's values as a column: texts as texts, numbers as numbers."""
    if values.dtype.kind == "S":
        return pl.Series([one.decode("utf-8", "replace") for one in values.tolist()], dtype=pl.String)
    return pl.Series(values.tolist(), dtype=pl.String) if values.dtype.kind == "U" else pl.Series(values)
