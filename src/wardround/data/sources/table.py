"""Read a table file: CSV, TSV or Parquet.

A text file is read cell by cell as text, so that nothing is coerced on the way ("007" stays, "1,5" stays, "NaN" is a text); the contract's
check turns cells into values and counts what it cannot turn. A row with too many or too few cells stops the reading: it means that a quote,
a separator or a line break went wrong, and everything after it may have slipped by a column.

Source: RFC 4180 (CSV); Python's csv module reads it.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError

from wardround.data.cells import without
from wardround.study.errors import DataError
from wardround.study.interfaces import Source
from wardround.study.protocol import Contract

_FORMATS: dict[str, Literal["csv", "tsv", "parquet"]] = {".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"}
_NOT_TABLES = (".xls", ".xlsx", ".ods", ".sav", ".dta", ".sas7bdat", ".zip", ".gz")
_NUMBER = re.compile(r"\s*[+-]?[\d.,]*\d[\d.,]*\s*")
_CHUNK = 20_000
# Python's, but no file is written in them; the other names that are no text encoding it tells by itself.
_NOT_TEXT = ("punycode", "idna", "unicode-escape", "raw-unicode-escape")


@dataclass(frozen=True)
class Table(Source):
    """Read one CSV, TSV or Parquet file.

    Attributes:
        path: of the file; relative to the site file's folder.
        format: "csv", "tsv" or "parquet"; None to tell by the name (.tsv, .tab, .parquet, .pq, all others CSV).
        separator: of CSV and TSV; None for a comma or a tab.
        header: whether the first line holds the columns' names; without it columns are named "0", "1", ...
        missing: texts that mean missing; an empty cell always does.
        decimal: decimal mark.
        encoding: of CSV and TSV: "utf-8", "latin-1", "cp1252", ...
        quote: character around cells that hold a separator or a line break; "" for none.
    """

    path: Path
    format: Literal["csv", "tsv", "parquet"] | None = None
    separator: str | None = None
    header: bool = True
    missing: tuple[str, ...] = ("NA",)
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    quote: str = '"'

    def __post_init__(self) -> None:
        """Refuse what could not be read anyhow.

        Raises:
            ValueError: separator or quote is not one character, or the encoding is unknown.
        """
        if self.separator is not None and (len(self.separator) != 1 or self.separator in "\r\n"):
            raise ValueError('separator: is not one character; write ",", ";" or "\\t"')
        if len(self.quote) > 1 or self.quote == self._separator:
            raise ValueError('quote: is not one character of its own; write "\\"" or "" for none')
        if not _is_text_encoding(self.encoding):
            raise ValueError('encoding: is not known; write "utf-8", "latin-1" or "cp1252"')

    def read(self, contract: Contract) -> pl.DataFrame:
        """Return the file's rows in their order, under the file's own column names.

        Args:
            contract: not needed; a table is read whole.

        Raises:
            DataError: the file is not there, is not such a table, or a row has the wrong number of cells.
        """
        if self.format is None and self.path.suffix.lower() in _NOT_TABLES:
            raise DataError(f"{self.path.name}: {self.path.suffix} files are not read.", "Save it as CSV (UTF-8) and name that file.")
        try:
            if not self.path.is_file():
                remedy = "Check path under [source]; it is relative to the site file's folder."
                raise DataError(f"{self.path}: there is no such file.", remedy)
            frame = self._parquet() if self._format == "parquet" else self._text()
        except UnicodeError:
            remedy = 'Write the right one under [source]; files from Excel are often encoding = "cp1252".'
            raise DataError(f"{self.path.name}: is not {self.encoding} text.", remedy) from None
        except OSError as error:
            reason = error.strerror or "the system refused"
            raise DataError(f"{self.path.name}: cannot be read: {reason}.", "Check the file and its permissions.") from error
        # The check knows which column holds codes and which numbers, and compares more loosely among the latter.
        return frame.with_columns(without(column, self.missing, exact=True) for column in frame.get_columns())

    @property
    def _format(self) -> Literal["csv", "tsv", "parquet"]:
        return self.format or _FORMATS.get(self.path.suffix.lower(), "csv")

    @property
    def _separator(self) -> str:
        return self.separator or ("\t" if self._format == "tsv" else ",")

    def _parquet(self) -> pl.DataFrame:
        """Return a Parquet file with the types that it states."""
        try:
            return pl.read_parquet(self.path)
        except (PolarsError, PanicException):  # some damage makes the reader panic, which is no `Exception`
            raise DataError(f"{self.path.name}: is not a readable Parquet file.", "Write it again, or export it as CSV.") from None

    def _text(self) -> pl.DataFrame:
        # "utf-8-sig" drops the mark that Excel puts before the first column's name.
        encoding = "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding
        with self.path.open(newline="", encoding=encoding) as file:
            rows = self._rows(file)
            first = next(rows, None)
            if first is None:
                raise DataError(f"{self.path.name}: is empty.", "Name the right file under [source].")
            names = self._names(first[1]) if self.header else [str(index) for index in range(len(first[1]))]
            return self._collected(rows if self.header else _again(first, rows), names)

    def _rows(self, file: IO[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield each row that is not blank, with the number of its last line."""
        if self.quote:
            reader = csv.reader(file, delimiter=self._separator, quotechar=self.quote, strict=True)
        else:
            reader = csv.reader(file, delimiter=self._separator, quoting=csv.QUOTE_NONE, strict=True)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                remedy = 'Look for a quote that is not closed; write quote = "" when quotes mean nothing in this file.'
                raise DataError(f"{self.path.name}, line {reader.line_num}: cannot be split into cells.", remedy) from None
            if row:
                yield reader.line_num, row

    def _names(self, cells: list[str]) -> list[str]:
        """Return the columns' names, checked before any message could show them: a file without header begins with a patient."""
        names = [cell.strip() for cell in cells]
        file = self.path.name
        if names != [str(index) for index in range(len(names))] and 2 * sum(_is_data(name, self.missing) for name in names) > len(names):
            remedy = "Write header = false under [source], and column numbers under [map]."
            raise DataError(f"{file}: the first line looks like data, not like names.", remedy)
        if len(names) == 1:
            others = [mark for mark in (";", "\t", ",", "|") if mark in names[0] and mark != self._separator]
            if others:
                mark = "\\t" if others[0] == "\t" else others[0]
                raise DataError(f"{file}: only one column was found.", f'Write separator = "{mark}" under [source].')
        twice = len(names) - len(set(names))
        if twice:
            remedy = "Give each column its own name, or write header = false."
            raise DataError(f"{file}: {twice} of {len(names)} column names stand there twice.", remedy)
        return names

    def _collected(self, rows: Iterator[tuple[int, list[str]]], names: list[str]) -> pl.DataFrame:
        """Return the rows as text columns, taken up in chunks so that memory stays near the file's size."""
        schema = dict.fromkeys(names, pl.String)
        frames = [pl.DataFrame(schema=schema)]
        chunk: list[list[str]] = []
        for line, row in rows:
            if len(row) != len(names):
                wrong = f"{self.path.name}, line {line}: has {len(row)} cells where {len(names)} belong."
                raise DataError(wrong, "Look for a missing quote or a separator inside a cell; check separator and decimal under [source].")
            chunk.append(row)
            if len(chunk) == _CHUNK:
                frames.append(pl.DataFrame(chunk, schema=schema, orient="row"))
                chunk = []
        frames.append(pl.DataFrame(chunk, schema=schema, orient="row"))
        return pl.concat(frames, rechunk=True)


def _again(first: tuple[int, list[str]], rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the first row and then the others."""
    yield first
    yield from rows


def _is_text_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name).name not in _NOT_TEXT and isinstance("a".encode(name).decode(name), str)
    except (LookupError, ValueError):
        return False


def _is_data(name: str, missing: tuple[str, ...]) -> bool:
    return not name or name in missing or _NUMBER.fullmatch(name) is not None
