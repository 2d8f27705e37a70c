"""Bring one image to the contract's size, channels and intensities, as far as the site file asks for it, or say what differs.

    [map]
    image = { column = "file", channels = "convert", resize = "pad", rescale = [0, 4095], invert = true }

Nothing is changed unasked: what differs is refused, and the remedy names the key that would help. In order: channels, rescale, invert, the
range check, resize. A smaller picture is made with an antialiasing triangle filter (each new pixel is a weighted mean of all old ones that
it covers); a mean is never outside the range of what it is made of. "pad" keeps the aspect, centres the picture and fills with the
contract's lowest intensity; "stretch" does not keep the aspect; "crop" keeps it and cuts off what sticks out.

Source: grey from colour: ITU-R BT.601 (0.299 R + 0.587 G + 0.114 B); triangle filter with support scaled: Turkowski, Filters for common
resampling tasks, Graphics Gems I, 1990.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from wardround.data.site_file import FieldMap
from wardround.study.dataset import stored_as
from wardround.study.interfaces import Flaw
from wardround.study.protocol import Field

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_NOT_FINITE = Flaw("hold values that are no numbers (NaN or infinite)", "Write numbers there, or leave these rows out.")
_AXES = {1: "length", 2: "height x width", 3: "depth x height x width"}


@dataclass(frozen=True)
class Fitting:
    """Hold how one hospital's images become those of the contract.

    Attributes:
        shape: of the contract's image, channels first.
        intensity: smallest and largest value of a pixel.
        kind: type in which values are kept.
        entry: what the site file says.
        name: of the field.
    """

    shape: tuple[int, ...]
    intensity: tuple[float, float]
    kind: np.dtype[Any]
    entry: FieldMap
    name: str

    @classmethod
    def of(cls, name: str, field: Field, entry: FieldMap) -> Fitting:
        """Return what the contract and the site file say together."""
        return cls(field.shape or (1, 1), field.intensity or (0.0, 255.0), stored_as(field), entry, name)

    def fitted(self, raw: np.ndarray) -> np.ndarray | Flaw:
        """Return an image as the contract has it, [*shape] of `kind`, or what differs.

        Args:
            raw: [channels, ...] as a source gave it.
        """
        flaw = self._wrong(raw)
        if flaw is not None:
            return flaw
        image = self._channels(raw)
        if isinstance(image, Flaw):
            return image
        if image.shape[1:] != self.shape[1:] and self.entry.resize == "refuse":
            return self._size(image.shape[1:])
        image = self._intensities(image)
        if isinstance(image, Flaw):
            return image
        if image.shape[1:] != self.shape[1:]:
            image = self._resized(image)
        if self.kind.kind in "iu" and image.dtype.kind == "f":
            image = np.rint(image)
        return np.ascontiguousarray(image.astype(self.kind, copy=False))

    def _wrong(self, raw: np.ndarray) -> Flaw | None:
        if raw.ndim != len(self.shape):
            return Flaw(f"have {raw.ndim - 1} axes, where the contract has {_AXES[len(self.shape) - 1]}", "Bring images of that kind.")
        if raw.dtype.kind not in "iufb" or not raw.size:
            return Flaw("hold no numbers", "Bring arrays of numbers.")
        return _NOT_FINITE if raw.dtype.kind == "f" and not np.isfinite(raw).all() else None

    def _channels(self, raw: np.ndarray) -> np.ndarray | Flaw:
        have, want = len(raw), self.shape[0]
        if have == want:
            return raw
        if self.entry.channels == "convert" and have == 3 and want == 1:
            grey = np.tensordot(_GREY, raw.astype(np.float32), axes=(0, 0))[None]
            return np.rint(grey) if raw.dtype.kind in "iu" else grey
        if self.entry.channels == "convert" and have == 1:
            return np.repeat(raw, want, axis=0)
        remedy = "Bring images with as many channels as the contract has."
        if (have, want) == (3, 1) or have == 1:
            how = "grey is made of the colours" if have == 3 else "the channel is repeated"
            remedy = f'Write channels = "convert" at {self.name} under [map]; {how}. Or bring them so.'
        return Flaw(f"have {_counted(have)}, where the contract has {want}", remedy)

    def _size(self, have: tuple[int, ...]) -> Flaw:
        """Return that a size differs; which size a single image has is not said, so that all such images are counted together."""
        want = " x ".join(map(str, self.shape[1:]))
        remedy = f'Write resize = "pad" (aspect kept), "crop" or "stretch" at {self.name} under [map], or bring them in this size.'
        return Flaw(f"are not of the contract's size, {want} ({_AXES[len(have)]})", remedy)

    def _intensities(self, image: np.ndarray) -> np.ndarray | Flaw:
        low, high = self.intensity
        if self.entry.rescale is not None:
            least, most = self.entry.rescale
            share = (np.clip(image.astype(np.float32), least, most) - np.float32(least)) / np.float32(most - least)
            image = np.float32(low) + share * np.float32(high - low)
        if image.min() < low or image.max() > high:
            return self._outside(image)
        if self.entry.invert:
            image = np.float32(low + high) - image.astype(np.float32)
        return image

    def _outside(self, image: np.ndarray) -> Flaw:
        low, high = self.intensity
        ask = f"Write rescale = [lowest, highest intensity of your images] at {self.name} under [map]"
        if high <= 255 < image.max() and image.dtype.kind in "iu" and image.dtype.itemsize > 1:
            wrong = f"hold 16-bit values, up to more than 255, where the contract says {low:g} to {high:g}"
            return Flaw(wrong, f"{ask}, such as rescale = [0, 65535] or [0, 4095]; cutting off at 255 would destroy them.")
        return Flaw(f"hold values outside the contract's intensity, {low:g} to {high:g}", f"{ask}, or correct them.")

    def _resized(self, image: np.ndarray) -> np.ndarray:
        how: Literal["refuse", "pad", "crop", "stretch"] = self.entry.resize
        old, new = image.shape[1:], self.shape[1:]
        inner = new
        if how in ("pad", "crop"):
            scales = [to / have for to, have in zip(new, old, strict=True)]
            scale = min(scales) if how == "pad" else max(scales)
            inner = tuple(max(1, round(have * scale)) for have in old)
        small = resampled(image, inner)
        if inner == new:
            return small
        found = np.full((len(image), *new), self.intensity[0], dtype=np.float32)
        to = tuple(slice(max(0, (n - i) // 2), max(0, (n - i) // 2) + min(n, i)) for n, i in zip(new, inner, strict=True))
        of = tuple(slice(max(0, (i - n) // 2), max(0, (i - n) // 2) + min(n, i)) for n, i in zip(new, inner, strict=True))
        found[(slice(None), *to)] = small[(slice(None), *of)]
        return found


def resampled(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return an image float32 [channels, *size] by linear interpolation, antialiased where it becomes smaller.

    Args:
        image: [channels, ...].
        size: of each axis but the channels.
    """
    found = image.astype(np.float32)
    for axis, (old, new) in enumerate(zip(image.shape[1:], size, strict=True), start=1):
        if old != new:
            found = np.moveaxis(np.tensordot(_weights(old, new), found, axes=(1, axis)), 0, axis)
    return np.clip(found, image.min(), image.max())  # rounding alone could miss the ends


@lru_cache(maxsize=64)
def _weights(old: int, new: int) -> np.ndarray:
    """Return float32 [new, old]: the share of each old pixel in each new one; rows add up to one."""
    step = old / new
    centres = (np.arange(new) + 0.5) * step
    support = max(step, 1.0)
    weight = np.maximum(0.0, 1 - np.abs(centres[:, None] - (np.arange(old) + 0.5)[None]) / support)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)


def channels_first(array: np.ndarray, field: Field) -> np.ndarray:
    """Return an image [channels, ...] of an array with or without an axis of channels, which may stand last.

    Args:
        array: one row of an array file.
        field: its shape tells how many axes there are; channels last are those of 1, 3 or 4 values.
    """
    shape = field.shape or (1, 1)
    if array.ndim == len(shape) - 1:
        return array[None]
    last = array.ndim == len(shape) and array.shape[0] != shape[0] and (array.shape[-1] == shape[0] or array.shape[-1] in (1, 3, 4))
    return np.moveaxis(array, -1, 0) if last else array


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"
