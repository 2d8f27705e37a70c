"""Put a preflight's findings together: by field and hospital a verdict with its remedy, by hospital the label card, by code who uses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wardround.learning.preflight import codes, measures, numbers
from wardround.learning.preflight.finding import Finding, Grade, gravest
from wardround.learning.preflight.layout import HALVES, PARTS, TIME, Shape
from wardround.learning.preflight.seen import Number, Seen
from wardround.privacy.folding import Folded
from wardround.study.protocol import Protocol

_POOR = 0.6
"""Kappa under which readers agree less than "substantially" (Landis, Koch, Biometrics 33, 1977)."""


@dataclass(frozen=True)
class Compared:
    """Compare each hospital of a preflight with the others.

    Attributes:
        protocol: the plan.
        label: the field that the study is to predict, or "".
        sites: what each hospital told.
    """

    protocol: Protocol
    label: str
    sites: Sequence[Seen]

    @cached_property
    def shape(self) -> Shape:
        """Return the order in which fields are told."""
        return Shape.of(self.protocol)

    @property
    def least(self) -> int:
        """Return k."""
        return self.protocol.privacy.smallest_count

    @property
    def fields(self) -> list[str]:
        """Return the fields in the contract's order, the time of the row last."""
        return [*self.protocol.contract.fields, *([TIME] if self.shape.timed else [])]

    def findings(self, field: str, here: Seen) -> list[Finding]:
        """Return what is odd about a field at a hospital."""
        others = [one for one in self.sites if one.name != here.name]
        if not others:
            return [Finding("alone", "cannot_say", "No other hospital told anything to compare with.")]
        shape, limit = self.shape, measures.limit(self.shape, len(self.sites))
        if field in shape.codes:
            about = codes.About(
                field, shape.codes[field], field == self.label, limit, measures.limit_exchanged(shape, len(self.sites)), self.least
            )
            found = codes.compared(about, shape, here, others)
        else:
            turned = codes.turned(shape, field, here, others)
            described = "" if field == TIME else self.protocol.contract.fields[field].description
            number = numbers.About(field, shape.units[field], described, limit, self.least, turned)
            found = numbers.compared(number, here.numbers[field], [one.numbers[field] for one in others])
        if any(one.kind in ("few", "absent") for one in found):
            return found
        return found + self._drift(field, here, others, limit)

    def _drift(self, field: str, here: Seen, others: Sequence[Seen], limit: float) -> list[Finding]:
        """Return that a field changes from the earlier to the later half of a hospital's own rows."""
        if not self.shape.timed or field == TIME:
            return []
        change, sure = _change(self.shape, field, here, self.least)
        if not (abs(change) >= measures.MATTERS_RANK and abs(sure) > limit):  # also where it is not told
            return []
        elsewhere = [one for other in others if not math.isnan(one := _change(self.shape, field, other, self.least)[0])]
        if elsewhere and abs(change - float(np.median(elsewhere))) < measures.MATTERS_RANK / 2:
            return [Finding("drift", "note", "Changes over the period here as it does at the others.")]
        way = "higher" if change > 0 else "lower"
        later = f"lies {way} in the later half of the rows" if field not in self.shape.codes else "is spread unevenly over the period"
        return [Finding("drift", "differs", f"Changes over the period: it {later}.")]

    def of_site(self, here: Seen) -> list[Finding]:
        """Return what is odd about a hospital as a whole: rows exported twice, its label card."""
        others = [one for one in self.sites if one.name != here.name]
        apart, sure = measures.gap(here.repeats, [1], [one.repeats for one in others], self.least, slice(0, 2)) if others else (0.0, 0.0)
        found = []
        if apart >= measures.MATTERS_SHARE and sure > measures.limit(self.shape, len(self.sites)):
            share = here.repeats.told[1] / here.repeats.total
            found.append(Finding("repeats", "differs", f"{share:.0%} of the patients have a row that repeats another in every field."))
        return found + _card(here, others)

    def told(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        fields = [self._field(name) for name in self.fields]
        odd = {one.name: self.of_site(one) for one in self.sites}
        sites = {one.name: {"findings": [each.described() for each in odd[one.name]], "card": one.card} for one in self.sites}
        grades: list[Grade] = [one["verdict"] for one in fields] + [each.grade for listed in odd.values() for each in listed]
        limit = round(measures.limit(self.shape, len(self.sites)), 2)
        rules = {"false_alarm": measures.ALARM, "before": measures.BEFORE, "deviations": limit, "smallest_count": self.least}
        return {"label": self.label, "verdict": gravest(grades), "fields": fields, "hospitals": sites, "rules": rules}

    def _field(self, name: str) -> dict[str, Any]:
        by_site = {one.name: {**self._summary(name, one), "findings": self.findings(name, one)} for one in self.sites}
        found = {}
        for site, one in by_site.items():
            grade = gravest([each.grade for each in one["findings"]])
            found[site] = {**one, "verdict": grade, "findings": [each.described() for each in one["findings"]]}
        type_ = "code" if name in self.shape.codes else "time" if name == TIME else "number"
        unit = {} if type_ == "code" else {"unit": self.shape.units[name]}
        vocabulary = {"agreement": _agreement([one.codes[name].table for one in self.sites])} if type_ == "code" else {}
        shown = self.protocol.contract.time if name == TIME else name
        verdict = gravest([one["verdict"] for one in found.values()])
        return {"field": shown, "type": type_, **unit, **vocabulary, "verdict": verdict, "sites": found}

    def _summary(self, name: str, one: Seen) -> dict[str, Any]:
        """Return what a hospital told of a field, for the page; few reads "few"."""
        if name in self.shape.codes:
            told, mapped = one.codes[name].table, one.codes[name].mapped
            cells = [*self.shape.codes[name], "missing", "unreadable"]
            return {"patients": _counts(cells, told), "mapped": dict(zip(self.shape.codes[name], map(int, mapped), strict=True))}
        return _number(one.numbers[name])


def _number(one: Number) -> dict[str, Any]:
    table = _counts(PARTS, one.table)
    if not one.groups:
        return {"patients": table}
    means = one.quarters if one.groups == 4 else one.quarters[::2]
    return {"patients": table, "means": [float(f"{value:.6g}") for value in means]}


def _counts(cells: Sequence[str], table: Folded) -> dict[str, int | str]:
    if table.total <= 0:
        return {}
    return {cell: "few" if few else int(count) for cell, count, few in zip(cells, table.told, table.few, strict=True)}


def _agreement(tables: Sequence[Folded]) -> float | None:
    """Return which share of two hospitals' patients lies in the same codes, on average over all pairs; None for fewer than two."""
    shares = [one.told[:-2] / one.told[:-2].sum() for one in tables if one.told[:-2].sum() > 0]
    pairs = [float(np.minimum(one, other).sum()) for place, one in enumerate(shares) for other in shares[:place]]
    return round(float(np.mean(pairs)), 3) if pairs else None


def _change(shape: Shape, field: str, here: Seen, least: int) -> tuple[float, float]:
    """Return by how much the mean rank changes from the earlier to the later half, and that in deviations; NaN where it is not told.

    Of a code it is the largest mean rank in time of any code's patients.
    """
    if field in shape.codes:
        row, table = shape.numbers.index(TIME), here.codes[field].table
        fewest = table.could_be(least)[0]  # the largest cell holds those of small ones too
        columns = [place for place, (name, _) in enumerate(shape.classes) if name == field]
        found = []
        for place, column in enumerate(columns):
            mean, members = float(here.ranks[row, column]), float(fewest[place])
            if not math.isnan(mean) and 0 < members < table.total:
                found.append((mean, mean * math.sqrt(3 * members / (1 - members / table.total))))
        return max(found, key=lambda one: abs(one[1]), default=(math.nan, math.nan))
    row, columns = shape.numbers.index(field), [place for place, (name, _) in enumerate(shape.classes) if name == HALVES]
    (early, late), (before, after) = here.ranks[row, columns], here.members[columns]
    if math.isnan(early) or math.isnan(late) or not before or not after:
        return math.nan, math.nan
    change = float(late - early)
    share = max(float(here.known[row]), 1e-9)
    return change, change / math.sqrt(measures.rank_chance(before * share) + measures.rank_chance(after * share))


def _card(here: Seen, others: Sequence[Seen]) -> list[Finding]:
    """Return what is odd about a label card: none, another coding, readers who agree little."""
    if here.card is None:
        return [Finding("no_card", "note", "No label card: nobody says how the label is made here.")]
    found = []
    cards = [one.card for one in others if one.card is not None]
    for key, says in (("coding", "coding system"), ("version", "version of the coding system")):
        own, rest = str(here.card[key]), [str(one[key]) for one in cards]
        same = sum(one.casefold() == own.casefold() for one in rest)
        if rest and same * 2 < len(rest):
            theirs = ", ".join(sorted({repr(one or "none") for one in rest}))
            found.append(Finding("card", "differs", f"The {says} of the label is {own or 'none'!r} here, {theirs} at the others."))
            break
    agreement = here.card["agreement"]
    if agreement is not None and agreement < _POOR:
        found.append(Finding("card", "note", f"Readers of the label agree with a kappa of {agreement:g}, less than {_POOR:g}."))
    return found
