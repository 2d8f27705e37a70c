from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.pictures import encoded, pixels, png_header
from wardround.data import picture_file
from wardround.data.picture_file import HUGE, picture
from wardround.study.errors import MissingExtra
from wardround.study.interfaces import Flaw

_FILES = [
    encoded(pixels(1)),
    encoded(pixels(1, 65_535)),
    encoded(pixels(1), "JPEG"),
    encoded(pixels(1, size=(9, 9, 3))),
    encoded(pixels(1, size=(9, 9, 3)), mode="P"),
]


def test_bytes_of_any_kind_give_a_picture_or_a_flaw(tmp_path: Path) -> None:
    file = tmp_path / "one"

    @settings(max_examples=150)
    @given(
        st.sampled_from(_FILES),
        st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=4),
        st.integers(0, 4000),
        st.binary(),
    )
    def holds(data: bytes, changed: list[tuple[int, int]], cut: int, behind: bytes) -> None:
        hurt = bytearray(data[:cut] + behind)
        for where, value in changed:
            if hurt:
                hurt[where % len(hurt)] = value
        file.write_bytes(hurt)
        found = picture(file)
        assert isinstance(found, Flaw) or (found.ndim == 3 and found.dtype in (np.uint8, np.uint16) and 1 <= len(found) <= 4)

    holds()


def test_no_changed_byte_of_a_png_changes_a_pixel_unseen(tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    wave = np.tile(np.arange(64, dtype=np.uint8), (64, 1)) + pixels(1, 8, size=(64, 64))
    for data in (encoded(wave), encoded(pixels(1, 65_535, size=(9, 9)))):
        file.write_bytes(data)
        whole = picture(file)
        assert isinstance(whole, np.ndarray)
        for where in [*range(0, len(data), 9), *range(len(data) - 60, len(data))]:
            file.write_bytes(data[:where] + bytes([data[where] ^ 0x10]) + data[where + 1 :])
            found = picture(file)
            assert isinstance(found, Flaw) or np.array_equal(found, whole), where


def test_without_the_library_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    picture_file.needs_imaging()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra) as refused:
        picture_file.needs_imaging()
    assert "wardround[imaging]" in refused.value.remedy


def test_a_claimed_size_is_looked_at_before_anything_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(10_001, 10_000))
    assert picture(tmp_path / "bomb.png") == HUGE
    (tmp_path / "bomb.png").write_bytes(png_header(2**31 - 1, 2**31 - 1))
    assert picture(tmp_path / "bomb.png") == HUGE


def test_what_a_camera_says_of_orientation_is_followed(tmp_path: Path) -> None:
    array = np.zeros((8, 16), dtype=np.uint8)
    array[:, :8] = 200
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    Image.fromarray(array).save(out, "JPEG", exif=exif, quality=100)
    (tmp_path / "a.jpg").write_bytes(out.getvalue())
    found = picture(tmp_path / "a.jpg")
    assert isinstance(found, np.ndarray)
    assert found.shape == (1, 16, 8)
    assert found[0, :6].mean() > 150 > 50 > found[0, -6:].mean()


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(np.eye(8, dtype=np.uint8) * 255, mode="1"))
    found = picture(tmp_path / "a.png")
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found[0], np.eye(8) * 255)


def test_a_file_that_is_away_or_too_long_is_a_flaw(tmp_path: Path) -> None:
    assert picture(tmp_path / "gone.png") == picture_file.ABSENT
    long = tmp_path / "long.png"
    with long.open("wb") as file:
        file.truncate(2**30 + 1)
    assert picture(long) == HUGE
