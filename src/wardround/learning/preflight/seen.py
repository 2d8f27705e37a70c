"""Read what each hospital told into values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wardround.data.notes import LENGTHS, text_of
from wardround.learning.preflight.groups import SET_APART
from wardround.learning.preflight.layout import HALVES, PARTS, SPIKE, Shape
from wardround.privacy.folding import Folded
from wardround.study.arrays import Arrays, under


@dataclass(frozen=True)
class Number:
    """Hold what one hospital told of one number, in the contract's unit.

    Attributes:
        table: patients by the cells that `layout.PARTS` names; folded.
        groups: 4, 2 or 0 groups of which means were told.
        quarters: float64 [4], the means.
        chance: float64 [2], variances of place and of the logarithm of spread, times patients, in squared deviations.
        kind: what was told of a value that many share (`groups.py`).
        value: that value.
        beyond: whether it lies outside the contract's range.
    """

    table: Folded
    groups: int
    quarters: np.ndarray
    chance: np.ndarray
    kind: int
    value: float
    beyond: bool

    @property
    def sharing(self) -> float:
        """Return how many patients have the value that is told."""
        return float(self.table.told[SPIKE])

    @property
    def known(self) -> float:
        """Return how many patients have a number."""
        return float(self.table.told[:2].sum()) + self.sharing

    @property
    def behind(self) -> float:
        """Return how many patients stand behind the means."""
        return max(self.known - (self.sharing if self.kind == SET_APART else 0.0), 1.0)

    @property
    def outside(self) -> float:
        """Return how many patients have a number outside the contract's range."""
        return float(self.table.told[PARTS.index("outside")]) + (self.sharing if self.beyond else 0.0)


@dataclass(frozen=True)
class Codes:
    """Hold what one hospital told of one code.

    Attributes:
        table: [C + 2] patients by code, missing and unreadable; folded.
        mapped: [C] how many local codes lead to each.
    """

    table: Folded
    mapped: np.ndarray


@dataclass(frozen=True)
class Seen:
    """Hold all that one hospital told.

    Attributes:
        name: of the site.
        numbers: by field.
        codes: by field.
        ranks: [J, K] mean rank of each number by class, of those who have the number; NaN where not told.
        together: [J, J] lower triangle, NaN where not told.
        members: [K] patients of each class.
        known: [J] share of the patients who have each number.
        repeats: [2].
        card: the label card, or None.
    """

    name: str
    numbers: dict[str, Number]
    codes: dict[str, Codes]
    ranks: np.ndarray
    together: np.ndarray
    members: np.ndarray
    known: np.ndarray
    repeats: Folded
    card: dict[str, Any] | None


def sites_of(shape: Shape, results: Arrays) -> list[Seen]:
    """Return what each hospital told, by name, from a phase's results: `site/term` each."""
    names = sorted({name.partition("/")[0] for name in results if not name.startswith("/")})
    return [seen(shape, name, under(results, name)) for name in names]


def seen(shape: Shape, site: str, told: Arrays) -> Seen:
    """Return what one hospital told.

    Args:
        shape: of the plan.
        site: its name.
        told: by name of the layout's terms.
    """
    numbers = {}
    for place, name in enumerate(shape.numbers):
        middle, half = shape.scales[name]
        kind, value = int(told["spike/kind"][place]), float(told["spike/value"][place])
        table = Folded(told["numbers"][place], told["numbers/few"][place] > 0)
        quarters, chance = np.asarray(middle + half * told["quarters"][place]), np.exp2(told["chance"][place])
        numbers[name] = Number(table, int(told["groups"][place]), quarters, chance, kind, middle + half * value, abs(value) > 1 + 1e-9)
    codes, start, members = {}, 0, []
    for name, listed in shape.codes.items():
        cells = shape.cells(name)
        table = Folded(told["codes"][cells], told["codes/few"][cells] > 0)
        codes[name] = Codes(table, told["mapped"][start : start + len(listed)])
        start += len(listed)
        members += table.told[: len(listed)].tolist()
    members += told["halves"][:2].tolist() if (HALVES, 0) in shape.classes else []
    known = np.array([one.known / max(one.table.total, 1.0) for one in numbers.values()])
    ranks = np.where(told["ranks/told"] > 0, told["ranks"], np.nan) / np.maximum(known, 1e-9)[:, None]  # who has none stood in the middle
    together = np.where(told["together/told"] > 0, told["together"], np.nan)
    repeats = Folded(told["repeats"], told["repeats/few"] > 0)
    return Seen(site, numbers, codes, ranks, together, np.array(members), known, repeats, _card(told))


def _card(told: Arrays) -> dict[str, Any] | None:
    if not float(told["card/there"]):
        return None
    agreement, readers = float(told["card/agreement"]), int(told["card/readers"])
    texts = {name: text_of(told[f"card/{name}"]) for name in LENGTHS}
    return {**texts, "agreement": None if agreement < -1 else round(agreement, 4), "readers": readers}
