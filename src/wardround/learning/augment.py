"""Change training pictures a little, each time anew, so that a network learns what does not depend on it: place, size, exposure, noise.

Pictures are normalised by then, so 0 is the mean of all pixels; what comes into the frame from outside is 0. Everything is worked out
for a whole batch at once (one resampling for all that moves pixels) and is drawn from the generator that is handed in, so the same
generator gives the same pictures. Validation and test pictures are never changed.

Which changes are harmless depends on the picture, and that is a matter of anatomy, not of software:

- `flip` mirrors left and right. For a retina or a skin lesion that is harmless. For a chest it is wrong: the heart then lies on the
  right, as it does in one patient of ten thousand, and side markers are mirrored. Leave it out for chests.
- Nothing turns a picture upside down.
- `contrast` and `brightness` stand for scanners and exposures, `noise` for the dose, `erase` for devices that cover something.
- A crop that is enlarged to the old size is `scale` and `shift` together.

Source: of `erase`, DeVries and Taylor, Improved regularization of convolutional neural networks with Cutout, 2017.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.study.errors import ProtocolError
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from torch import Tensor

SHIFT = 0.1
"""Largest shift along each axis, as a share of its length."""
TURN = math.radians(10)
"""Largest rotation either way."""
SCALE = 0.1
"""Largest change of size, as a share."""
CONTRAST = 0.25
"""Largest change of contrast, as a share."""
BRIGHTNESS = 0.25
"""Largest change of brightness, in deviations of all pixels."""
NOISE = 0.1
"""Largest standard deviation of noise, in deviations of all pixels."""
ERASED = 0.3
"""Largest side of what is erased, as a share of each axis."""

GEOMETRIC = ("flip", "shift", "rotate", "scale")
NAMES = (*GEOMETRIC, "contrast", "brightness", "noise", "erase")
"""Every change there is, in the order in which they are made."""


def refuse_unfit(names: tuple[str, ...], inputs: tuple[int, ...]) -> None:
    """Refuse changes that make no sense for what the model sees; needs no torch.

    Args:
        names: of changes.
        inputs: shape of one example: (F,) for a table, else channels and one to three axes of pixels.

    Raises:
        ProtocolError: a name is unknown or named twice, the inputs are columns of a table, or a signal is to be rotated or reversed.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ProtocolError(f"augment: there is no change {unknown[0]!r}.", f"Choose from: {', '.join(NAMES)}.")
    if len(set(names)) < len(names):
        raise ProtocolError("augment: names a change twice.", "Leave out the second.")
    if names and len(inputs) < 2:
        raise ProtocolError("augment: only pictures are changed in training, and the inputs are columns of a table.", "Leave augment out.")
    if len(inputs) == 2 and {"flip", "rotate"} & set(names):
        raise ProtocolError("augment: a signal has one axis and is neither rotated nor run backwards.", "Leave out 'flip' and 'rotate'.")


def augmented(x: Tensor, names: tuple[str, ...], rng: np.random.Generator) -> Tensor:
    """Return pictures changed at random, each in its own way; `x` stays as it is.

    Args:
        x: float32 [B, channels, ...], normalised, with one to three axes of pixels.
        names: of changes, in any order: they are made in that of `NAMES`. None leaves `x`.
        rng: draws how each picture is changed.
    """
    chosen = [name for name in NAMES if name in names]
    if not len(x):
        return x
    if set(chosen) & set(GEOMETRIC):
        x = _moved(x, chosen, rng)
    if "contrast" in chosen:
        x = x * _each(x, np.exp(rng.uniform(-1, 1, len(x)) * math.log(1 + CONTRAST)))
    if "brightness" in chosen:
        x = x + _each(x, rng.uniform(-BRIGHTNESS, BRIGHTNESS, len(x)))
    if "noise" in chosen:
        x = _noisy(x, rng)
    return _erased(x, rng) if "erase" in chosen else x


