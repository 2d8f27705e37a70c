"""Read `site.toml`: what one hospital calls itself, where its rows are, and how its columns become the contract's fields.

    name = "north"
    [source]                                   # which source, and its options
    kind = "table"
    path = "patients.csv"
    [map]                                      # a field that is not listed is read from the column of its own name
    patient = "MRN"
    age = 0                                    # the first column, for files without a header
    chol = { column = "CHOL", unit = "g/L" }   # converted to the contract's unit
    sex = { column = "SEX", codes = { m = "male", w = "female" } }
    [split]                                    # only where the hospital brings its own
    column = "set"
    train = ["A", "B"]
    test = ["C"]
    [consent]                                  # only where patients have opted out: see `wardround.data.consent`
    opt_out = "opt-out.csv"
    column = "MRN"

The same file serves a simulation and a hospital. Paths in it are relative to its own folder.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from wardround.data.cells import tidy
from wardround.data.label_card import LabelCard
from wardround.study.errors import ProtocolError
from wardround.study.findings import FileRefused, Finding, findings_of, nearest
from wardround.study.plugins import find, options_of, problems
from wardround.study.protocol.locate import line_of
from wardround.study.protocol.plugged import Plugged
from wardround.study.protocol.section import Name, Section

_Section = TypeVar("_Section", bound=Section)


def _column(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "" or (isinstance(value, int) and value < 0):
        raise ValueError("is no column; write its name in quotes, or its number counted from 0")
    return value


def _texts(value: object) -> object:
    """Let whole numbers and numbers stand for the texts that a file holds; `true` is no text."""
    plain = isinstance(value, list | tuple) and all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in value)
    return tuple(str(one) for one in value) if plain and isinstance(value, list | tuple) else value


def _code_map(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    if len({str(local).strip() for local in value}) != len(value):
        raise ValueError("a local code stands there twice, with and without blanks; list each once")
    return {str(local): str(code) if isinstance(code, int) and not isinstance(code, bool) else code for local, code in value.items()}


Column = Annotated[str | int, BeforeValidator(_column)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class FieldMap(Section):
    """Say how one local column becomes a field of the contract.

    Attributes:
        column: its name, or its number counted from 0; None for the column of the field's own name.
        unit: in which the column is measured; None for the contract's unit.
        factor: the field is factor x column + offset; overrides what `unit` would give.
        offset: see `factor`.
        codes: local code, as it stands in the column letter by letter, to the contract's code; None when the column holds the contract's
            codes. Where all local codes are plain integers, "1.0" in the column counts as "1".
        missing: further texts that mean missing in this column, such as "0" for a cholesterol that was not taken.
        resize: of images of another size: "refuse", "pad" (aspect kept, filled with the lowest intensity), "crop" (aspect kept, what sticks
            out is cut off) or "stretch".
        channels: of images with other channels: "refuse" or "convert" (grey of colour, or a single channel repeated).
        rescale: intensities of the hospital's images that become the contract's lowest and highest; what lies beyond is cut to these.
        invert: whether black and white of images are exchanged (MONOCHROME1).
    """

    column: Column | None = None
    unit: str | None = None
    factor: float | None = None
    offset: float | None = None
    codes: Annotated[dict[str, str], BeforeValidator(_code_map)] | None = None
    missing: Texts = ()
    resize: Literal["refuse", "pad", "crop", "stretch"] = "refuse"
    channels: Literal["refuse", "convert"] = "refuse"
    rescale: tuple[float, float] | None = None
    invert: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"column": data} if isinstance(data, str | int) else data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.factor == 0:
            raise ValueError("factor: 0 would make every value the same; write the number that converts the unit")
        if self.rescale is not None and not self.rescale[0] < self.rescale[1]:
            raise ValueError(
                "rescale: the first number must be smaller than the second; write [lowest, highest]; invert = true exchanges them"
            )
        return self

    @property
    def fits_images(self) -> bool:
        """Return whether it holds what only images have."""
        return self.resize != "refuse" or self.channels != "refuse" or self.rescale is not None or self.invert


class Split(Section):
    """Say which column assigns patients to the training, validation and test part, for hospitals that bring their own split.

    Attributes:
        column: its name, or its number counted from 0.
        train: values that mean training.
        validation: values that mean validation; where there are none, validation patients are drawn from the training part.
        test: values that mean test.
    """

    column: Column
    train: Annotated[Texts, Field(min_length=1)]
    validation: Texts = ()
    test: Annotated[Texts, Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        listed = [tidy(value) for value in (*self.train, *self.validation, *self.test)]
        if len(set(listed)) != len(listed):
            raise ValueError("a value stands in two parts; list each value once")
        return self


class Consent(Section):
    """Say where the list of the patients lies who opted out; `wardround.data.consent` reads it anew for each snapshot.

    Attributes:
        opt_out: the list: one identifier a line, or a table.
        column: of a table, the column with the identifiers: its name, or its number counted from 0 where there is no header.
        separator: of a table, if it is not a comma.
        encoding: of the list.
    """

    opt_out: Path
    column: Column | None = None
    separator: str | None = None
    encoding: str = "utf-8"


class SiteFile(Section):
    """Describe one hospital's data.

    Attributes:
        name: of the site, unique in the study.
        source: where the rows are, every option spelled out and paths absolute.
        map: by field of the contract (also its patient and time): the local column.
        split: the hospital's own split, or None.
        consent: the list of patients who opted out, or None where the hospital has none.
        label_card: where its labels come from, or None where it does not say.
        simulated: how this hospital was made up out of another source; "" for records of one place.
    """

    name: Name
    source: Plugged
    map: dict[Name, FieldMap] = Field(default_factory=dict)
    split: Split | None = None
    consent: Consent | None = None
    label_card: LabelCard | None = None
    simulated: str = ""
    _file: str = PrivateAttr(default="")
    _text: str = PrivateAttr(default="")

    def column_of(self, field: str) -> str | int:
        """Return the local column of a field: its name, or its number counted from 0."""
        column = self.map[field].column if field in self.map else None
        return field if column is None else column

    def place(self, *path: str) -> str:
        """Return where a key stands, such as "site.toml, line 7, map.chol"; the key alone when the site came from no file."""
        return Finding(".".join(path), "", "", line_of(self._text, path)).place(self._file)


def load_site(path: Path | str) -> SiteFile:
    """Return the site described by a file.

    Args:
        path: of a `site.toml`.

    Raises:
        ProtocolError: there is no such file or it is wrong; names line, key and remedy, all findings at once.
    """
    path = Path(path)
    text = _read(path)
    data = _parsed(text, path.name)
    found: list[Finding] = []
    site = _checked(data, path.parent.resolve(), found)
    if site is None or found:
        raise FileRefused(path.name, [replace(finding, line=line_of(text, finding.key.split("."))) for finding in found])
    site._file, site._text = path.name, text
    return site


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileRefused(str(path), [Finding("", "there is no such file.", "Check the path, or write a site file first.")]) from None
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        why = (error.strerror or "the system refused") if isinstance(error, OSError) else "it is not UTF-8 text"
        raise FileRefused(str(path), [Finding("", f"cannot be read: {why}.", "Save it as UTF-8 text that this user may read.")]) from error


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at line (\d+), column \d+\)", str(error))
        wrong = f"this is not TOML: {str(error).replace(at[0], '') if at else error}."
        line = int(at[1]) if at else text.count("\n") + 1
        raise FileRefused(name, [Finding("", wrong, "Correct this line; text stands in quotes, a list in [ ].", line)]) from error
    except (ValueError, RecursionError) as error:
        raise FileRefused(name, [Finding("", "a number is too long or a list too deep.", "Write a plain site file.", None)]) from error


def _checked(data: Mapping[str, Any], folder: Path, found: list[Finding]) -> SiteFile | None:
    """Return the site; None, and at least one finding, when it cannot be accepted. Each table is checked on its own: all is found."""
    known = list(SiteFile.model_fields)
    found += [Finding(key, "there is no such key.", nearest(key, known)) for key in data if key not in known]
    source = _source(data.get("source"), folder, found)
    entries = data.get("map", {})
    if not isinstance(entries, dict):
        found.append(Finding("map", "must be a table.", "Write [map], and below it one field a line."))
        entries = {}
    maps = {name: _section(FieldMap, entry, f"map.{name}", found) for name, entry in entries.items()}
    split = _section(Split, data["split"], "split", found) if "split" in data else None
    consent = _consent(data.get("consent"), folder, found)
    card = _section(LabelCard, data["label_card"], "label_card", found) if "label_card" in data else None
    if "name" not in data:
        found.append(Finding("name", "is missing.", 'Write name = "..." on the first line.'))
    if found:
        return None
    try:
        parts = {"name": data["name"], "source": source, "map": maps, "split": split, "consent": consent, "label_card": card}
        return SiteFile.model_validate({**parts, "simulated": data.get("simulated", "")})
    except ValidationError as error:
        found += findings_of(error, "")
        return None


def _section(cls: type[_Section], table: Any, where: str, found: list[Finding]) -> _Section | None:
    try:
        return cls.model_validate(table)
    except ValidationError as error:
        found += findings_of(error, where, list(cls.model_fields))
        return None


def _consent(table: Any, folder: Path, found: list[Finding]) -> Consent | None:
    """Return where the opt-out list lies, its path made absolute."""
    if table is None:
        return None
    path = table.get("opt_out") if isinstance(table, dict) else None
    if path == "":
        found.append(Finding("consent.opt_out", "is empty.", "Name the file of the list, or leave out [consent]."))
        return None
    return _section(Consent, {**table, "opt_out": str(folder / path)} if isinstance(path, str) else table, "consent", found)


def _source(table: Any, folder: Path, found: list[Finding]) -> Plugged | None:
    """Return the source with all its options, its path made absolute."""
    if not isinstance(table, dict):
        found.append(Finding("source", "is missing.", 'Write [source], and below it kind = "table" and path = "...".'))
        return None
    path = table.get("path")
    source = _section(Plugged, {**table, "path": str(folder / path)} if isinstance(path, str) else table, "source", found)
    if source is None:
        return None
    try:
        wrong = problems(options_of(find("source", source.kind, "source.kind")), source.options, "source", ["kind"])
    except ProtocolError as error:
        wrong = [Finding.of(error)]
    found += wrong
    return None if wrong else source.complete("source", "source")
