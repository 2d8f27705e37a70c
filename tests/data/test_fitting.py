from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wardround.data.fitting import Fitting, channels_first, resampled
from wardround.data.site_file import FieldMap
from wardround.study.dataset import row_bytes, stored_as
from wardround.study.interfaces import Flaw
from wardround.study.protocol import Contract, Field


def image(*shape: int, intensity: tuple[float, float] = (0, 255)) -> Field:
    return Field.model_validate({"type": "image", "shape": shape, "intensity": intensity})


def fitted(raw: np.ndarray, field: Field, **entry: Any) -> np.ndarray:
    found = Fitting.of("film", field, FieldMap.model_validate(entry)).fitted(raw)
    assert isinstance(found, np.ndarray), found
    return found


@pytest.mark.parametrize(
    ("intensity", "kind"),
    [
        ((0, 255), np.uint8),
        ((0, 65_535), np.uint16),
        ((-1024, 3071), np.int16),
        ((0, 100_000), np.int32),
        ((0, 1), np.float32),
        ((-5, 5), np.float32),
        ((0, 999.5), np.float32),
        ((-1e12, 1e12), np.float32),
    ],
)
def test_the_smallest_type_that_has_the_range_is_kept(intensity: tuple[float, float], kind: type[np.generic]) -> None:
    assert stored_as(image(1, 4, 4, intensity=intensity)) == kind


def test_a_rows_bytes_are_those_of_its_pixels() -> None:
    fields = {"film": image(1, 10, 10, intensity=(0, 65_535)), "ill": Field.model_validate({"type": "code", "codes": [0, 1]})}
    assert row_bytes(Contract(label="ill", fields=fields)) == 208


@given(st.data(), st.sampled_from([(5,), (7, 4), (3, 4, 5)]), st.sampled_from(["pad", "crop", "stretch"]))
def test_any_size_becomes_the_contracts_and_stays_within_its_values(data: st.DataObject, old: tuple[int, ...], how: str) -> None:
    new = data.draw(st.tuples(*[st.integers(1, 12)] * len(old)))
    raw = data.draw(arrays(np.uint8, (1, *old)))
    found = fitted(raw, image(1, *new), resize=how)
    assert found.shape == (1, *new)
    assert found.dtype == np.uint8
    assert found.max() <= raw.max()
    assert found.min() >= (0 if how == "pad" else raw.min())


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_constant_stays_one_and_a_mean_is_kept_where_pixels_are_merged(old: int, factor: int) -> None:
    assert np.allclose(resampled(np.full((1, old * factor), 7.0), (old,)), 7.0)
    ramp = np.arange(old * factor, dtype=np.float64)[None]
    assert np.isclose(resampled(ramp, (old,)).mean(), ramp.mean(), rtol=1e-3, atol=1e-3)


def test_fine_stripes_become_grey_and_not_black_or_white() -> None:
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), 512)[None, None].repeat(64, axis=1)
    small = fitted(stripes, image(1, 64, 64), resize="stretch")
    assert np.abs(small[:, :, 2:-2].astype(int) - 127).max() < 3


def test_padding_keeps_the_aspect_and_is_dark_also_when_inverted() -> None:
    white = np.full((1, 10, 20), 255, dtype=np.uint8)
    assert fitted(white, image(1, 20, 20), resize="pad")[0, :, 0].tolist() == [0] * 5 + [255] * 10 + [0] * 5
    assert fitted(255 - white, image(1, 20, 20), resize="pad", invert=True)[0, :, 0].tolist() == [0] * 5 + [255] * 10 + [0] * 5
    marked = np.zeros((1, 10, 20), dtype=np.uint8)
    marked[0, :, 5:15] = 200
    assert fitted(marked, image(1, 10, 10), resize="crop")[0].tolist() == [[200] * 10] * 10


def test_grey_follows_the_eye_and_a_channel_is_repeated() -> None:
    colour = np.zeros((3, 2, 2), dtype=np.uint8)
    colour[1] = 100
    assert fitted(colour, image(1, 2, 2), channels="convert")[0, 0, 0] == 59
    assert fitted(colour[1:2], image(3, 2, 2), channels="convert").tolist() == [[[100, 100]] * 2] * 3


def test_rescaling_cuts_at_the_stated_ends_and_inverting_exchanges_them() -> None:
    raw = np.array([[[0, 1000, 2000, 3000, 60_000]]], dtype=np.uint16)
    assert fitted(raw, image(1, 1, 5), rescale=[1000, 3000])[0, 0].tolist() == [0, 0, 128, 255, 255]
    assert fitted(raw, image(1, 1, 5), rescale=[1000, 3000], invert=True)[0, 0].tolist() == [255, 255, 128, 0, 0]


@pytest.mark.parametrize(
    ("raw", "words", "helps"),
    [
        (np.zeros((1, 5, 5), np.uint8), "are not of the contract's size, 4 x 4", "resize"),
        (np.zeros((3, 4, 4), np.uint8), "have 3 channels", "channels"),
        (np.zeros((2, 4, 4), np.uint8), "have 2 channels", "as many channels"),
        (np.full((1, 4, 4), 300, np.uint16), "hold 16-bit values", "rescale"),
        (np.full((1, 4, 4), -1, np.int16), "outside the contract's intensity", "rescale"),
        (np.full((1, 4, 4), np.nan), "no numbers (NaN", "leave"),
        (np.zeros((1, 4), np.uint8), "have 1 axes", "kind"),
        (np.zeros((1, 4, 4), np.complex128), "hold no numbers", "numbers"),
    ],
)
def test_what_differs_is_refused_and_the_remedy_names_the_key(raw: np.ndarray, words: str, helps: str) -> None:
    found = Fitting.of("film", image(1, 4, 4), FieldMap()).fitted(raw)
    assert isinstance(found, Flaw)
    assert words in found.wrong
    assert helps in found.remedy


def test_channels_are_found_where_they_stand() -> None:
    assert channels_first(np.zeros((8, 9)), image(1, 8, 9)).shape == (1, 8, 9)
    assert channels_first(np.zeros((3, 8, 9)), image(3, 8, 9)).shape == (3, 8, 9)
    assert channels_first(np.zeros((8, 9, 3)), image(3, 8, 9)).shape == (3, 8, 9)
    assert channels_first(np.zeros((8, 9, 3)), image(1, 8, 9)).shape == (3, 8, 9)
    assert channels_first(np.zeros((8, 9, 10)), image(1, 8, 9, 10)).shape == (1, 8, 9, 10)
