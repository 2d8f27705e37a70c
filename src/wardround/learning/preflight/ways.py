"""List the ways in which a number can have been written otherwise than the contract says, so that a suspicion has a name.

Each way says how to get back from what stands in the column to what the contract asks for. All conversions of the table of units are tried,
between mass and amount for everyday substances that the field's name or description speaks of, powers of ten, logarithms, the sign, and for
times the usual epochs. A way is no proof: it is believed where it brings the hospital's distribution to where the others' lies, and nothing
else does better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wardround.data.substances import by_substance, named
from wardround.data.units import alike
from wardround.learning.preflight.layout import TIME

Back = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Way:
    """Hold one way.

    Attributes:
        kind: of the finding: "unit", "scale", "sign" or "dates".
        says: what the column then holds, to stand after "as if".
        back: from the column's numbers to the contract's.
        farfetched: squared deviations by which another way may fit worse and still be the likelier.
        remedy: what to write, where that can be said.
    """

    kind: str
    says: str
    back: Back
    farfetched: float = 0.0
    remedy: str = ""


def ways(name: str, unit: str, about: str = "") -> list[Way]:
    """Return the ways for one number.

    Args:
        name: of the field.
        unit: of the contract.
        about: its description; a substance is tried only where name or description speak of it.
    """
    if name == TIME:
        return _dates()
    found = [_unit(unit, other, factor, offset) for other, (factor, offset) in alike(unit).items()]
    for substance, factors in by_substance(unit).items():
        if named(substance, f"{name} {about}"):
            for other, factor in factors.items():
                found.append(Way("unit", f"in {other} of {substance}, not in {unit}", _line(factor), 0.0, _factor(factor)))
    for power in (-6, -3, -2, -1, 1, 2, 3, 6):
        factor = 10.0**power
        found.append(Way("scale", f"{_times(1 / factor)} the contract's numbers", _line(factor), 2.0, _factor(factor)))
    found.append(Way("scale", "natural logarithms", np.exp, 2.0, "Export the numbers themselves, not their logarithms."))
    found.append(
        Way("scale", "logarithms to base 10", lambda q: np.power(10.0, q), 2.0, "Export the numbers themselves, not their logarithms.")
    )
    found.append(Way("sign", "with the other sign", lambda q: -q[::-1], 1.0))
    return found


def _unit(unit: str, other: str, factor: float, offset: float) -> Way:
    remedy = f'Look at the column\'s unit; if so, write unit = "{other}" for it under [map] in the site file.'
    return Way("unit", f"in {other}, not in {unit}", _line(factor, offset), 0.0, remedy)


def _line(factor: float, offset: float = 0.0) -> Back:
    return lambda quarters: factor * quarters + offset


def _factor(factor: float) -> str:
    return f"Look at the column's unit; if so, write factor = {factor:.5g} for it under [map] in the site file."


def _times(factor: float) -> str:
    return f"{factor:g} times" if factor > 1 else f"one {1 / factor:g}th of"


def _dates() -> list[Way]:
    """Return the usual ways in which dates go wrong; numbers are years."""
    found = [
        Way("dates", f"{abs(years)} years too {'late' if years > 0 else 'early'}", _line(1.0, -years)) for years in (100, -100, 70, -70)
    ]
    for says, factor in (("milliseconds", 1e-3), ("microseconds", 1e-6), ("days", 86400.0), ("minutes", 60.0)):
        found.append(Way("dates", f"{says} since 1970, read as seconds", _line(factor, 1970 * (1 - factor))))
    return found


def applied(way: Way, quarters: np.ndarray) -> np.ndarray | None:
    """Return the quarters as they would be, ascending; None where that is no number of this world."""
    with np.errstate(over="ignore"):
        found = np.sort(np.asarray(way.back(quarters), dtype=np.float64))
    return found if bool(np.all(np.abs(found) < _LARGEST)) else None


_LARGEST = 1e30
