"""Read one field of the contract from a site's column: find the column, convert unit and codes, and count what does not fit.

Every function adds what it finds to `Found` and goes on, so that the hospital sees the whole of it at once. Sentences name local columns,
units and counts. A cell's content never stands in them.
"""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
import polars as pl

from wardround.data.cells import Cells, as_codes, as_numbers, is_plain, without
from wardround.data.report import Found, shown
from wardround.data.site_file import FieldMap, SiteFile
from wardround.data.units import conversion
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Field

# A converted value may miss the end of its range by rounding alone; it is then set to the end.
_ROUNDING = 1e-9
# Less of the range than this share is no plausible range any more.
_FILLED = 1e-3


def column_at(frame: pl.DataFrame, column: str | int, field: str, found: Found) -> pl.Series | None:
    """Return a local column, or None when the source has none that could be a field.

    Args:
        frame: the source's rows.
        column: its name, or its number counted from 0.
        field: for which it is read.
        found: gets an error that names the nearest columns, if there is none, or says that its cells are no plain values.
    """
    width = frame.width
    if isinstance(column, int):
        if column < width:
            return _plain(frame.to_series(column), field, found)
        sentence = f"{field}: there is no column number {column}."
        remedy = f"Columns are numbered 0 to {width - 1}; correct it in the site file."
    elif column in frame.columns:
        return _plain(frame.get_column(column), field, found)
    else:
        sentence = f"{field}: there is no column {column!r}."
        remedy = f"Write {field} = and the column's name under [map].{_nearest(column, frame.columns)}"
    found.error(field, sentence, remedy)
    return None


def lacks(frame: pl.DataFrame, site: SiteFile, name: str, found: Found) -> bool:
    """Say whether a site has no column for a field and names none for it; such a field counts as missing in every row, with a warning.

    A column that the site file names and that is not there stays an error: that is a slip of the pen.
    """
    if name in site.map or name in frame.columns:
        return False
    remedy = f"If the site has it under another name, write {name} = and the column's name under [map].{_nearest(name, frame.columns)}"
    found.warn(name, f"{name}: this site has no such column; it counts as missing in every row.", remedy)
    return True


def without_values(field: Field, rows: int) -> Cells:
    """Return the cells of a field that is missing in every row."""
    values = np.full(rows, np.nan) if field.codes is None else np.full(rows, -1, dtype=np.int32)
    return Cells(values, np.zeros(rows, dtype=bool))


def _plain(column: pl.Series, field: str, found: Found) -> pl.Series | None:
    if is_plain(column.dtype):
        return column
    sentence = f"{field}: column {column.name!r} is of type {column.dtype.base_type()}, which no field can be."
    found.error(field, sentence, "Export it as numbers, texts or times.")
    return None


def markers(site: SiteFile, name: str) -> tuple[str, ...]:
    """Return the texts that mean missing in the column of a field: those of the whole source and its own."""
    listed = site.source.options.get("missing")
    return *(listed if isinstance(listed, list | tuple) else ()), *site.map.get(name, FieldMap()).missing


def read_field(name: str, field: Field, column: pl.Series, site: SiteFile, found: Found) -> Cells:
    """Return a field's values in the contract's unit or codes.

    Args:
        name: of the field.
        field: what the contract says of it.
        column: the local column.
        site: says how the column is written.
        found: gets what does not fit.

    Returns:
        numbers, or indices of the contract's codes; what was refused counts as unreadable.
    """
    entry = site.map.get(name, FieldMap())
    if entry.fits_images:
        sentence = f"{site.place('map', name)}: only an image has resize, channels, rescale and invert."
        found.error(name, sentence, "Leave them out.")
    column = without(column, markers(site, name), exact=field.codes is not None)
    values = _number(name, field, column, site, entry, found) if field.range is not None else _code(name, field, column, site, entry, found)
    missing = values.missing
    count = int(missing.sum())
    if count == len(missing) and field.missing in ("count", "unknown"):
        found.warn(name, f"{name}: is missing in every row.", "Check column and missing markers in the site file.", count)
    elif count == len(missing):
        remedy = "Check column and missing markers in the site file; a hospital that never records it cannot take part with this contract."
        found.error(name, f"{name}: is missing in every row.", remedy, count)
    elif count and field.missing == "refuse":
        remedy = "Complete these rows or leave them out of the file; only the study's contract could let it be missing."
        found.error(name, f"{name}: is missing in {shown(count)} rows; the contract refuses that.", remedy, count)
    return values


def _number(name: str, field: Field, column: pl.Series, site: SiteFile, entry: FieldMap, found: Found) -> Cells:
    """Return numbers in the contract's unit; those out of range become missing."""
    if entry.codes is not None:
        found.error(name, f"{site.place('map', name, 'codes')}: a number has no codes.", "Leave codes out.")
    cells = as_numbers(column, "," if site.source.options.get("decimal") == "," else ".")
    unreadable = int(cells.unreadable.sum())
    if unreadable:
        sentence = f"{name}: {shown(unreadable)} cells of column {column.name!r} hold something else than a number."
        remedy = 'Correct them, or list the texts that mean missing under [source] missing; a decimal comma needs decimal = ",".'
        found.error(name, sentence, remedy, unreadable)
    conversion = _conversion(name, field, site, entry, found)
    if conversion is None:  # nothing can be said of values whose unit is not known
        return Cells(np.full(len(column), np.nan), ~cells.missing)
    factor, offset = conversion
    with np.errstate(over="ignore"):
        values = cells.values * factor + offset
    return _within(name, field, Cells(values, cells.unreadable), entry, found)


