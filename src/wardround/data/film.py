"""Draw one made-up chest film: a frontal view with lungs, heart, ribs, clavicles, spine and diaphragm; see `sources/radiographs.py`.

Places are in units of half the picture: x from -1 (the patient's right, left in the picture) to 1, y from -1 (top) to 1. Brightness is
from 0 (air outside the patient) to 1. Nothing here is physics; proportions follow a posteroanterior film of an adult.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wardround.data.fitting import resampled
from wardround.study.streams import Stream

_Points = tuple[tuple[float, float], ...]
_LINE: _Points = ((-0.62, -1.0), (-0.46, -0.78), (-0.2, -0.68), (-0.11, -0.5), (-0.1, 0.05))
_LEAD: _Points = ((0.5, -0.5), (0.34, -0.66), (0.12, -0.6), (-0.04, -0.35), (-0.08, 0.1), (0.06, 0.36), (0.28, 0.45))
_BOX = (0.58, -0.47, 0.13, 0.1)


@dataclass(frozen=True)
class Case:
    """Hold what is the same on all films of one patient.

    Attributes:
        width: of the chest, 1 for an ordinary one.
        heart: its size, 1 for an ordinary one.
        breath: how far the diaphragm stands down.
        spots: opacities: x, y, radius and brightness of each.
        device: 0 for none, 1 for a central venous line, 2 for a pacemaker.
    """

    width: float
    heart: float
    breath: float
    spots: tuple[tuple[float, float, float, float], ...]
    device: int


@dataclass(frozen=True)
class Scanner:
    """Hold how a hospital's scanner shows brightness; see `Radiographs`."""

    gain: float
    gamma: float
    blur: float
    noise: float
    inverted: bool


def film(case: Case, scanner: Scanner, size: tuple[int, ...], rng: Stream) -> np.ndarray:
    """Return a film, float32 [height, width] in 0 to 1.

    Args:
        case: the patient.
        scanner: the hospital's.
        size: height and width in pixels.
        rng: of this film.
    """
    dice = rng.generator("film")
    height, width = size
    turn, right, down = dice.normal(0, 0.03), dice.normal(0, 0.03), dice.normal(0, 0.03)
    across = (np.arange(width, dtype=np.float32) * 2 + 1) / width - 1 - np.float32(right)
    along = (np.arange(height, dtype=np.float32) * 2 + 1)[:, None] / height - 1 - np.float32(down)
    x = (across + np.float32(turn) * along) / np.float32(case.width)
    y = along - np.float32(turn) * across
    found = _chest(case, x, y, dice)
    found = _exposed(found, scanner, dice)
    return np.asarray(1 - found if scanner.inverted else found, dtype=np.float32)


