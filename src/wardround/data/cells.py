"""Turn a column's cells into numbers, codes or times, and count what cannot be: nothing is guessed, nothing silently goes missing.

A source hands over text, or a file's own types. A cell is missing when it is empty (or NaN in a column of floating-point numbers) or listed
as missing; whatever else has no value is counted as unreadable. Identifiers, numbers and markers are *tidied* before they are compared:
blanks around them go, and a whole number written with a decimal part of zeros ("1.0") loses that part. Codes are not: 401 and 401.0 may be
two diagnoses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

# Not \d, which takes digits of every script: full-width ones look like a number here and are none to the cast.
_WHOLE = r"^([+-]?[0-9]+)\.0+$"
_NUMBER = {
    ".": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    ",": r"^[+-]?([0-9]+,?[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?$",
}
_DATE_FIRST = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_PLAIN = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Date, pl.Datetime, pl.Time, pl.Null)
_PLAIN_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True)
class Cells:
    """Hold one column's values and how many cells could not be turned into one.

    Attributes:
        values: float64 [N], NaN where missing or unreadable; or int32 [N], -1 where missing or unknown.
        unreadable: bool [N], True where a cell holds something that is no such value.
    """

    values: np.ndarray
    unreadable: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Return bool [N], True where the cell is empty."""
        none = self.values < 0 if self.values.dtype == np.int32 else np.isnan(self.values)
        return np.asarray(none & ~self.unreadable)


def is_plain(dtype: pl.DataType) -> bool:
    """Return whether a column's cells are numbers, texts, truths or times; lists, structures, durations and raw bytes are no field."""
    return dtype.is_numeric() or any(dtype == plain for plain in _PLAIN)


def tidy(text: str) -> str:
    """Return one text as cells are compared.

    Example:
        >>> tidy(" 3.0"), tidy("3.5"), tidy("I10")
        ('3', '3.5', 'I10')
    """
    return str(_tidied(pl.Series([text], dtype=pl.String))[0])


def as_text(column: pl.Series) -> pl.Series:
    """Return a column of any plain type as tidied text; null where empty."""
    return _tidied(_stripped(column))


def without(column: pl.Series, markers: Iterable[str], exact: bool = False) -> pl.Series:
    """Return a column in which the cells that say "missing" are null.

    Args:
        column: of any plain type; another comes back as it is.
        markers: texts that mean missing; an empty cell always does.
        exact: a text cell must be a marker letter by letter, as among codes, where "9.0" may be another than "9"; else both are tidied.
    """
    as_written = exact and not column.dtype.is_float()
    listed = sorted({marker.strip() if as_written else tidy(marker) for marker in markers})
    if not listed or not is_plain(column.dtype):
        return column
    marked = (_stripped(column) if as_written else as_text(column)).is_in(listed).fill_null(False)
    return pl.select(pl.when(~marked).then(column)).to_series().rename(column.name)


def as_numbers(column: pl.Series, decimal: str = ".") -> Cells:
    """Return a column as numbers.

    Args:
        column: text or numbers; any other type is unreadable.
        decimal: decimal mark of text, "." or ",". The other mark makes a cell unreadable, as do signs between thousands: "1.500" would be
            one and a half here and fifteen hundred there.
    """
    if column.dtype.is_numeric():
        return Cells(_floats(column), np.zeros(len(column), dtype=bool))
    if column.dtype not in (pl.String, pl.Null):
        return Cells(np.full(len(column), np.nan), column.is_not_null().to_numpy())
    text = column.cast(pl.String).str.strip_chars()
    text = pl.select(pl.when(text != "").then(text)).to_series()
    readable = text.str.contains(_NUMBER[decimal]).fill_null(False)
    numbers = text.str.replace(decimal, ".", literal=True).cast(pl.Float64, strict=False)
    values = np.where(readable.to_numpy(), _floats(numbers), np.nan)
    return Cells(values, text.is_not_null().to_numpy() & np.isnan(values))


def as_codes(column: pl.Series, index: Mapping[str, int]) -> Cells:
    """Return a column as indices of codes.

    Args:
        column: text, whole numbers or true and false.
        index: by local code, letter by letter: the index of the contract's code. Only where all local codes are plain integers may "1.0",
            which many programs write for 1, stand for "1".
    """
    whole = all(_PLAIN_INTEGER.fullmatch(code) for code in index)
    text = as_text(column) if whole else _stripped(column)
    text = pl.select(pl.when(text != "").then(text)).to_series()
    found = text.replace_strict(list(index), list(index.values()), default=-1, return_dtype=pl.Int32).fill_null(-1)
    values = found.to_numpy().astype(np.int32)
    return Cells(values, text.is_not_null().to_numpy() & (values < 0))


def as_seconds(column: pl.Series) -> Cells:
    """Return a column as seconds since 1970; a time without a zone counts as UTC.

    Args:
        column: dates, times, ISO 8601 text ("2024-03-01", "2024-03-01T12:30:00+01:00"), or numbers, which are seconds already.
    """
    if column.dtype == pl.Date or column.dtype == pl.Datetime:
        moments = column.cast(pl.Datetime("us", "UTC") if getattr(column.dtype, "time_zone", None) else pl.Datetime("us"))
        return Cells(_floats(moments.dt.timestamp("us")) / 1e6, np.zeros(len(column), dtype=bool))
    if column.dtype != pl.String:
        return as_numbers(column)
    text = column.str.strip_chars()
    dated = text.str.contains(_DATE_FIRST).fill_null(False)
    plain = as_numbers(pl.select(pl.when(~dated).then(text)).to_series())
    once = text.filter(dated).unique().to_list()
    moments = text.replace_strict(once, [_seconds(one) for one in once], default=None, return_dtype=pl.Float64)
    values = np.where(dated.to_numpy(), _floats(moments), plain.values)
    return Cells(values, plain.unreadable | (dated.to_numpy() & np.isnan(values)))


def _seconds(text: str) -> float | None:
    """Return an ISO 8601 text as seconds since 1970, or None."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _stripped(column: pl.Series) -> pl.Series:
    """Return a column as text without the blanks around it; null where empty."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    return column.cast(pl.String).str.strip_chars()


def _tidied(text: pl.Series) -> pl.Series:
    return text.str.strip_chars().str.replace(_WHOLE, "$1")


def _floats(column: pl.Series) -> np.ndarray:
    """Return numbers as float64, NaN where null."""
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().astype(np.float64)
