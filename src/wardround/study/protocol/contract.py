"""Say what one row means, the same at every hospital: fields with type, unit, range and codes, and who the patient is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field as Bound
from pydantic import StringConstraints, field_validator, model_validator

from wardround.study.protocol.section import Name, Section


class Field(Section):
    """Describe one field of the contract.

    Attributes:
        type: "number", "code" or "image" (a field of numbers: a picture, a volume or a signal, the same size everywhere).
        unit: of a number, in UCUM style ("mg/dL", "a" for years, "1" for none).
        range: smallest and largest plausible value of a number; statistics are scaled by it, so it must be finite.
        codes: the codes of a field of type "code", in order.
        missing: what a missing value becomes: "mean" (the training mean; for a code: no code), "indicator" (the same, and a further input
            that
            says so), "refuse" (a row without it stops the site's check), "count" (it is counted as missing; in a study of statistics
            only, and there the default), or "unknown" (of one of several labels: rows, or a whole site, without it teach and judge the
            others alone).
        outside: what a number out of range becomes: "refuse", "missing", or "keep" (it stays, and what cannot be read is counted and not
            refused; for a preflight, which looks for such things).
        input: whether the model sees it.
        shape: of an image: channels first, then one to three axes of pixels, such as [1, 224, 224].
        intensity: of an image: smallest and largest value a pixel can have, such as [0, 255] for 8 bits, [0, 65535] for 16.
        description: for the reader of the summary.
    """

    later: ClassVar[frozenset[str]] = frozenset({"shape", "intensity"})

    type: Literal["number", "code", "image"]
    unit: str | None = None
    range: tuple[float, float] | None = None
    codes: tuple[str, ...] | None = None
    missing: Literal["mean", "indicator", "refuse", "count", "unknown"] = "refuse"
    outside: Literal["refuse", "missing", "keep"] = "refuse"
    input: bool = True
    shape: Annotated[tuple[Annotated[int, Bound(ge=1, le=65_536)], ...], Bound(min_length=2, max_length=4)] | None = None
    intensity: tuple[float, float] | None = None
    description: str = ""

    @field_validator("codes", mode="before")
    @classmethod
    def _codes_as_text(cls, value: object) -> object:
        return tuple(str(code) for code in value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type == "image":
            return self._image()
        if self.shape is not None or self.intensity is not None:
            raise ValueError("only an image has a shape and an intensity; use type = 'image' or leave them out")
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

    def _image(self) -> Self:
        """Hold what is said of an image together."""
        if self.shape is None:
            raise ValueError("an image needs a shape; write shape = [channels, height, width]")
        if self.intensity is None or not self.intensity[0] < self.intensity[1]:
            raise ValueError("an image needs an intensity; write intensity = [0, 255] for 8 bits, [0, 65535] for 16")
        if self.range is not None or self.codes is not None or self.unit is not None:
            raise ValueError("an image has no range, codes or unit; write intensity = [smallest, largest] of a pixel")
        if self.missing != "refuse" or self.outside != "refuse":
            raise ValueError("an image cannot be missing and has no values outside; leave missing and outside out")
        return self


class Contract(Section):
    """Describe one row, and which field says what.

    Attributes:
        patient: name that each site's file maps to its column of patient identifiers; "" in the file, None here, when there are
            none ("image-level" claims only).
        label: the field to be predicted; "" in a study of statistics, which predicts nothing, and where there are several.
        labels: the fields to be predicted where there are several, such as the findings in one picture: each of two codes.
        time: name of the column with the time of the row, or None.
        fields: by name, sorted: the order of the model's inputs must not depend on that of a file, which the digest does not cover.
    """

    later: ClassVar[frozenset[str]] = frozenset({"labels"})

    patient: str | None = "patient"
    label: Annotated[str, StringConstraints(pattern=r"^$|^[A-Za-z][A-Za-z0-9_.-]{0,63}$")] = ""
    labels: Annotated[tuple[Name, ...], Bound(max_length=64)] = ()
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
        self._targets_fit()
        if not self.inputs:
            raise ValueError("fields: no field is left as input; add one, or leave out input = false")
        if any(self.fields[name].type == "image" for name in self.inputs) and len(self.inputs) > 1:
            raise ValueError("fields: a model takes one image and nothing beside it; write input = false at the other fields")
        if self.patient is not None and self.patient == self.time:
            raise ValueError("time: is the patient column as well; name the column with the time of the row, or leave it out")
        for special in (self.patient, self.time):
            if special is not None and special in self.fields:
                raise ValueError(f"fields.{special}: is the patient or time column and cannot be a field as well; leave the field out")
        return self

    def _targets_fit(self) -> None:
        """Refuse labels that cannot be predicted."""
        if self.label and self.labels:
            raise ValueError("labels: there is a label too; write label for one, or labels for several")
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: need two or more different fields; write label = {self.labels[0]!r} for one")
        for name in self.targets:
            key, field = ("labels" if self.labels else "label"), self.fields.get(name)
            if field is None:
                raise ValueError(
                    f"{key}: {name!r} is not one of the fields; use {'some' if self.labels else 'one'} of: {', '.join(self.fields)}"
                )
            if field.type == "image":
                raise ValueError(f"{key}: {name!r} is an image, which no model here predicts; name a number or a code")
            if field.missing != "refuse" and not (self.labels and field.missing == "unknown"):
                several = "one of several labels may be unknown and nothing else; write 'unknown', or leave this key out"
                raise ValueError(f"fields.{name}.missing: {several if self.labels else 'a label cannot be missing; leave this key out'}")
        for name, field in self.fields.items():
            if field.missing == "unknown" and name not in self.labels:
                raise ValueError(f"fields.{name}.missing: 'unknown' is for one of several labels; use mean, indicator or refuse")

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the names of the fields to be predicted: the label, or the labels in their order; none in a study of statistics."""
        return (self.label,) if self.label else self.labels

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the fields that the model sees, in order."""
        return tuple(name for name, field in self.fields.items() if field.input and name not in self.targets)

    @property
    def image(self) -> str | None:
        """Return the name of the image that the model sees; None where its inputs are columns of a table."""
        return next((name for name in self.inputs if self.fields[name].type == "image"), None)
