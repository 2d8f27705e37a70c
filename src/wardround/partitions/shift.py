"""Give hospitals different instruments: the same patient would look different at each of them.

A picture passes a scanner with a brightness, a contrast, a tone curve (gamma), a blur and a noise of its own; a number of a table an
instrument with an offset and a scale of its own. What leaves the contract's range is cut to it. Labels never change.

Source: Li et al., Federated learning on non-IID data silos, ICDE 2022, section III-C ("feature distribution skew"); the scanner's parts are
those of Zhang et al., Generalizing deep learning for medical image segmentation to unseen domains, IEEE TMI 2020 (BigAug), table I.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field as Bound

from wardround.partitions.partitioner import Partitioner
from wardround.study.protocol.contract import Field
from wardround.study.streams import Stream

_CHUNK = 256
"""Pictures that are held as floats at once."""


@dataclass(frozen=True)
class Shift(Partitioner):
    """Draw each hospital's instrument; 0 leaves a part of it out.

    Attributes:
        gain: brightness is multiplied by exp(u), u uniform within plus and minus this.
        gamma: tone curve: intensity to the power exp(u), u uniform within plus and minus this.
        contrast: distance from the picture's mean is multiplied by exp(u), u uniform within plus and minus this.
        blur: standard deviation in pixels, uniform from 0 to this.
        noise: standard deviation as a share of the intensity range, uniform from 0 to this.
        offset: of a number: standard deviation of the hospital's offset, in standard deviations of the field.
        scale: of a number: distance from the mean is multiplied by exp(u), u uniform within plus and minus this.
    """

    gain: Annotated[float, Bound(ge=0, le=3)] = 0.3
    gamma: Annotated[float, Bound(ge=0, le=3)] = 0.5
    contrast: Annotated[float, Bound(ge=0, le=3)] = 0.3
    blur: Annotated[float, Bound(ge=0, le=20)] = 0.7
    noise: Annotated[float, Bound(ge=0, le=1)] = 0.05
    offset: Annotated[float, Bound(ge=0, le=10)] = 0.5
    scale: Annotated[float, Bound(ge=0, le=3)] = 0.2

    changes: ClassVar[bool] = True

    def seen(self, field: Field, values: np.ndarray, like: np.ndarray, rng: Stream) -> np.ndarray:
        """Return values as this hospital's instrument gives them, in the same type and within the contract's range."""
        if field.type == "image":
            return self._scanned(field, values, rng)
        return self._measured(field, values, like, rng)

    def _measured(self, field: Field, values: np.ndarray, like: np.ndarray, rng: Stream) -> np.ndarray:
        known = like[~np.isnan(like)]
        if field.range is None or not len(known):
            return values
        draw = rng.generator("instrument")
        offset, scale = self.offset * draw.normal(), np.exp(self.scale * draw.uniform(-1, 1))
        mean = known.mean()
        return np.asarray(np.clip(mean + (values - mean) * scale + offset * known.std(), *field.range))

    def _scanned(self, field: Field, values: np.ndarray, rng: Stream) -> np.ndarray:
        assert field.intensity is not None
        low, high = field.intensity
        draw = rng.generator("scanner")
        gain, gamma, contrast = (np.exp(most * draw.uniform(-1, 1)) for most in (self.gain, self.gamma, self.contrast))
        blur, noise = self.blur * draw.uniform(), self.noise * draw.uniform()
        grain = rng.generator("grain")
        seen = np.empty_like(values)
        for start in range(0, len(values), _CHUNK):
            unit = (np.asarray(values[start : start + _CHUNK], dtype=np.float64) - low) / (high - low)
            axes = tuple(range(1, unit.ndim))
            mean = unit.mean(axis=axes, keepdims=True)
            unit = np.clip((mean + (unit - mean) * contrast) * gain, 0, 1) ** gamma
            unit = blurred(unit, blur) + noise * grain.normal(size=unit.shape)
            raw = low + np.clip(unit, 0, 1) * (high - low)
            seen[start : start + _CHUNK] = np.rint(raw) if np.issubdtype(values.dtype, np.integer) else raw
        return seen


def blurred(pictures: np.ndarray, deviation: float) -> np.ndarray:
    """Return pictures after a Gaussian blur along every axis of pixels, edges repeated.

    Args:
        pictures: float64 [N, channels, ...].
        deviation: of the Gaussian, in pixels.
    """
    reach = int(np.ceil(3 * deviation))
    if not reach:
        return pictures
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in range(2, pictures.ndim):
        width = [(reach, reach) if place == axis else (0, 0) for place in range(pictures.ndim)]
        padded, length = np.pad(pictures, width, mode="edge"), pictures.shape[axis]
        pictures = np.zeros_like(pictures)
        for place, weight in enumerate(kernel):
            pictures += weight * np.take(padded, range(place, place + length), axis=axis)
    return pictures
