"""Convert units that differ by a constant, and refuse the others.

A contract states each number's unit once for all hospitals; a site file may state the unit of its own column. What is converted here needs
no knowledge of the substance: mass to mass, length to length, mass concentration to mass concentration. From mg/dL of glucose to mmol/L is
another matter (each substance has its own molar mass), so it is refused: the site writes `factor = ...` and thereby says what it measured.

Units are written as in UCUM ("mg/dL", "mm[Hg]", "a"); a few everyday spellings are understood as well ("mmHg", "years").

Source: UCUM, The Unified Code for Units of Measure, version 2.1, tables of base, customary, clinical and other units,
https://ucum.org/ucum (a = 365.25 d, mo = a/12, [lb_av] = 453.59237 g, [in_i] = 2.54 cm, m[Hg] = 133.322 kPa, m[H2O] = 9.80665 kPa, degree
Fahrenheit = 5/9 K); BIPM, The International System of Units, 9th edition 2019 (0 degrees Celsius = 273.15 K).
"""

from __future__ import annotations

from fractions import Fraction

from wardround.study.errors import ProtocolError

# By quantity, each unit as a multiple of the first. "substance" stands apart from "mass": what lies between them is a molar mass.
_SCALES: dict[str, dict[str, str]] = {
    "number": {"1": "1", "%": "1/100", "[ppth]": "1/1000"},
    "length": {"m": "1", "dm": "1/10", "cm": "1/100", "mm": "1/1000", "um": "1/1000000", "[in_i]": "0.0254", "[ft_i]": "0.3048"},
    "mass": {"kg": "1", "g": "1/1000", "mg": "1/1000000", "ug": "1/1000000000", "[lb_av]": "0.45359237", "[oz_av]": "0.028349523125"},
    "time": {"d": "1", "s": "1/86400", "min": "1/1440", "h": "1/24", "wk": "7", "mo": "30.4375", "a": "365.25", "ms": "1/86400000"},
    "pressure": {"Pa": "1", "kPa": "1000", "mm[Hg]": "133.322", "cm[H2O]": "98.0665", "bar": "100000", "mbar": "100"},
    "volume": {"L": "1", "dL": "1/10", "mL": "1/1000", "uL": "1/1000000", "fL": "1/1000000000000000"},
    "mass concentration": {
        "g/L": "1",
        "g/dL": "10",
        "g/mL": "1000",
        "mg/L": "1/1000",
        "mg/dL": "1/100",
        "mg/mL": "1",
        "ug/L": "1/1000000",
        "ug/dL": "1/100000",
        "ug/mL": "1/1000",
        "ng/L": "1/1000000000",
        "ng/dL": "1/100000000",
        "ng/mL": "1/1000000",
        "pg/mL": "1/1000000000",
    },
    "substance concentration": {
        "mol/L": "1",
        "mmol/L": "1/1000",
        "umol/L": "1/1000000",
        "nmol/L": "1/1000000000",
        "pmol/L": "1/1000000000000",
    },
    "number concentration": {
        "/L": "1",
        "/uL": "1000000",
        "/mL": "1000",
        "10*3/uL": "1000000000",
        "10*6/uL": "1000000000000",
        "10*9/L": "1000000000",
        "10*12/L": "1000000000000",
    },
    "enzyme activity": {"U/L": "1", "mU/L": "1/1000", "mU/mL": "1", "uU/mL": "1/1000", "U/mL": "1000", "kU/L": "1000"},
    "rate": {"/min": "1", "/s": "60", "/h": "1/60", "/d": "1/1440", "Hz": "60"},
    "electric potential": {"V": "1", "mV": "1/1000", "uV": "1/1000000"},
}

# Kelvin = scale x value + offset.
_TEMPERATURES: dict[str, tuple[str, str]] = {"K": ("1", "0"), "Cel": ("1", "273.15"), "[degF]": ("5/9", "45967/180")}