def _conversion(name: str, field: Field, site: SiteFile, entry: FieldMap, found: Found) -> tuple[float, float] | None:
    """Return factor and offset; None, and an error, where the two units have no fixed factor."""
    if entry.factor is not None or entry.offset is not None:
        return 1.0 if entry.factor is None else entry.factor, entry.offset or 0.0
    if entry.unit is None or field.unit is None:
        return 1.0, 0.0
    try:
        return conversion(entry.unit, field.unit)
    except ProtocolError as error:
        found.error(name, f"{site.place('map', name, 'unit')}: {error.message}", error.remedy)
        return None


def _within(name: str, field: Field, cells: Cells, entry: FieldMap, found: Found) -> Cells:
    """Return the numbers within the contract's range; says "unit?" where most are outside."""
    low, high = field.range or (-np.inf, np.inf)
    slack = _ROUNDING * max(abs(low), abs(high))
    values = cells.values
    if field.outside == "keep":
        return cells
    outside = (values < low - slack) | (values > high + slack)
    values = np.where(outside, np.nan, np.clip(values, low, high))
    count, present = int(outside.sum()), int((~np.isnan(cells.values)).sum())
    many = 2 * count >= present  # as when the median lies outside
    if count:
        sentence = f"{name}: {shown(count)} values lie outside {low:g} to {high:g} {field.unit}"
        if many:
            here = f"the site file says {entry.unit}" if entry.unit else f"the site file names none, so it was taken as {field.unit}"
            remedy = "Write the column's own unit = (or factor =) for it under [map], or missing = [...] if it marks a missing value."
            found.error(name, f"{sentence}. Unit? The contract says {field.unit}, {here}.", remedy, count)
        elif field.outside == "refuse":
            found.error(name, f"{sentence}.", "Correct them, or set them to missing.", count)
        else:
            found.warn(name, f"{sentence} and count as missing.", "Look whether they are slips of the pen.", count)
    if field.input:
        _filled(name, field, values, found)
    # What is refused anyhow must not be reported a second time as missing.
    return Cells(values, cells.unreadable | outside if many or field.outside == "refuse" else cells.unreadable)


def _filled(name: str, field: Field, values: np.ndarray, found: Found) -> None:
    """Warn where the values fill so little of the contract's range that sums scaled by it lose their digits."""
    low, high = field.range or (-np.inf, np.inf)
    present = values[~np.isnan(values)]
    spread = float(present.max()) - float(present.min()) if len(present) else 0.0
    if 0 < spread < (high - low) * _FILLED:  # a column of one value says nothing about the range
        sentence = f"{name}: the contract's range, {low:g} to {high:g} {field.unit}, is far wider than the data."
        found.warn(name, sentence, "Ask for a narrower range in the study; normalisation loses accuracy with this one.")


def _code(name: str, field: Field, column: pl.Series, site: SiteFile, entry: FieldMap, found: Found) -> Cells:
    """Return codes as indices into the contract's."""
    codes = field.codes or ()
    if entry.unit is not None or entry.factor is not None or entry.offset is not None:
        sentence = f"{site.place('map', name)}: a code has no unit, factor or offset."
        found.error(name, sentence, "Leave them out.")
    local = {code: code for code in codes} if entry.codes is None else entry.codes
    strange = sorted({code for code in local.values() if code not in codes})
    if strange:
        sentence = f"{site.place('map', name, 'codes')}: the contract has no code {', '.join(map(repr, strange))}."
        found.error(name, sentence, f"Its codes are: {', '.join(codes)}.")
    cells = as_codes(column, {text: codes.index(code) for text, code in local.items() if code in codes})
    unknown = int(cells.unreadable.sum())
    if unknown and not strange:
        sentence = f"{name}: {shown(unknown)} cells of column {column.name!r} hold a code that is not known."
        remedy = f"Known here: {', '.join(local)}. Add the others under [map.{name}.codes], or list them as missing."
        found.error(name, sentence, remedy, unknown)
    return cells


def _nearest(column: str, columns: list[str]) -> str:
    """Return a hint; only names that resemble the one sought, since a file without header may have values as names."""
    if columns == [str(index) for index in range(len(columns))]:
        return f" This file has no header: write the column's number, 0 to {len(columns) - 1}."
    lower = {name.lower(): name for name in columns}
    near = [lower[name] for name in get_close_matches(column.lower(), list(lower), n=3)]
    return f" Nearest: {', '.join(map(repr, near))}." if near else f" None of the {len(columns)} columns has a name like it."
