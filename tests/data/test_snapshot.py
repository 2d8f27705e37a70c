from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.hospital import protocol
from wardround.data.snapshot import ABOUT, COLUMNS, read_snapshot, write_snapshot
from wardround.study.dataset import Dataset
from wardround.study.errors import StoreError, VerificationError

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
