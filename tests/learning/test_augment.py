"""Pictures are changed as the names say, by the generator that is handed in, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.learning.augment import GEOMETRIC, NAMES, SHIFT, TURN, affine, augmented, refuse_unfit
from wardround.study.errors import ProtocolError

SHAPES = [(1, 20), (2, 12, 17), (1, 6, 8, 9)]


def fitting(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return every change that fits a picture of this shape."""
    return tuple(name for name in NAMES if len(shape) > 2 or name not in ("flip", "rotate"))


def pictures(shape: tuple[int, ...], count: int = 5) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32))


def blob(height: int = 41, width: int = 61, row: int = 20, column: int = 30) -> torch.Tensor:
    """Return a picture with one bright spot."""
    y, x = np.mgrid[:height, :width]
    return torch.from_numpy(np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8).astype(np.float32))[None, None]


def centre(picture: torch.Tensor) -> tuple[float, float]:
    """Return row and column of a spot's centre."""
    one = picture.reshape(picture.shape[-2:]).double().numpy()
    y, x = np.mgrid[: one.shape[0], : one.shape[1]]
    return float((one * y).sum() / one.sum()), float((one * x).sum() / one.sum())


@settings(max_examples=60)
@given(st.sampled_from(SHAPES), st.data(), st.integers(0, 2**32), st.integers(0, 5))
def test_shape_stays_input_stays_and_only_the_generator_and_not_the_order_of_names_decides(
    shape: tuple[int, ...], data: st.DataObject, seed: int, count: int
) -> None:
    names = tuple(data.draw(st.lists(st.sampled_from(fitting(shape)), unique=True)))
    refuse_unfit(names, shape)
    x = pictures(shape, count)
    before = x.clone()
    state = torch.random.get_rng_state()
    one, same, turned = (augmented(x, order, np.random.default_rng(seed)) for order in (names, names, names[::-1]))
    assert torch.equal(one, same) and torch.equal(one, turned) and torch.equal(x, before)
    assert one.shape == x.shape and one.dtype == torch.float32 and bool(torch.isfinite(one).all())
    assert torch.equal(torch.random.get_rng_state(), state)
    if not names:
        assert one is x


@pytest.mark.parametrize("shape", SHAPES)
def test_every_change_changes_and_each_picture_in_its_own_way(shape: tuple[int, ...]) -> None:
    x = pictures(shape, 1).expand(16, *shape)
    for name in fitting(shape):
        found = augmented(x, (name,), np.random.default_rng(0))
        assert len({one.numpy().tobytes() for one in found}) > 1, name


def test_a_flip_mirrors_left_and_right_and_never_up_and_down() -> None:
    x = pictures((1, 9, 12), 40)
    found = augmented(x, ("flip",), np.random.default_rng(0))
    mirrored = [torch.allclose(one, was.flip(-1), atol=1e-5) for one, was in zip(found, x, strict=True)]
    kept = [torch.allclose(one, was, atol=1e-5) for one, was in zip(found, x, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True)) and 8 < sum(mirrored) < 32


def test_a_shift_is_within_its_bound_and_what_comes_in_is_the_mean() -> None:
    x = blob().expand(200, -1, -1, -1)
    found = np.array([centre(one) for one in augmented(x, ("shift",), np.random.default_rng(0))]) - (20, 30)
    reach = np.abs(found).max(axis=0)
    assert np.all(reach <= np.array([41, 61]) * SHIFT + 1e-3) and np.all(reach > np.array([41, 61]) * SHIFT * 0.8)
    edges = augmented(torch.ones(50, 1, 30, 30), ("shift",), np.random.default_rng(0))
    assert edges.min() == 0 and edges.max().item() == pytest.approx(1)


def test_a_rotation_turns_by_pixels_also_where_height_and_width_differ() -> None:
    x = blob(column=50).expand(100, -1, -1, -1)
    found = np.array([centre(one) for one in augmented(x, ("rotate",), np.random.default_rng(0))]) - (20, 30)
    assert np.allclose(np.hypot(*found.T), 20, atol=0.2)
    angles = np.abs(np.arctan2(found[:, 0], found[:, 1]))
    assert angles.max() <= TURN + 0.01 and angles.max() > 0.8 * TURN


def test_scale_is_the_same_along_both_axes() -> None:
    x = (blob(column=50) + blob(row=35)).expand(100, -1, -1, -1)
    where = affine((41, 61), 100, ["scale"], np.random.default_rng(0))
    assert np.allclose(where[:, 0, 0], where[:, 1, 1]) and np.all((where[:, 0, 0] >= 1 / 1.1 - 1e-9) & (where[:, 0, 0] <= 1.1 + 1e-9))
    found = augmented(x, ("scale",), np.random.default_rng(0))
    sizes = np.array([centre(one[:, :, 40:])[1] + 10 for one in found]) / 20
    assert np.allclose(sizes, 1 / where[:, 0, 0], atol=0.02)


def test_a_volume_is_turned_in_its_slices() -> None:
    where = affine((4, 5, 6), 10, list(GEOMETRIC), np.random.default_rng(0))
    assert where.shape == (10, 3, 4)
    assert not where[:, 2, :2].any() and not where[:, :2, 2].any()


def test_contrast_and_brightness_are_one_line_a_picture_and_noise_is_bounded() -> None:
    x = pictures((1, 16, 16), 50)
    found = augmented(x, ("contrast", "brightness"), np.random.default_rng(0))
    for was, now in zip(x, found, strict=True):
        slope, offset = np.polyfit(was.numpy().ravel(), now.numpy().ravel(), 1)
        assert 1 / 1.25 - 1e-3 <= slope <= 1.25 + 1e-3 and abs(offset) <= 0.25 + 1e-3
    noise = (augmented(x, ("noise",), np.random.default_rng(0)) - x).std(dim=(1, 2, 3))
    assert float(noise.max()) < 0.12 and float(noise.min()) < 0.02


def test_what_is_erased_is_a_box_of_the_mean_in_about_half_of_the_pictures() -> None:
    found = augmented(torch.ones(400, 2, 20, 30), ("erase",), np.random.default_rng(0))
    assert set(np.unique(found.numpy())) == {0.0, 1.0} and torch.equal(found[:, 0], found[:, 1])
    gone = [one[0] == 0 for one in found if bool((one == 0).any())]
    assert 120 < len(gone) <= 240
    for one in gone:
        rows, columns = one.any(dim=1).sum(), one.any(dim=0).sum()
        assert int(one.sum()) == int(rows) * int(columns) and rows <= 7 and columns <= 10


@pytest.mark.parametrize(
    ("names", "inputs", "message"),
    [
        (("sharpen",), (1, 8, 8), r"no change 'sharpen'.*flip, shift"),
        (("shift", "shift"), (1, 8, 8), "names a change twice"),
        (("shift",), (5,), "columns of a table"),
        (("flip",), (1, 50), "a signal"),
        (("scale", "rotate"), (1, 50), "a signal"),
    ],
)
def test_what_does_not_fit_is_refused(names: tuple[str, ...], inputs: tuple[int, ...], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        refuse_unfit(names, inputs)


def test_what_fits_is_not_refused() -> None:
    refuse_unfit((), (5,))
    refuse_unfit(NAMES, (1, 8, 8))
    refuse_unfit(NAMES, (1, 8, 8, 8))
    refuse_unfit(fitting((1, 50)), (1, 50))
