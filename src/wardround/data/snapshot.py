"""Keep a dataset as an immutable folder that is named by its digest.

    <64 hex digits>/columns.safetensors     every field, patient index, role and time
    <64 hex digits>/snapshot.json           what they are; states the digest of columns.safetensors

The digest of snapshot.json is the snapshot's digest and the folder's name, so `sha256sum` on both files shows whether a byte was changed.
The snapshot depends on the site's rows, the contract's fields and the split, on nothing else of a study. No identifier of the hospital
enters it: patients are numbers, training patients first, then validation, then test, each by first appearance in the file.

Source: safetensors (see `wardround.study.arrays`); RFC 8785 (canonical JSON).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

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
    about = canonical({**_about(dataset, contract, source), "columns": digest(columns)})
    name = digest(about)
    place = folder / name.removeprefix("sha256:")
    if place.exists():
        return read_snapshot(place), place
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, place, {COLUMNS: columns, ABOUT: about})
    except OSError as error:
        reason = error.strerror or "the system refused"
        raise StoreError(
            f"The snapshot could not be written to {folder}: {reason}.", "Make room or choose another folder; nothing was lost."
        ) from error
    return replace(dataset, digest=name, cache={}), place


def read_snapshot(folder: Path, verify: bool = True) -> Dataset:
    """Return the dataset in a snapshot's folder.

    Args:
        folder: named by the snapshot's digest.
        verify: hash the columns as well, which takes a second for each gigabyte or so; snapshot.json is always hashed.

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
    return Dataset(under(arrays, "field"), arrays["patient"], arrays["role"], arrays.get("time"), name, notes=under(arrays, "note"))


def check_snapshot(folder: Path) -> None:
    """Check that no byte of a snapshot was changed, without reading it into memory.

    Raises:
        VerificationError: a byte was changed, or a file is missing; prepare the site again.
    """
    remedy = "Prepare the site again, look at it, and approve anew."
    try:
        about = (folder / ABOUT).read_bytes()
        with (folder / COLUMNS).open("rb") as file:
            columns = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VerificationError(f"{folder}: this is no whole snapshot ({error.strerror}).", remedy) from error
    if digest(about) != f"sha256:{folder.name}" or json.loads(about)["columns"] != f"sha256:{columns}":
        raise VerificationError(f"{folder}: the snapshot was changed after it was made.", remedy)


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    time = {} if dataset.time is None else {"time": dataset.time}
    beside = {**put_under("note", dataset.notes), "patient": dataset.patient, "role": dataset.role}
    return {**put_under("field", dataset.columns), **beside, **time}


def _about(dataset: Dataset, contract: Contract, source: str) -> dict[str, Any]:
    fields = {name: {"type": field.type, "unit": field.unit, "codes": field.codes} for name, field in contract.fields.items()}
    missing = {
        name: int((column < 0).sum() if column.dtype == np.int32 else np.isnan(column).sum()) for name, column in dataset.columns.items()
    }
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


def _write(folder: Path, place: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into a temporary folder and rename it: a crash leaves a snapshot or none. They are for this user's eyes only."""
    temporary = Path(tempfile.mkdtemp(prefix=".snapshot-", dir=folder))
    try:
        for name, data in files.items():
            with (temporary / name).open("xb") as file:
                file.write(data)
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
