"""Keep a dataset as an immutable folder that is named by its digest.

    <64 hex digits>/columns.safetensors     every field, patient index, role and time
    <64 hex digits>/image-FIELD.bin         raw values of a field of images: row after row, little-endian
    <64 hex digits>/snapshot.json           what they are; states the digest of each other file

The digest of snapshot.json is the snapshot's digest and the folder's name, so `sha256sum` on the files shows whether a byte was changed.
Images are written and read in blocks; more than fits in memory (`rowstore.MEMORY`) stays on the disk and is mapped.
The snapshot depends on the site's rows, the contract's fields and the split, on nothing else of a study. No identifier of the hospital
enters it: patients are numbers, training patients first, then validation, then test, each by first appearance in the file.

Source: safetensors (see `wardround.study.arrays`); RFC 8785 (canonical JSON).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wardround.data.report import SMALL
from wardround.data.rowstore import MEMORY, blocks
from wardround.study.arrays import from_bytes, put_under, to_bytes, under
from wardround.study.canonical import canonical, digest
from wardround.study.dataset import ROLES, Dataset
from wardround.study.errors import StoreError, VerificationError
from wardround.study.protocol import Contract

COLUMNS, ABOUT = "columns.safetensors", "snapshot.json"


def write_snapshot(dataset: Dataset, contract: Contract, source: str, folder: Path) -> tuple[Dataset, Path]:
    """Write a snapshot, whole or not at all, and return the dataset with its digest and the snapshot's folder.

    Args:
        dataset: what `contract_check` made.
        contract: says what the columns are.
        source: kind of the source, such as "table" or "synthetic".
        folder: gets the snapshot as a folder of its own; the same rows give the same folder again.

    Raises:
        StoreError: it could not be written; nothing half-written is left.
        VerificationError: the folder is there already, and was altered since.
    """
    columns = to_bytes(_arrays(dataset))
    images = {name: dataset.columns[name] for name in contract.fields if dataset.columns[name].ndim > 1}
    stated = {"images": {name: _stated(array) for name, array in images.items()}} if images else {}
    about = canonical({**_about(dataset, contract, source), **stated, "columns": digest(columns)})
    name = digest(about)
    place = folder / name.removeprefix("sha256:")
    if place.exists():
        return read_snapshot(place), place
    try:
        folder.mkdir(parents=True, exist_ok=True)
        raw = {_image(name): _pieces(array) for name, array in images.items()}
        _write(folder, place, {COLUMNS: [columns], **raw, ABOUT: [about]})
    except OSError as error:
        reason = error.strerror or "the system refused"
        raise StoreError(
            f"The snapshot could not be written to {folder}: {reason}.", "Make room or choose another folder; nothing was lost."
        ) from error
    # What was mapped from a file without a name is mapped from the snapshot now, and that file goes.
    mapped = {
        one: _read_image(place, one, stated["images"][one], False, 0) for one, array in images.items() if isinstance(array, np.memmap)
    }
    return replace(dataset, columns={**dataset.columns, **mapped}, digest=name, cache={}), place


def read_snapshot(folder: Path, verify: bool = True, memory: int = MEMORY) -> Dataset:
    """Return the dataset in a snapshot's folder.

    Args:
        folder: named by the snapshot's digest.
        verify: hash columns and images as well, which takes a second for each gigabyte or so; snapshot.json is always hashed.
        memory: bytes of images that are read into memory; more are mapped from their file.

    Raises:
        VerificationError: a byte was changed, or a file is missing; prepare the site again.
    """
    remedy = "Remove this folder and prepare the site again."
    try:
        about, columns = (folder / ABOUT).read_bytes(), (folder / COLUMNS).read_bytes()
    except OSError as error:
        raise VerificationError(f"{folder}: this is no whole snapshot ({error.strerror}).", remedy) from error
    name = digest(about)
    if name.removeprefix("sha256:") != folder.name:
        raise VerificationError(f"{folder}: {ABOUT} was changed after the snapshot was made.", remedy)
    stated: dict[str, Any] = json.loads(about)
    if verify and digest(columns) != stated["columns"]:
        raise VerificationError(f"{folder}: {COLUMNS} was changed after the snapshot was made.", remedy)
    arrays = from_bytes(columns)
    images = {one: _read_image(folder, one, about, verify, memory) for one, about in stated.get("images", {}).items()}
    fields = {**under(arrays, "field"), **images}
    return Dataset(fields, arrays["patient"], arrays["role"], arrays.get("time"), name, notes=under(arrays, "note"))


def check_snapshot(folder: Path) -> None:
    """Check that no byte of a snapshot was changed, without reading it into memory.

    Raises:
        VerificationError: a byte was changed, or a file is missing; prepare the site again.
    """
    remedy = "Prepare the site again, look at it, and approve anew."
    try:
        about = (folder / ABOUT).read_bytes()
        known = digest(about) == f"sha256:{folder.name}"
        stated: dict[str, Any] = json.loads(about) if known else {}
        wanted = {COLUMNS: stated.get("columns"), **{_image(name): one["digest"] for name, one in stated.get("images", {}).items()}}
        whole = known and all(_digest_of(folder / name) == one for name, one in wanted.items())
    except OSError as error:
        raise VerificationError(f"{folder}: this is no whole snapshot ({error.strerror}).", remedy) from error
    if not whole:
        raise VerificationError(f"{folder}: the snapshot was changed after it was made.", remedy)


def told_size(dataset: Dataset, folder: Path) -> dict[str, int]:
    """Return how many bytes a snapshot has, as `snapshot_bytes`, as far as that may be told.

    All images of a study have one size on disk, so the snapshot's divided by it would be their number, which is hidden where it is small:
    then nothing is told, and two digits of the size of any snapshot with images.

    Args:
        dataset: what it holds.
        folder: where it is.
    """
    if min(len(dataset), dataset.patients) < SMALL:
        return {}
    size = sum(path.stat().st_size for path in folder.iterdir())
    pictures = any(column.ndim > 1 for column in dataset.columns.values())
    return {"snapshot_bytes": round(size, 2 - len(str(size))) if pictures else size}


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    time = {} if dataset.time is None else {"time": dataset.time}
    beside = {**put_under("note", dataset.notes), "patient": dataset.patient, "role": dataset.role}
    columns = {name: column for name, column in dataset.columns.items() if column.ndim == 1}
    return {**put_under("field", columns), **beside, **time}


def _image(name: str) -> str:
    """Return the name of the file with a field's images."""
    return f"image-{name}.bin"


