"""Know by how much a concentration by mass differs from one by amount, for substances that hospitals measure every day.

The table of units (`units.py`) refuses such a conversion, since it depends on the substance. Here it serves only to *name* a suspicion:
that one hospital's glucose is in mmol/L and another's in mg/dL. What converts is still a person, who writes `factor = ...`.

Source: molar masses from the atomic weights of IUPAC (2021) and each substance's formula; triglycerides as triolein (C57H104O6), urea
nitrogen as two nitrogen atoms, haemoglobin as one monomer (16,114.5 g/mol), the conventions of clinical laboratories.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from wardround.data.units import conversion, quantity

MOLAR: Mapping[str, float] = MappingProxyType(
    {
        "cholesterol": 386.65,
        "triglycerides": 885.4,
        "glucose": 180.156,
        "creatinine": 113.12,
        "urea": 60.056,
        "urea nitrogen": 28.014,
        "uric acid": 168.11,
        "bilirubin": 584.66,
        "calcium": 40.078,
        "magnesium": 24.305,
        "phosphate": 30.974,
        "iron": 55.845,
        "lactate": 90.08,
        "haemoglobin": 16114.5,
    }
)
"""Grams in a mole; phosphate as phosphorus, which is what laboratories report."""

_MASS, _AMOUNT = "mass concentration", "substance concentration"


def named(substance: str, words: str) -> bool:
    """Say whether a field's name or description speaks of a substance: a word in it begins as one of the substance's does.

    Example:
        >>> named("cholesterol", "chol_total"), named("iron", "the environment"), named("haemoglobin", "Hemoglobin")
        (True, False, True)
    """
    spoken = re.findall(r"[^\W\d_]+", words.casefold().replace("ae", "e"))
    return any(one.startswith(word.replace("ae", "e")[:4]) for word in substance.split() for one in spoken)


def by_substance(unit: str) -> dict[str, dict[str, float]]:
    """Return by substance the units of the other kind, each with the factor that turns it into this one; nothing for other quantities.

    Example:
        >>> round(by_substance("mg/dL")["cholesterol"]["mmol/L"], 2)
        38.66
    """
    kind = quantity(unit)
    if kind == _MASS:  # mol/L x g/mol = g/L, and from there to the unit asked for
        return {
            name: {one: conversion(one, "mol/L")[0] * mass * conversion("g/L", unit)[0] for one in _AMOUNTS} for name, mass in MOLAR.items()
        }
    if kind == _AMOUNT:
        return {
            name: {one: conversion(one, "g/L")[0] / mass * conversion("mol/L", unit)[0] for one in _MASSES} for name, mass in MOLAR.items()
        }
    return {}


_AMOUNTS, _MASSES = (("mmol/L", "umol/L"), ("mg/dL", "g/dL", "g/L", "mg/L"))
"""The units in which laboratories report."""
