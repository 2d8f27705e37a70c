"""Write one simulated hospital: its rows as a file of their own, and the site file that describes them.

Rows keep the source's columns and their text, so all that the source's site file says of them still holds. What a hospital's instruments
changed stands in further columns, in the contract's units.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wardround.partitions.cohort import Cohort
from wardround.study.protocol import Contract
from wardround.study.protocol.section import Section

_KEPT = ("missing", "decimal")
"""Options of a source that say how cells are read, whatever file they stand in."""


def write_hospital(
    folder: Path, name: str, cohort: Cohort, contract: Contract, rows: np.ndarray, seen: Mapping[str, np.ndarray], mark: str
) -> Path:
    """Write one hospital's rows beside its site file, and return the site file: a table as Parquet, pictures as `.npz`.

    Args:
        folder: gets both.
        name: of the hospital.
        cohort: the source that is divided.
        contract: says which field is a picture.
        rows: numbers of the hospital's rows, ascending.
        seen: by field, what its instruments made of the values of these rows, NaN where missing; pictures always.
        mark: how the hospital was made up, in one line.
    """
    site, kind = cohort.site, "table" if contract.image is None else "images"
    pictures = {_local(cohort, field) for field, one in contract.fields.items() if one.type == "image"}
    frame = cohort.frame[rows].drop(pictures & {*cohort.frame.columns})
    names = {field: field if field not in frame.columns else f"{field}, as seen here" for field in seen}
    if kind == "table":
        further = [pl.Series(names[field], values, nan_to_null=True) for field, values in seen.items()]
        frame.with_columns(further).write_parquet(folder / f"{name}.parquet")
    else:
        write_arrays(folder / f"{name}.npz", {**_arrays(frame), **{names[field]: values for field, values in seen.items()}})
    options = {key: site.source.options[key] for key in _KEPT if key in site.source.options}
    source = {"kind": kind, "path": f"{name}.{'parquet' if kind == 'table' else 'npz'}", **options}
    return write_site(folder, name, cohort, source, {field: {"column": names[field]} for field in seen}, mark)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a `.npz` whose bytes depend on the arrays alone: without the time of writing, and not compressed, so that it is read fast."""
    with zipfile.ZipFile(path, "w") as file:
        for name, values in arrays.items():
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)


def _arrays(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Return a table's columns as arrays: numbers where all are there, else texts, "" where missing."""
    found = {}
    for column in frame.get_columns():
        plain = column.dtype.is_numeric() and not column.null_count()
        found[column.name] = column.to_numpy() if plain else np.array(column.cast(pl.String).fill_null("").to_list(), dtype=np.str_)
    return found


def _local(cohort: Cohort, field: str) -> str:
    """Return the name of the local column of a field, also where the site file gives its number."""
    column = cohort.site.column_of(field)
    return cohort.frame.columns[column] if isinstance(column, int) else column


def write_site(folder: Path, name: str, cohort: Cohort, source: Mapping[str, Any], changed: Mapping[str, Any], mark: str) -> Path:
    """Write a simulated hospital's site file and return its path.

    Args:
        folder: for the file.
        name: of the hospital.
        cohort: the source that was divided; its map, split and label card hold here too.
        source: the table `[source]`.
        changed: entries of `[map]` in place of the source's own.
        mark: how the hospital was made up, in one line.
    """
    site = cohort.site
    entries = {field: {**_written(one), "column": _local(cohort, field)} for field, one in site.map.items()}
    tables: dict[str, Any] = {"source": source, "map": {**entries, **changed}}
    if site.split is not None:
        column = site.split.column
        tables["split"] = {**_written(site.split), "column": cohort.frame.columns[column] if isinstance(column, int) else column}
    if site.label_card is not None:
        tables["label_card"] = _written(site.label_card)
    lines = ["# A simulated hospital: not the records of one place.", f"name = {_toml(name)}", f"simulated = {_toml(mark)}"]
    for title, table in tables.items():
        lines += ["", f"[{title}]", *(f"{_key(key)} = {_toml(value)}" for key, value in table.items())]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _written(section: Section) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def _toml(value: Any) -> str:
    """Return a JSON value as TOML: what differs is the table, and the letters that JSON may leave as they are."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f") if isinstance(value, str) else json.dumps(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)
