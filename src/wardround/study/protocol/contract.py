"""Say what one row means, the same at every hospital: fields with type, unit, range and codes, and who the patient is."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field as Bound
from pydantic import StringConstraints, field_validator, model_validator

from wardround.study.protocol.section import Name, Section


class Field(Section):
    """Describe one field of the contract.

    Attributes:
        type: "number" or "code".
        unit: of a number, in UCUM style ("mg/dL", "a" for years, "1" for none).
        range: smallest and largest plausible value of a number; statistics are scaled by it, so it must be finite.
        codes: the codes of a field of type "code", in order.
        missing: what a missing value becomes: "mean" (the training mean; for a code: no code), "indicator" (the same, and a further input
            that
            says so), "refuse" (a row without it stops the site's check), or "count" (it is counted as missing; in a study of statistics
            only, and there the default).
        outside: what a number out of range becomes: "refuse", "missing", or "keep" (it stays, and what cannot be read is counted and not
            refused; for a preflight, which looks for such things).
        input: whether the model sees it.
        description: for the reader of the summary.
    """

    type: Literal["number", "code"]
    unit: str | None = None
    range: tuple[float, float] | None = None
    codes: tuple[str, ...] | None = None
    missing: Literal["mean", "indicator", "refuse", "count"] = "refuse"
    outside: Literal["refuse", "missing", "keep"] = "refuse"
    input: bool = True
    description: str = ""

    @field_validator("codes", mode="before")
    @classmethod
    def _codes_as_text(cls, value: object) -> object:
        return tuple(str(code) for code in value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type == "number":
            if self.range is None:
                raise ValueError("a number needs a range; write range = [smallest, largest plausible value]")
            if not self.range[0] < self.range[1]:
                raise ValueError("range: the first number must be smaller than the second; write [smallest, largest plausible value]")
            if self.codes is not None:
                raise ValueError("a number has no codes; use type = 'code' or leave them out")
            if self.unit is None:
                raise ValueError("a number needs a unit; write unit = '1' when it has none")
        else:
            if not self.codes or len(self.codes) < 2 or len(set(self.codes)) != len(self.codes):
                raise ValueError("a code needs at least two different codes; write codes = ['first', 'second']")
            if self.range is not None or self.unit is not None:
                raise ValueError("a code has no range and no unit; use type = 'number' or leave them out")
        return self


class Contract(Section):
    """Describe one row, and which field says what.

    Attributes:
        patient: name that each site's file maps to its column of patient identifiers; "" in the file, None here, when there are
            none ("image-level" claims only).
        label: the field to be predicted; "" in a study of statistics, which predicts nothing.
        time: name of the column with the time of the row, or None.
        fields: by name, sorted: the order of the model's inputs must not depend on that of a file, which the digest does not cover.
    """

    patient: str | None = "patient"
    label: Annotated[str, StringConstraints(pattern=r"^$|^[A-Za-z][A-Za-z0-9_.-]{0,63}$")] = ""
    time: str | None = None
    fields: Annotated[dict[Name, Field], Bound(min_length=2)]

    @field_validator("patient", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("fields")
    @classmethod
    def _sorted(cls, value: dict[str, Field]) -> dict[str, Field]:
        return dict(sorted(value.items()))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.label and self.label not in self.fields:
            raise ValueError(f"label: {self.label!r} is not one of the fields; use one of: {', '.join(self.fields)}")
        if self.label and self.fields[self.label].missing != "refuse":
            raise ValueError(f"fields.{self.label}.missing: a label cannot be missing; leave this key out")
        if not self.inputs:
            raise ValueError("fields: no field is left as input; add one, or leave out input = false")
        if self.patient is not None and self.patient == self.time:
            raise ValueError("time: is the patient column as well; name the column with the time of the row, or leave it out")
        for special in (self.patient, self.time):
            if special is not None and special in self.fields:
                raise ValueError(f"fields.{special}: is the patient or time column and cannot be a field as well; leave the field out")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the fields that the model sees, in order."""
        return tuple(name for name, field in self.fields.items() if field.input and name != self.label)