class Varied:
    """Be pictures that are changed anew whenever they are asked for, each time in another way.

    Args:
        pictures: float32 [N, channels, ...], or `Pictures`, normalised.
        names: of changes.
        rng: names how they are changed, in the order in which they are asked for.
    """

    def __init__(self, pictures: Any, names: tuple[str, ...], rng: Stream) -> None:
        """Take in the pictures, and what draws the changes."""
        self._pictures, self._names, self._drawn = pictures, names, rng.generator("augment")

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        import torch

        return augmented(torch.from_numpy(self._pictures[rows]), self._names, self._drawn).numpy()


def _each(x: Tensor, values: np.ndarray) -> Tensor:
    """Return one number a picture, shaped to go with all its pixels."""
    import torch

    return torch.from_numpy(values.astype(np.float32)).to(x.device).reshape(-1, *[1] * (x.ndim - 1))


def _moved(x: Tensor, chosen: list[str], rng: np.random.Generator) -> Tensor:
    """Return pictures flipped, shifted, rotated and scaled in one resampling, by linear interpolation between pixels."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    seen = x if x.ndim > 3 else x[:, :, None]  # a signal is a picture of one row
    where = torch.from_numpy(affine(x.shape[2:], len(x), chosen, rng).astype(np.float32)).to(x.device)
    grid = affine_grid(where, list(seen.shape), align_corners=False)
    return grid_sample(seen, grid, mode="bilinear", padding_mode="zeros", align_corners=False).reshape(x.shape)


def affine(sides: tuple[int, ...], count: int, chosen: list[str], rng: np.random.Generator) -> np.ndarray:
    """Return from where each pixel is taken, float64 [count, axes, axes + 1], in coordinates from -1 to 1, last axis first.

    A rotation turns the last two axes (the plane of a slice), by pixels and not by those coordinates, so that what is not square is turned
    and not sheared.

    Args:
        sides: pixels along each axis.
        count: of pictures.
        chosen: names of changes.
        rng: draws.
    """
    axes = max(len(sides), 2)
    turn = rng.uniform(-TURN, TURN, count) if "rotate" in chosen else np.zeros(count)
    size = np.exp(rng.uniform(-1, 1, count) * math.log(1 + SCALE)) if "scale" in chosen else np.ones(count)
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0) if "flip" in chosen else np.ones(count)
    found = np.zeros((count, axes, axes + 1))
    found[:, range(axes), range(axes)] = size[:, None]
    if len(sides) == 1:
        found[:, 1, 1] = 1.0  # the one row stays
    else:
        height, width = sides[-2:]
        cosine, sine = size * np.cos(turn), size * np.sin(turn)
        found[:, 0, 0], found[:, 0, 1] = mirror * cosine, -mirror * sine * height / width
        found[:, 1, 0], found[:, 1, 1] = sine * width / height, cosine
    if "shift" in chosen:
        found[:, : len(sides), axes] = rng.uniform(-2 * SHIFT, 2 * SHIFT, (count, len(sides)))
    return found


def _noisy(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return pictures with Gaussian noise, of another strength in each."""
    import torch

    noise = torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32)).to(x.device)
    return x + noise * _each(x, rng.uniform(0, NOISE, len(x)))


def _erased(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return pictures of which every other, by chance, has a box of 0."""
    import torch

    outside = torch.from_numpy(rng.random(len(x)) < 0.5).to(x.device).reshape(-1, *[1] * (x.ndim - 1))
    for axis, side in enumerate(x.shape[2:], start=2):
        length = rng.uniform(0, ERASED, len(x)) * side
        first = rng.uniform(0, side - length)
        place = np.arange(side)[None]
        beside = (place < first[:, None]) | (place >= (first + length)[:, None])
        outside = outside | torch.from_numpy(beside).to(x.device).reshape(len(x), *[side if at == axis else 1 for at in range(1, x.ndim)])
    return x * outside