def _pieces(array: np.ndarray) -> Iterator[memoryview]:
    """Yield the bytes of an array's rows, little-endian, block by block."""
    for block in blocks(array):
        yield np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def _stated(array: np.ndarray) -> dict[str, Any]:
    """Return what snapshot.json says of a field's images."""
    total = hashlib.sha256()
    for piece in _pieces(array):
        total.update(piece)
    return {"type": array.dtype.name, "shape": list(array.shape), "digest": f"sha256:{total.hexdigest()}"}


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _read_image(folder: Path, name: str, about: Mapping[str, Any], verify: bool, memory: int) -> np.ndarray:
    """Return a field's images, in memory or mapped from their file.

    Raises:
        VerificationError: a byte was changed, or the file is missing or of another length.
    """
    remedy = "Remove this folder and prepare the site again."
    path, kind, shape = folder / _image(name), np.dtype(about["type"]).newbyteorder("<"), tuple(about["shape"])
    size = kind.itemsize * math.prod(shape)
    try:
        changed = path.stat().st_size != size or (verify and _digest_of(path) != about["digest"])
        if changed:
            raise VerificationError(f"{folder}: {path.name} was changed after the snapshot was made.", remedy)
        return np.fromfile(path, kind).reshape(shape) if size <= memory else np.memmap(path, kind, "r", shape=shape)
    except OSError as error:
        raise VerificationError(f"{folder}: this is no whole snapshot ({error.strerror}).", remedy) from error


def _about(dataset: Dataset, contract: Contract, source: str) -> dict[str, Any]:
    fields: dict[str, dict[str, Any]] = {
        name: {"type": field.type, "unit": field.unit, "codes": field.codes} for name, field in contract.fields.items()
    }
    for name, field in contract.fields.items():
        if field.shape is not None:
            fields[name] |= {"shape": field.shape, "intensity": field.intensity}
    tables = {name: column for name, column in dataset.columns.items() if column.ndim == 1}
    missing = {name: int((column < 0).sum() if column.dtype == np.int32 else np.isnan(column).sum()) for name, column in tables.items()}
    return {
        "version": 1,
        "source": source,
        "fields": fields,
        "time": dataset.time is not None,
        "patient_identifiers": contract.patient is not None,
        "examples": len(dataset),
        "patients": dataset.patients,
        "examples_by_part": {role: int((dataset.role == index).sum()) for index, role in enumerate(ROLES)},
        "missing": missing,
    }


def _write(folder: Path, place: Path, files: Mapping[str, Iterable[bytes | memoryview]]) -> None:
    """Write the files into a temporary folder and rename it: a crash leaves a snapshot or none. They are for this user's eyes only."""
    temporary = Path(tempfile.mkdtemp(prefix=".snapshot-", dir=folder))
    try:
        for name, pieces in files.items():
            with (temporary / name).open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            (temporary / name).chmod(0o400)
        temporary.rename(place)
        _sync(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    """Wait until the disk knows the new name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
