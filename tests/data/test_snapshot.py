from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.hospital import protocol
from wardround.data.rowstore import MEMORY, gathered
from wardround.data.snapshot import ABOUT, COLUMNS, check_snapshot, read_snapshot, told_size, write_snapshot
from wardround.study.dataset import Dataset
from wardround.study.errors import StoreError, VerificationError
from wardround.study.protocol import Contract

CONTRACT = protocol().contract


def dataset(time: bool = False) -> Dataset:
    columns = {
        "age": np.array([50.0, 60.5, 70.0]),
        "chol": np.array([200.0, np.nan, 0.1]),
        "sex": np.array([0, 1, -1], dtype=np.int32),
        "ill": np.array([1, 0, 1], dtype=np.int32),
    }
    seconds = np.array([0.0, np.nan, 1e9]) if time else None
    return Dataset(columns, np.array([0, 1, 1]), np.array([0, 2, 2], dtype=np.int8), seconds)


@pytest.mark.parametrize("time", [False, True])
def test_what_is_written_is_read(tmp_path: Path, time: bool) -> None:
    written, folder = write_snapshot(dataset(time), CONTRACT, "table", tmp_path / "snapshots")
    read = read_snapshot(folder)
    assert read.digest == written.digest
    for name, column in dataset().columns.items():
        assert read.columns[name].dtype == column.dtype
        assert np.array_equal(read.columns[name], column, equal_nan=True)
    assert np.array_equal(read.patient, [0, 1, 1])
    assert np.array_equal(read.role, [0, 2, 2])
    assert (read.time is None) == (not time)


def test_the_digest_is_what_sha256sum_prints(tmp_path: Path) -> None:
    written, folder = write_snapshot(dataset(), CONTRACT, "table", tmp_path)
    assert folder.name == hashlib.sha256((folder / ABOUT).read_bytes()).hexdigest() == written.digest.removeprefix("sha256:")
    about = json.loads((folder / ABOUT).read_bytes())
    assert about["columns"] == "sha256:" + hashlib.sha256((folder / COLUMNS).read_bytes()).hexdigest()
    assert about["missing"] == {"age": 0, "chol": 1, "sex": 1, "ill": 0}
    assert about["patients"] == 2
    assert about["source"] == "table"
    assert "paper" not in (folder / ABOUT).read_text()


def test_the_same_rows_give_the_same_folder_and_any_other_cell_another(tmp_path: Path) -> None:
    first, folder = write_snapshot(dataset(), CONTRACT, "table", tmp_path)
    again, same = write_snapshot(dataset(), CONTRACT, "table", tmp_path)
    assert (again.digest, same) == (first.digest, folder)
    other = dataset()
    other.columns["age"][2] = np.nextafter(70.0, 71.0)
    assert write_snapshot(other, CONTRACT, "table", tmp_path)[0].digest != first.digest
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_snapshot(dataset(time=True), CONTRACT, "table", tmp_path_factory.mktemp("kept"))[1]