_SPELLINGS = {
    **dict.fromkeys(("year", "years", "yr", "yrs", "y"), "a"),
    **dict.fromkeys(("month", "months"), "mo"),
    **dict.fromkeys(("week", "weeks"), "wk"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("minute", "minutes"), "min"),
    **dict.fromkeys(("second", "seconds", "sec"), "s"),
    **dict.fromkeys(("degC", "°C", "C", "celsius"), "Cel"),
    **dict.fromkeys(("degF", "°F", "F", "fahrenheit"), "[degF]"),
    **dict.fromkeys(("lb", "lbs", "pounds"), "[lb_av]"),
    **dict.fromkeys(("oz",), "[oz_av]"),
    **dict.fromkeys(("in", "inch", "inches"), "[in_i]"),
    **dict.fromkeys(("ft", "feet"), "[ft_i]"),
    **dict.fromkeys(("bpm", "1/min", "beats/min"), "/min"),
    **dict.fromkeys(("percent",), "%"),
    "mmHg": "mm[Hg]",
    "cmH2O": "cm[H2O]",
    "10^9/L": "10*9/L",
    "10^12/L": "10*12/L",
    "10^3/uL": "10*3/uL",
    "10^6/uL": "10*6/uL",
}


def conversion(local: str, wanted: str) -> tuple[float, float]:
    """Return factor and offset: value in the wanted unit = factor x value in the local unit + offset.

    Args:
        local: unit of the site's column.
        wanted: unit of the contract.

    Raises:
        ProtocolError: the two do not measure the same, or one is not in the table; the remedy is an explicit factor.

    Example:
        >>> conversion("kg", "g"), conversion("degF", "Cel")[1]
        ((1000.0, 0.0), -17.77777777777778)
    """
    here, there = _spelt(local), _spelt(wanted)
    if here == there:
        return 1.0, 0.0
    if here in _TEMPERATURES and there in _TEMPERATURES:
        (scale, offset), (to_scale, to_offset) = (tuple(map(Fraction, _TEMPERATURES[unit])) for unit in (here, there))
        return float(scale / to_scale), float((offset - to_offset) / to_scale)
    for scales in _SCALES.values():
        if here in scales and there in scales:
            return float(Fraction(scales[here]) / Fraction(scales[there])), 0.0
    remedy = f"Write factor = (and offset = where needed) with the number that turns {local} into {wanted}."
    if {_quantity(here), _quantity(there)} == {"mass concentration", "substance concentration"}:
        raise ProtocolError(f"From {local!r} to {wanted!r} the factor depends on the substance.", remedy)
    raise ProtocolError(f"There is no fixed factor from {local!r} to {wanted!r} in the table of units.", remedy)


def alike(unit: str) -> dict[str, tuple[float, float]]:
    """Return the other units of the same quantity, each with the factor and offset that turn it into this one.

    Example:
        >>> alike("degC")["[degF]"][0]
        0.5555555555555556
    """
    here = _spelt(unit)
    tables = [list(_TEMPERATURES), *(list(scales) for scales in _SCALES.values())]
    return {other: conversion(other, here) for table in tables if here in table for other in table if other != here}


def quantity(unit: str) -> str | None:
    """Return what a unit measures, such as "mass concentration"; None where the table does not have it."""
    return _quantity(_spelt(unit))


def _quantity(unit: str) -> str | None:
    return next((quantity for quantity, scales in _SCALES.items() if unit in scales), None)


def _spelt(unit: str) -> str:
    """Return a unit as the tables spell it: micro as u, litre as L."""
    unit = unit.strip().replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    unit = _SPELLINGS.get(unit, unit)
    if unit in _TEMPERATURES or _quantity(unit) is not None or not unit.endswith("l"):
        return unit
    litre = _SPELLINGS.get(unit[:-1] + "L", unit[:-1] + "L")
    return litre if _quantity(litre) is not None else unit
