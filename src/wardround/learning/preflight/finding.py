"""Say what is odd about a field at a hospital, how grave it is, and what to do: the sentences of a preflight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Grade = Literal["fine", "note", "cannot_say", "differs", "clash"]
GRADES: tuple[Grade, ...] = ("fine", "note", "cannot_say", "differs", "clash")
"""From the least to the gravest."""

REMEDIES: Mapping[str, str] = {
    "unit": "Look at the column's unit, then write unit = or factor = for it under [map] in the site file.",
    "sign": "Look which way the column counts, then write factor = -1 for it under [map] in the site file.",
    "scale": "Look at how the column is written, then write factor = for it under [map] in the site file, or export it as plain numbers.",
    "other": "Ask the hospital what this column measures, in which unit and with which device.",
    "spike": "If this value stands for 'not taken', write missing = [...] for the column under [map] in the site file.",
    "unreadable": "Correct the column, or its codes, unit and missing markers under [map]; 'wardround site check' there says more.",
    "outside": "Look at the rows beyond the contract's range at the hospital: slips of the pen, another unit, or a range too narrow.",
    "absent": "Ask whether the hospital has this field elsewhere; else leave the field out of the study, or the hospital.",
    "missing": "Ask why: not measured, not exported, or under another marker? Decide whether the field can stay an input.",
    "place": "Ask whether the patients differ, or the way of measuring; decide beforehand how the analysis takes it.",
    "spread": "Ask whether rounding, device or selection differ.",
    "constant": "Ask whether the column is filled at all at this hospital, or by a default.",
    "swapped": "Look at the code list of this hospital, then write codes = {...} for the column under [map] in the site file.",
    "shares": "Ask whether the patients differ, or the meaning of the codes.",
    "prevalence": "Compare how the label is made at each hospital (label cards): definition, source, time window, who is included.",
    "unmapped": "Ask whether the hospital's own codes really never mean this; else add them under [map].",
    "dates": "Look at how dates are written at the hospital: century, epoch, day and month, seconds or milliseconds.",
    "period": "Ask whether the periods are meant to differ; practice and coding change with the years.",
    "drift": "Ask what changed at the hospital on the way: device, coding, admission policy; or leave the earlier part out.",
    "repeats": "Ask whether rows were exported twice.",
    "card": "Agree on one coding system and version, or map one to the other, before the study begins.",
    "no_card": "Ask the hospital for a [label_card] in its site file.",
    "few": "Nothing to do, unless the hospital can bring more patients.",
    "alone": "Have a second hospital take part.",
}
"""What to do, by kind of finding."""


@dataclass(frozen=True)
class Finding:
    """Hold one thing that is odd.

    Attributes:
        kind: key of `REMEDIES`.
        grade: how grave.
        sentence: what was found.
        remedy: in place of the usual one.
    """

    kind: str
    grade: Grade
    sentence: str
    remedy: str = ""

    def described(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"kind": self.kind, "grade": self.grade, "sentence": self.sentence, "remedy": self.remedy or REMEDIES[self.kind]}


def gravest(grades: list[Grade]) -> Grade:
    """Return the gravest of some grades.

    Example:
        >>> gravest(["fine", "differs", "note"])
        'differs'
    """
    return max(grades, key=GRADES.index, default="fine")
