"""Instruments change what is seen, the same way for all rows of one hospital, and never beyond the contract's range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.partitions.shift import Shift, blurred
from wardround.study.protocol.contract import Field
from wardround.study.streams import Stream

NOTHING = Shift(gain=0, gamma=0, contrast=0, blur=0, noise=0, offset=0, scale=0)


def picture(top: int) -> Field:
    return Field.model_validate({"type": "image", "shape": [1, 8, 8], "intensity": [0, top]})


@given(st.sampled_from([(255, np.uint8), (65_535, np.uint16)]), st.integers(0, 50))
def test_pictures_keep_their_type_and_range(kind: tuple[int, type], seed: int) -> None:
    top, raw = kind
    pictures: np.ndarray = np.random.default_rng(seed).integers(0, top + 1, (3, 1, 8, 8)).astype(raw)
    seen = Shift(gain=2, contrast=2, noise=0.5).seen(picture(top), pictures, np.zeros(0), Stream.public(seed))
    assert seen.dtype == raw and seen.shape == pictures.shape
    assert not np.array_equal(seen, pictures)
    assert np.array_equal(NOTHING.seen(picture(top), pictures, np.zeros(0), Stream.public(seed)), pictures)


def test_each_hospital_has_its_own_scanner_and_the_same_one_again() -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (300, 1, 8, 8)).astype(np.uint8)
    one, again, other = (Shift().seen(picture(255), pictures, np.zeros(0), Stream.public(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_blur_keeps_flat_pictures_and_takes_detail_from_others() -> None:
    flat = np.full((1, 1, 9, 9), 0.3)
    assert blurred(flat, 1.5) == pytest.approx(flat)
    point = np.zeros((1, 1, 9, 9))
    point[0, 0, 4, 4] = 1
    soft = blurred(point, 1.0)
    assert soft.sum() == pytest.approx(1, abs=0.01) and soft.max() < 0.2
    assert np.array_equal(soft, soft[:, :, ::-1, :]) and soft[0, 0, 4, 3] == pytest.approx(soft[0, 0, 3, 4])


@given(st.integers(0, 200))
def test_numbers_move_along_a_line_and_stay_within_range(seed: int) -> None:
    field = Field.model_validate({"type": "number", "unit": "1", "range": [-3, 3]})
    values = np.array([-3.0, -0.1, 0.0, 0.1, 3.0, np.nan])
    seen = Shift(offset=0.5, scale=0.2).seen(field, values, np.array([-1.0, 0.0, 1.0, np.nan]), Stream.public(seed))
    assert np.isnan(seen[-1]) and np.nanmin(seen) >= -3 and np.nanmax(seen) <= 3
    if np.abs(seen[1:4]).max() < 3:
        assert seen[3] - seen[2] == pytest.approx(seen[2] - seen[1])
