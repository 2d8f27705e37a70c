"""Say what a check of a site's data found: counts and sentences, never a value, and never a count below ten.

The report stays at the site until a person shows it to somebody, so its text form is what may be shown: counts under ten read "<10".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from wardround.data.cells import Cells
from wardround.study.errors import DataError
from wardround.study.protocol import Field

SMALL = 10
_LEVELS = ("error", "warning", "note")


def shown(count: int) -> str:
    """Return a count as it may be shown.

    Example:
        >>> shown(0), shown(3), shown(10)
        ('0', '<10', '10')
    """
    return f"<{SMALL}" if 0 < count < SMALL else str(count)


def shown_together(counts: Iterable[int]) -> list[str]:
    """Return counts whose total is known as they may be shown side by side.

    Where one alone is hidden the total would tell it, so another is blurred: to what follows from the sum of both, and no more. It is the
    first, not the next smallest, since which one is blurred must not depend on the hidden one.

    Example:
        >>> shown_together([116, 50, 8])
        ['110+', '50', '<10']
    """
    known = list(counts)
    texts = [shown(count) for count in known]
    hidden = [count for count in known if 0 < count < SMALL]
    others = [place for place, count in enumerate(known) if count >= SMALL]
    if len(hidden) == 1 and others:
        least = (hidden[0] + known[others[0]] - (SMALL - 1)) // SMALL * SMALL
        texts[others[0]] = f"{least}+" if least else f"<{2 * SMALL}"
    return texts


@dataclass(frozen=True)
class DataFinding:
    """Name one thing that a check found.

    Attributes:
        level: "error" (the site cannot take part so), "warning" (it can, with consequences) or "note".
        field: of the contract; "" for the site as a whole.
        count: how many rows or patients it concerns, exactly; None when it is no count. For the hospital's own eyes.
        sentence: what was found; holds small counts as "<10" only.
        remedy: what to do.
    """

    level: Literal["error", "warning", "note"]
    field: str
    count: int | None
    sentence: str
    remedy: str

    def __str__(self) -> str:
        """Return sentence and remedy on one line."""
        return f"{self.sentence} {self.remedy}".strip()


class Found:
    """Collect findings while a check goes on."""

    def __init__(self) -> None:
        self._all: list[DataFinding] = []

    def error(self, field: str, sentence: str, remedy: str, count: int | None = None) -> None:
        """Add what stops the site; see `DataFinding`."""
        self._all.append(DataFinding("error", field, count, sentence, remedy))

    def warn(self, field: str, sentence: str, remedy: str, count: int | None = None) -> None:
        """Add what does not stop the site; see `DataFinding`."""
        self._all.append(DataFinding("warning", field, count, sentence, remedy))

    def forgive(self, fields: Iterable[str]) -> None:
        """Let errors of these fields be warnings: a preflight looks at them."""
        kept = set(fields)
        self._all = [replace(one, level="warning") if one.level == "error" and one.field in kept else one for one in self._all]

    def listed(self) -> tuple[DataFinding, ...]:
        """Return what was found, errors first."""
        return tuple(sorted(self._all, key=lambda finding: _LEVELS.index(finding.level)))


@dataclass(frozen=True)
class FieldSummary:
    """Describe one field at one site, safely.

    Attributes:
        name: of the field.
        unit: of a number; None for a code.
        missing: how many rows lack it.
        mean: of a number, in the contract's unit; None for a code, or where fewer than ten patients stand behind it.
        sd: its standard deviation; None like `mean`.
        codes: rows by code; None for a number, or where fewer than ten patients stand behind the field or behind ten rows of one code.
        size: of an image, such as "1 x 224 x 224"; "" for any other field.
        ends: smallest and largest value of all images; None like `mean`.
    """

    name: str
    unit: str | None
    missing: int
    mean: float | None = None
    sd: float | None = None
    codes: Mapping[str, int] | None = None
    size: str = ""
    ends: tuple[float, float] | None = None

    def __str__(self) -> str:
        """Return one line, small counts suppressed."""
        codes = self.codes or {}
        *counts, missing = shown_together([*codes.values(), self.missing])
        parts = [f"{code}: {count}" for code, count in zip(codes, counts, strict=True)]
        if self.mean is not None and self.sd is not None:
            unit = f" {self.unit}" if self.unit is not None else ""
            parts.append(f"mean {self.mean:.3g}{unit}, sd {self.sd:.2g}")
        if self.ends is not None:
            parts.append(f"from {self.ends[0]:g} to {self.ends[1]:g}")
        if not parts:
            parts.append(f"not shown, fewer than {SMALL} patients")
        if self.size:
            parts = [f"images of {self.size}", *parts]
        return f"{self.name}: {', '.join([*parts, f'missing {missing}'])}"


def summarised(name: str, field: Field, cells: Cells, patient: np.ndarray) -> FieldSummary:
    """Return a field's summary; nothing but the missing rows where fewer than ten patients, however many rows they have, stand behind it.

    Args:
        name: of the field.
        field: what the contract says of it.
        cells: as `read_field` returns them, [N].
        patient: int64 [N], the patient of each row.
    """
    values, missing = cells.values, int(cells.missing.sum())
    there = values >= 0 if field.codes is not None else ~np.isnan(values)
    present = values[there]
    few = len(np.unique(patient[there])) < SMALL
    if field.codes is None:
        return FieldSummary(name, field.unit, missing, *(() if few else (float(present.mean()), float(present.std()))))
    counts = [int(count) for count in np.bincount(present, minlength=len(field.codes))]
    few |= any(count >= SMALL > len(np.unique(patient[values == code])) for code, count in enumerate(counts))
    return FieldSummary(name, None, missing, codes=None if few else dict(zip(field.codes, counts, strict=True)))


@dataclass(frozen=True)
class CheckReport:
    """Hold all that a check of one site found.

    Attributes:
        site: its name.
        rows: how many rows were read.
        patients: patients by part (train, validation, test); empty when the check could not tell.
        findings: errors first, then warnings, then notes.
        fields: a summary of each field that could be read.
    """

    site: str
    rows: int
    patients: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[DataFinding, ...] = ()
    fields: tuple[FieldSummary, ...] = ()

    @property
    def errors(self) -> tuple[DataFinding, ...]:
        """Return the findings that stop the site."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    def error(self) -> DataError:
        """Return one error that lists every finding that stops the site."""
        errors = self.errors
        if len(errors) == 1:
            return DataError(f"Site {self.site}: {errors[0].sentence}", errors[0].remedy)
        listed = "\n".join(f"  {finding}" for finding in errors)
        message = f"Site {self.site}: {len(errors)} things keep its data from meeting the contract.\n{listed}\n"
        return DataError(message, "Correct them and check again.")

    def describe(self) -> dict[str, Any]:
        """Return the report as JSON values, small counts suppressed."""
        return {
            "site": self.site,
            "rows": shown(self.rows),
            "patients": self._parts(),
            "findings": [{"level": one.level, "field": one.field, "sentence": one.sentence, "remedy": one.remedy} for one in self.findings],
            "fields": [str(one) for one in self.fields],
        }

    def _parts(self) -> dict[str, str]:
        return dict(zip(self.patients, shown_together(self.patients.values()), strict=True))

    def __str__(self) -> str:
        """Return the report as text, small counts suppressed."""
        patients = ", ".join(f"{count} {role}" for role, count in self._parts().items())
        head = f"{self.site}: {shown(self.rows)} rows" + (f"; patients: {patients}" if patients else "")
        found = [f"  {finding.level}: {finding}" for finding in self.findings]
        return "\n".join([head, *found, *(f"  {one}" for one in self.fields)])
