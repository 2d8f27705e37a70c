"""Leave out the patients who opted out, whatever the hospital's list and its table write them like.

    [consent]                      # of a site file
    opt_out = "opt-out.csv"        # patients who objected: one identifier a line, or a table
    column = "MRN"                 # of a table: the column with the identifiers; its number counted from 0 where the table has no header

The list is read again each time a snapshot is made, and is never copied or sent. Without it nothing is prepared: a hospital that says
there is a list wants it to count. Identifiers are compared loosely, since a row too few costs a little and a row too many breaks a
promise: capitals, blanks, hyphens and the like, letters that are not seen, zeros before each number ("2024/007" for 2024/7), "12.0" for 12
and "1.2E+1" for 12 make no difference.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import polars as pl

from wardround.data.cells import as_text, without
from wardround.data.fields import column_at, markers
from wardround.data.report import DataFinding, Found, shown
from wardround.data.site_file import SiteFile
from wardround.data.sources.table import Table
from wardround.study.errors import DataError
from wardround.study.protocol import Contract

_NEVER = "Nothing is prepared without the list."
_TABLE_MARKS = (",", ";", "\t", "|")
_MOST_DIGITS = 40
_DECIMALS = re.compile(r"(?<=[0-9])[.,]0+$")
_POWER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?e[+-]?[0-9]{1,3}")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


@dataclass(frozen=True)
class OptOut:
    """Hold a hospital's opt-out list, as it was read.

    Attributes:
        entries: identifiers as they are written, each once, without blanks around them.
    """

    entries: frozenset[str]

    @property
    def loose(self) -> frozenset[str]:
        """Return the entries as they are compared."""
        return frozenset(self.forms.values())

    @property
    def forms(self) -> dict[str, str]:
        """Return each entry as it is compared, by the entry."""
        return {entry: loosely(entry) for entry in self.entries}

    def findings(self, unmatched: int, where: str) -> list[DataFinding]:
        """Return what the hospital should look at, in counts; small ones are not shown.

        Args:
            unmatched: how many entries are of nobody.
            where: in which they were looked for, such as "the table".
        """
        if not self.entries:
            return [DataFinding("warning", "", 0, "The opt-out list is empty.", "Look whether it was exported whole.")]
        if not unmatched:
            return []
        sentence = f"{shown(unmatched)} entries of the opt-out list are of no patient in {where}."
        return [DataFinding("warning", "", unmatched, sentence, "Look whether the list names patients as the table does.")]


@dataclass(frozen=True)
class LeftOut:
    """Say whom the list took out of a table.

    Attributes:
        rows: bool [N], which rows are of patients on the list.
        patients: how many patients these are.
        loosely: how many of them are written otherwise in the table than on the list.
        unmatched: how many entries of the list are of nobody in the table.
        entries: the list.
        forms: the identifiers that were taken out, as they are compared.
    """

    rows: np.ndarray
    patients: int
    loosely: int
    unmatched: int
    entries: OptOut
    forms: frozenset[str] = field(default=frozenset(), repr=False)

    def findings(self) -> list[DataFinding]:
        """Return what the hospital should know, in counts; small ones are not shown."""
        if not self.entries.entries:
            return self.entries.findings(0, "the table")
        listed = shown(len(self.entries.entries))
        out = f"{shown(self.patients)} patients are left out, since they are on the opt-out list of {listed} entries."
        found = [DataFinding("note", "", self.patients, out, "They are in no snapshot that is made from now on.")]
        if self.loosely:
            sentence = f"{shown(self.loosely)} of them are written otherwise in the table (blanks, zeros, capitals, hyphens)."
            found.append(DataFinding("note", "", self.loosely, sentence, "They are left out all the same."))
        return found + self.entries.findings(self.unmatched, "the table")


def loosely(identifier: str) -> str:
    """Return an identifier as it is compared with an opt-out list; what differs here is surely another patient's.

    Where nothing but signs is left, the signs are compared.

    Example:
        >>> loosely(" MRN-00012 "), loosely("mrn12.0"), loosely("2024/007"), loosely("1.2E+001"), loosely("0")
        ('mrn12', 'mrn12', '20247', '12', '0')
    """
    identifier = "".join(letter for letter in identifier if unicodedata.category(letter) != "Cf")  # a byte order mark and the like
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", identifier).upper().casefold()).strip()
    text = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text if not letter.isspace())
    if _POWER.fullmatch(text):
        text = _whole(text)
    text = _LEADING_ZEROS.sub("", _DECIMALS.sub("", text))  # of each number, while signs still part them; a blank parts none
    kept = "".join(letter for letter in text if letter.isalnum())
    return _LEADING_ZEROS.sub("", kept) if kept else text


def _whole(text: str) -> str:
    """Return a whole number that a spreadsheet wrote as a power of ten, digit by digit; anything else as it is."""
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return text
    return str(int(number)) if number == number.to_integral_value() and abs(number) < Decimal(10) ** _MOST_DIGITS else text


def read_opt_out(site: SiteFile) -> OptOut | None:
    """Return the opt-out list that a site file names, read now; None where it names none.

    Raises:
        DataError: the list is not there, cannot be read, or has no such column; says how to correct it, never what stands in it.
    """
    consent = site.consent
    if consent is None:
        return None
    path = consent.opt_out
    try:
        if not path.is_file():
            raise DataError(f"The opt-out list {path} is not there.", f"Correct opt_out under [consent] in the site file. {_NEVER}")
        lines = _lines(path, consent.encoding) if consent.column is None else _column(site)
    except OSError as error:  # such as a network share that is away
        why = error.strerror or "the system refused"
        raise DataError(
            f"The opt-out list {path.name} cannot be read: {why}.", f"See that the disk it lies on is there. {_NEVER}"
        ) from error
    return OptOut(frozenset(line for line in lines if line))


def _lines(path: Path, encoding: str) -> list[str]:
    """Return the lines of a list, each an identifier."""
    try:
        text = path.read_text(encoding="utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except UnicodeError:
        remedy = f'Write encoding = "cp1252", or whichever is right, under [consent]. {_NEVER}'
        raise DataError(f"The opt-out list {path.name} is not {encoding} text.", remedy) from None
    except (OSError, LookupError) as error:
        why = error.strerror or "the system refused" if isinstance(error, OSError) else "its encoding is not known"
        raise DataError(f"The opt-out list {path.name} cannot be read: {why}.", f"Give this user access to it. {_NEVER}") from error
    if "\0" in text:
        raise DataError(f"The opt-out list {path.name} is no text.", f"Save it as text, one identifier a line. {_NEVER}")
    lines = [_bare(line) for line in text.splitlines()]
    if any(mark in line for line in lines for mark in _TABLE_MARKS):
        remedy = f'Name the column under [consent]: column = "MRN"; or its number from 0 where there is no header. {_NEVER}'
        raise DataError(f"The opt-out list {path.name} looks like a table, and no column is named.", remedy)
    return lines


def _bare(line: str) -> str:
    """Return a line without blanks and quotes around it."""
    text = line.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _column(site: SiteFile) -> list[str]:
    """Return a column of a list that is a table."""
    consent = site.consent
    assert consent is not None and consent.column is not None
    column, name = consent.column, consent.opt_out.name
    header = isinstance(column, str)  # a number: the first line is an entry too, so that nobody is overlooked
    try:
        table = Table(consent.opt_out, separator=consent.separator, header=header, missing=(), encoding=consent.encoding)
        frame = table.read(Contract.model_construct())
    except ValueError as error:
        raise DataError(f"The opt-out list {name} cannot be read.", f"Under [consent], {error}. {_NEVER}") from error
    except DataError as error:
        raise DataError(f"The opt-out list cannot be read. {error.message}", f"Correct the file, or [consent]. {_NEVER}") from error
    found = frame.to_series(column) if isinstance(column, int) and column < frame.width else None
    if isinstance(column, str) and column in frame.columns:
        found = frame.get_column(column)
    if found is None:
        wrong = f"The opt-out list {name} has no column {column!r}; it has {frame.width}."
        raise DataError(wrong, f"Correct column under [consent]. {_NEVER}")
    return [_bare(text) for text in as_text(found).drop_nulls().to_list()]


def identifiers(frame: pl.DataFrame, site: SiteFile, contract: Contract) -> list[str] | None:
    """Return the patient of each row as text, "" where none is given; None where there is no column of patients.

    Args:
        frame: the source's rows under its own column names.
        site: maps columns to fields.
        contract: says which field is the patient.
    """
    name = contract.patient
    column = None if name is None else column_at(frame, site.column_of(name), name, Found())
    if name is None or column is None:
        return None
    return list(as_text(without(column, markers(site, name))).fill_null("").to_list())


def left_out(patients: Sequence[str], listed: OptOut, gone: Callable[[str], bool] | None = None) -> LeftOut:
    """Return which rows are of patients on the list, or of patients who were on it when an earlier snapshot was made.

    Args:
        patients: the patient of each row, as text.
        listed: the list.
        gone: says of an identifier, as it is compared, whether its patient has withdrawn before; who withdraws does so for good. None:
            nobody has.
    """
    loose = {identifier: loosely(identifier) for identifier in set(patients) if identifier}
    wanted = listed.loose
    out = {identifier for identifier, form in loose.items() if form in wanted or (gone is not None and gone(form))}
    there = set(loose.values())
    unmatched = sum(1 for entry in listed.entries if loosely(entry) not in there)
    rows = np.array([identifier in out for identifier in patients], dtype=bool)
    respelt = len({one for one in out if loose[one] in wanted} - listed.entries)
    forms = frozenset(loose[one] for one in out)
    return LeftOut(rows, len(forms), respelt, unmatched, listed, forms)


def consented(
    frame: pl.DataFrame, site: SiteFile, contract: Contract, gone: Callable[[str], bool] | None = None
) -> tuple[pl.DataFrame, LeftOut | None]:
    """Return the rows of the patients who have not opted out, and whom the list took out; the list is read now.

    Args:
        frame: the source's rows under its own column names.
        site: names the list.
        contract: says which field is the patient.
        gone: see `left_out`.

    Raises:
        DataError: the list cannot be read, the plan has no patient identifiers, or everybody opted out.
    """
    listed = read_opt_out(site)
    if listed is None and gone is None:
        return frame, None
    if listed is not None and contract.patient is None:
        message = "The plan reads no patient identifiers, so an opt-out list can take nobody out."
        raise DataError(message, "Take these patients out of the table yourself and leave out [consent], or do not take part.")
    patients = identifiers(frame, site, contract)
    if patients is None:
        return frame, None  # the check says which column is missing, and makes no dataset
    out = left_out(patients, listed or OptOut(frozenset()), gone)
    if len(frame) and out.rows.all():
        raise DataError("Every patient of the table is on the opt-out list.", "This hospital cannot take part: wardround site leave.")
    return frame.filter(pl.Series(~out.rows)), out
