"""Plant what goes wrong between hospitals into the rows of one of them, each thing as it is met, to see whether a preflight finds it.

What is planted, and where it must be found, was written down before any was looked for. Visit dates are made up, since the data have none.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Row = dict[str, str]
Change = Callable[[list[Row], np.random.Generator], list[Row]]
FIRST, DAYS = datetime.date(1981, 5, 1), 1200
"""When Cleveland's patients were seen, about; days within it are drawn at random."""


@dataclass(frozen=True)
class Planted:
    """Hold one thing that goes wrong.

    Attributes:
        field: where.
        kind: of the finding that must name it.
        words: that must stand in its sentence.
        change: makes the rows of the hospital.
    """

    field: str
    kind: str
    words: str
    change: Change


def _each(field: str, new: Callable[[float], str], share: float = 1.0) -> Change:
    """Return what rewrites a field's known values, in a share of the rows drawn at random."""

    def change(rows: list[Row], rng: np.random.Generator) -> list[Row]:
        drawn = rng.random(len(rows)) < share
        return [{**row, field: new(float(row[field]))} if row[field] and hit else row for row, hit in zip(rows, drawn, strict=True)]

    return change


def _codes(field: str, new: Mapping[str, str]) -> Change:
    return lambda rows, rng: [{**row, field: new.get(row[field], row[field])} for row in rows]


def _prevalence(rows: list[Row], rng: np.random.Generator) -> list[Row]:
    """Call four of five healthy patients ill, as where "suspected" counts."""
    return [{**row, "disease": "1"} if row["disease"] == "0" and rng.random() < 0.8 else row for row in rows]


def _century(rows: list[Row], rng: np.random.Generator) -> list[Row]:
    return [{**row, "visit": f"{int(row['visit'][:4]) + 100}{row['visit'][4:]}".replace("02-29", "02-28")} for row in rows]


def _drift(rows: list[Row], rng: np.random.Generator) -> list[Row]:
    """Have heart rates read 40 % too high from the middle of the period on, as after a change of device."""
    middle = sorted(row["visit"] for row in rows)[len(rows) // 2]
    late = [row["visit"] >= middle and row["thalach"] for row in rows]
    return [{**row, "thalach": f"{min(float(row['thalach']) * 1.4, 249):.0f}"} if hit else row for row, hit in zip(rows, late, strict=True)]


CLASHES: Mapping[str, Planted] = {
    "cholesterol in mmol/L": Planted("chol", "unit", "mmol/L of cholesterol", _each("chol", lambda value: f"{value / 38.67:.1f}")),
    "blood pressure in kPa": Planted("trestbps", "unit", "in kPa", _each("trestbps", lambda value: f"{value * 0.133322:.1f}")),
    "age in months": Planted("age", "unit", "in mo", _each("age", lambda value: f"{value * 12:g}")),
    "ST depression with the other sign": Planted("oldpeak", "sign", "other sign", _each("oldpeak", lambda value: f"{-value:g}")),
    "sexes exchanged": Planted("sex", "swapped", "0 for 1", _codes("sex", {"0": "1", "1": "0"})),
    "label exchanged": Planted("disease", "swapped", "0 for 1", _codes("disease", {"0": "1", "1": "0"})),
    "chest pain by another list": Planted("cp", "swapped", "1 for 4", _codes("cp", dict(zip("1234", "4321", strict=True)))),
    "dates a century late": Planted("visit", "dates", "100 years too late", _century),
    "cholesterol missing in 40 %": Planted("chol", "missing", "Missing in", _each("chol", lambda value: "", 0.4)),
    "999 for a heart rate not taken": Planted("thalach", "spike", "a marker for", _each("thalach", lambda value: "999", 0.2)),
    "suspected counts as ill": Planted("disease", "prevalence", "", _prevalence),
    "a new device half way": Planted("thalach", "drift", "", _drift),
}


def divided(rows: list[Row], rng: np.random.Generator, sites: int = 4) -> dict[str, list[Row]]:
    """Return rows divided at random into hospitals, each row with a made-up date."""
    days = rng.integers(0, DAYS, len(rows))
    dated = [{**row, "visit": str(FIRST + datetime.timedelta(int(day)))} for row, day in zip(rows, days, strict=True)]
    order = rng.permutation(len(rows))
    return {f"part{number}": [dated[place] for place in order[number::sites]] for number in range(sites)}