@given(st.sampled_from([COLUMNS, ABOUT]), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_flipped_byte_is_refused(kept: Path, name: str, where: int, flip: int) -> None:
    file = kept / name
    good = file.read_bytes()
    bad = bytearray(good)
    bad[where % len(bad)] ^= flip
    file.chmod(0o644)
    try:
        file.write_bytes(bad)
        with pytest.raises(VerificationError, match="was changed"):
            read_snapshot(kept)
        with pytest.raises(VerificationError, match="was changed"):
            write_snapshot(dataset(time=True), CONTRACT, "table", kept.parent)
    finally:
        file.write_bytes(good)


def pictures() -> tuple[Dataset, Contract]:
    images = np.random.default_rng(0).integers(0, 65_536, (3, 1, 4, 5)).astype(np.uint16)
    fields = {"film": {"type": "image", "shape": [1, 4, 5], "intensity": [0, 65_535]}, "ill": {"type": "code", "codes": [0, 1]}}
    columns: dict[str, np.ndarray] = {"film": images, "ill": np.array([1, 0, 1], dtype=np.int32)}
    made = Dataset(columns, np.array([0, 1, 1]), np.array([0, 2, 2], dtype=np.int8))
    return made, Contract.model_validate({"label": "ill", "fields": fields})


@pytest.mark.parametrize("memory", [MEMORY, 10])
def test_images_are_kept_raw_beside_the_columns(tmp_path: Path, memory: int) -> None:
    made, contract = pictures()
    written, folder = write_snapshot(made, contract, "images", tmp_path)
    raw = (folder / "image-film.bin").read_bytes()
    assert raw == made.columns["film"].astype("<u2").tobytes()
    about = json.loads((folder / ABOUT).read_bytes())
    assert about["images"] == {"film": {"type": "uint16", "shape": [3, 1, 4, 5], "digest": "sha256:" + hashlib.sha256(raw).hexdigest()}}
    assert about["fields"]["film"] == {
        "type": "image",
        "unit": None,
        "codes": None,
        "shape": [1, 4, 5],
        "intensity": [0, 65_535],
    }
    assert "film" not in about["missing"]
    read = read_snapshot(folder, memory=memory)
    assert isinstance(read.columns["film"], np.memmap) == (memory == 10)
    assert np.array_equal(read.columns["film"], made.columns["film"])
    assert read.digest == written.digest
    check_snapshot(folder)


def test_images_that_were_mapped_are_mapped_from_the_snapshot_afterwards(tmp_path: Path) -> None:
    made, contract = pictures()
    film = gathered(iter(made.columns["film"]), 3, (1, 4, 5), np.dtype(np.uint16), memory=0)
    mapped = replace(made, columns={**made.columns, "film": film})
    written, folder = write_snapshot(mapped, contract, "images", tmp_path)
    found = written.columns["film"]
    assert isinstance(found, np.memmap)
    assert Path(str(found.filename)) == folder / "image-film.bin"
    assert write_snapshot(made, contract, "images", tmp_path)[0].digest == written.digest


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_flipped_byte_of_an_image_is_refused(tmp_path_factory: pytest.TempPathFactory, where: int, flip: int) -> None:
    made, contract = pictures()
    folder = write_snapshot(made, contract, "images", tmp_path_factory.getbasetemp() / "flipped")[1]
    file = folder / "image-film.bin"
    good = file.read_bytes()
    bad = bytearray(good)
    bad[where % len(bad)] ^= flip
    file.chmod(0o644)
    try:
        file.write_bytes(bad)
        with pytest.raises(VerificationError, match="was changed"):
            read_snapshot(folder)
        with pytest.raises(VerificationError, match="was changed"):
            check_snapshot(folder)
        assert len(read_snapshot(folder, verify=False)) == 3
        file.write_bytes(good + b"\0")
        with pytest.raises(VerificationError, match="was changed"):
            read_snapshot(folder, verify=False)
    finally:
        file.write_bytes(good)


def test_a_snapshot_without_its_images_is_none(tmp_path: Path) -> None:
    made, contract = pictures()
    folder = write_snapshot(made, contract, "images", tmp_path)[1]
    (folder / "image-film.bin").unlink()
    for look in (read_snapshot, check_snapshot):
        with pytest.raises(VerificationError, match="no whole snapshot"):
            look(folder)


def test_a_snapshot_without_images_has_the_digest_that_it_always_had(tmp_path: Path) -> None:
    written, _ = write_snapshot(dataset(time=True), CONTRACT, "table", tmp_path)
    assert written.digest == "sha256:63088e74f550c7d91d4aa73c0b69ee6cc4fee5ac2be722eff7fedbdcf69f9c94"


def test_a_missing_or_longer_file_is_refused(tmp_path: Path) -> None:
    folder = write_snapshot(dataset(), CONTRACT, "table", tmp_path)[1]
    (folder / COLUMNS).chmod(0o644)
    with (folder / COLUMNS).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(VerificationError, match="was changed"):
        read_snapshot(folder)
    (folder / COLUMNS).unlink()
    with pytest.raises(VerificationError, match="no whole snapshot"):
        read_snapshot(folder)


def test_files_are_read_only_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = write_snapshot(dataset(), CONTRACT, "table", tmp_path)[1]
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o400}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left") as refused:
            write_snapshot(dataset(), CONTRACT, "table", tmp_path)
    assert refused.value.remedy
    assert list(tmp_path.iterdir()) == []
    assert read_snapshot(write_snapshot(dataset(), CONTRACT, "table", tmp_path)[1]).digest


def test_an_interrupted_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_snapshot(dataset(), CONTRACT, "table", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_told_of_a_snapshot_s_size_is_not_how_many_images_it_has(tmp_path: Path) -> None:
    def told(count: int, patients: int, *shape: int) -> dict[str, int]:
        (tmp_path / "image-film.bin").write_bytes(bytes(4096 * count))
        film = np.zeros((count, *shape), dtype=np.uint8)
        return told_size(Dataset({"film": film}, np.arange(count) % patients, np.zeros(patients, dtype=np.int8)), tmp_path)

    assert told(9, 9, 1, 64, 64) == told(7, 3, 1, 64, 64) == told(40, 9, 1, 64, 64) == told(9, 9) == {}
    assert told(123, 123, 1, 64, 64) == told(122, 122, 1, 64, 64) == {"snapshot_bytes": 500_000}
    assert told(123, 123) == {"snapshot_bytes": 123 * 4096}