def _soft(value: np.ndarray, edge: float) -> np.ndarray:
    """Return 0 where a value is below 0 by the edge's width, 1 where it is above, and a smooth way between."""
    t = np.clip(value / edge + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _lungs(case: Case, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how much of each pixel is lung that is not behind the diaphragm."""
    side = np.abs(x)
    base = 0.56 + 0.1 * case.breath - 0.02 * np.sign(-x)
    taper = 0.36 * (0.86 + 0.2 * np.clip(y + 0.35, -0.6, 0.6))
    high = np.square(np.minimum(y + 0.05, 0) / 0.72)
    egg = 1 - np.square((side - 0.43 - 0.07 * y) / taper) - high * (0.55 + 0.45 * high)
    dome = base - 0.2 + 0.9 * np.square(side - 0.32)
    return np.asarray(_soft(egg, 0.25) * _soft(dome - y, 0.05) * _soft(side - 0.1 - 0.05 * np.square(y), 0.06))


def _chest(case: Case, x: np.ndarray, y: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """Return the patient's brightness before the scanner."""
    side = np.abs(x)
    shoulder = -0.84 + 0.5 * np.square(np.clip(side - 0.15, 0, 1))
    body = _soft(1.02 - side, 0.12) * np.maximum(_soft(y - shoulder, 0.06), _soft(0.24 - side, 0.08))
    heart = _heart(case, x, y)
    lungs = _lungs(case, x, y) * (1 - 0.8 * heart)
    tissue = 0.54 + 0.1 * _soft(y - 0.5, 0.4) - 0.1 * _soft(side - 0.78, 0.3)
    found = body * tissue
    found -= 0.36 * lungs * body * (1 - 0.18 * np.clip(y, 0, 1))
    found += _bones(x, y, side, lungs) * body
    found += (0.06 * heart + 0.12 * np.exp(-np.square(x / 0.15)) * _soft(y + 0.95, 0.3)) * body
    texture = _texture(found.shape, dice)
    vessels = np.exp(-np.square((side - 0.2) / 0.17) - np.square((y - 0.02) / 0.26))
    found += lungs * (0.045 * texture + vessels * (0.07 + 0.09 * texture))
    if dice.random() < 0.6:  # air in the stomach
        found -= 0.16 * _soft(1 - np.square((x - 0.42) / 0.17) - np.square((y - 0.66 - 0.1 * case.breath) / 0.07), 0.8) * body
    for spot in case.spots:
        found += _opacity(spot, x, y, texture) * (0.15 + 0.85 * lungs) * body
    if case.device:
        found = _device(case.device, x, y, found)
    return np.asarray(np.clip(found + 0.03, 0, 1), dtype=np.float32)


def _bones(x: np.ndarray, y: np.ndarray, side: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return the brightness of ribs, clavicles and spine."""
    behind = y + 0.3 * np.square(side - 0.25) - 0.16 * side
    before = y - 0.75 * side + 0.25 * np.square(side)
    ribs = 0.075 * _soft(np.cos(behind * np.float32(2 * np.pi * 4.6)) - 0.35, 0.5) * _soft(side - 0.1, 0.1)
    ribs += 0.03 * _soft(np.cos((before + 0.05) * np.float32(2 * np.pi * 3.8)) - 0.4, 0.5) * _soft(side - 0.35, 0.3)
    ribs *= (0.35 + 0.65 * lungs) * _soft(0.6 - y, 0.2) * _soft(0.92 - side, 0.1)
    rise = y + 0.66 + 0.16 * side + 0.06 * np.sin(side * 7)
    clavicle = 0.13 * _soft(0.034 - np.abs(rise), 0.03) * _soft(side - 0.09, 0.05) * _soft(0.8 - side, 0.1)
    spine = np.exp(-np.square(x / 0.11)) * (0.13 + 0.03 * np.cos(y * np.float32(2 * np.pi * 5)))
    return np.asarray(ribs + clavicle + spine)


def _heart(case: Case, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how much of each pixel is heart or aortic arch."""
    lean = x - 0.16 - 0.3 * (y - 0.3)
    bulk = 1 - np.square(lean / (0.35 * case.heart)) - np.square((y - 0.28) / (0.32 * case.heart))
    arch = 1 - np.square((x - 0.11) / 0.13) - np.square((y + 0.3) / 0.14)
    trunk = 1 - np.square((x - 0.1 - 0.1 * y) / 0.2) - np.square((y + 0.05) / 0.3)
    found = np.maximum(_soft(bulk, 0.4) * _soft(0.66 - y, 0.3), 0.7 * _soft(arch, 0.6))
    return np.asarray(np.maximum(found, 0.6 * _soft(trunk, 0.8)))


def _texture(shape: tuple[int, ...], dice: np.random.Generator) -> np.ndarray:
    """Return smooth random patches of two sizes, about standard normal."""
    found = np.zeros(shape, dtype=np.float32)
    for cells, share in ((12, 0.6), (28, 0.8)):
        found += share * resampled(dice.standard_normal((1, cells, cells), dtype=np.float32), shape)[0]
    return found


def _opacity(spot: tuple[float, float, float, float], x: np.ndarray, y: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Return the brightness of one opacity: dense in the middle, patchy at its edge."""
    across, along, radius, brightness = spot
    far = np.square((x - across) / radius) + np.square((y - along) / (1.25 * radius))
    return np.asarray(brightness * np.exp(-far) * (1 + 0.3 * texture))


def _device(kind: int, x: np.ndarray, y: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the film with a central venous line, or with a pacemaker and its lead."""
    thin = max(0.009, 0.8 / found.shape[1])
    line = _along(_LINE if kind == 1 else _LEAD, x, y)
    found = found + (0.22 if kind == 1 else 0.34) * _soft(thin - line, 2 * thin)
    if kind == 2:
        cx, cy, a, b = _BOX
        box = 1 - np.square(np.square((x - cx) / a)) - np.square(np.square((y - cy) / b))
        found = np.maximum(found, 0.93 * _soft(box, 0.6))
    return np.asarray(found)


def _along(points: _Points, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance to a line of several pieces."""
    nearest = np.full(x.shape, np.inf, dtype=np.float32)
    for (x0, y0), (x1, y1) in pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.square(x - x0 - t * dx) + np.square(y - y0 - t * dy))
    return np.sqrt(nearest)


def _exposed(found: np.ndarray, scanner: Scanner, dice: np.random.Generator) -> np.ndarray:
    """Return a film as the scanner shows it; quantum noise is stronger where little comes through."""
    if scanner.blur > 0:
        height, width = found.shape
        cells = (max(2, round(min(height, 1 / scanner.blur))), max(2, round(min(width, 1 / scanner.blur))))
        found = resampled(resampled(found[None], cells), (height, width))[0]
    exposure = dice.normal(0, 0.03)
    found = np.clip(0.5 + scanner.gain * (found - 0.5 + np.float32(exposure)), 0, 1) ** np.float32(scanner.gamma)
    if scanner.noise > 0:
        grain = dice.standard_normal(found.shape, dtype=np.float32)
        found = found + np.float32(scanner.noise) * (0.6 + 0.8 * found) * grain
    return np.clip(found, 0, 1)
