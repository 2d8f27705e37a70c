from __future__ import annotations

import math
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.data.cells import as_codes, as_numbers, as_seconds, as_text, is_plain, tidy, without


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        (" 1.50 ", ".", 1.5),
        (".7", ".", 0.7),
        ("3.", ".", 3.0),
        ("-2e-1", ".", -0.2),
        ("1,5", ",", 1.5),
        (",5", ",", 0.5),
        ("12", ",", 12.0),
        ("1e999", ".", math.inf),
    ],
)
def test_a_number_is_read(text: str, decimal: str, value: float) -> None:
    cells = as_numbers(pl.Series([text]), decimal)
    assert cells.values.tolist() == [value]
    assert not cells.unreadable.any()


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("1,5", "."),
        ("1.5", ","),
        ("1.500", ","),
        ("1,000.5", "."),
        ("1 000", "."),
        ("nan", "."),
        ("inf", "."),
        ("1_0", "."),
        ("0x1", "."),
        ("<5", "."),
        ("\uff11\uff12", "."),
        ("\u0663", "."),
        ("\uff11,\uff15", ","),
        ("1e\uff11", "."),
    ],
)
def test_what_is_no_number_is_unreadable_and_not_missing(text: str, decimal: str) -> None:
    cells = as_numbers(pl.Series([text]), decimal)
    assert cells.unreadable.tolist() == [True]
    assert np.isnan(cells.values).all()
    assert not cells.missing.any()


def test_empty_cells_are_missing() -> None:
    cells = as_numbers(pl.Series(["", "  ", None, "1"]))
    assert cells.missing.tolist() == [True, True, True, False]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_keep_every_bit_through_text(values: list[float]) -> None:
    column = pl.Series([repr(value) for value in values], dtype=pl.String)
    assert as_numbers(column).values.tolist() == values


@pytest.mark.parametrize("column", [pl.Series([True]), pl.Series([date(2020, 1, 1)])])
def test_a_column_of_another_type_is_no_number(column: pl.Series) -> None:
    assert as_numbers(column).unreadable.all()


def test_codes_are_found_as_text_whole_numbers_and_truths() -> None:
    index = {"1": 0, "2": 1}
    for column in (pl.Series(["1", "2.0", " 2 ", None]), pl.Series([1.0, 2.0, 2.0, None]), pl.Series([1, 2, 2, None])):
        cells = as_codes(column, index)
        assert cells.values.tolist() == [0, 1, 1, -1]
        assert cells.values.dtype == np.int32
        assert cells.missing.tolist() == [False, False, False, True]
    assert as_codes(pl.Series([True, False]), {"true": 0, "false": 1}).values.tolist() == [0, 1]


def test_an_unknown_code_is_unreadable() -> None:
    cells = as_codes(pl.Series(["1", "9"]), {"1": 0})
    assert cells.unreadable.tolist() == [False, True]
    assert not cells.missing.any()


def test_times_are_seconds_in_utc() -> None:
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp()
    texts = pl.Series(["2024-03-01T12:00:00", "2024-03-01 13:00:00+01:00", str(noon), "2024-03-01T12:00:00Z"])
    assert as_seconds(texts).values.tolist() == [noon] * 4
    assert as_seconds(pl.Series([datetime(2024, 3, 1, 12)])).values.tolist() == [noon]
    assert as_seconds(pl.Series([datetime(2024, 3, 1, 12)]).dt.replace_time_zone("Europe/Berlin")).values.tolist() == [noon - 3600]
    assert as_seconds(pl.Series([date(2024, 3, 1)])).values.tolist() == [noon - 43200]
    assert as_seconds(pl.Series([int(noon), None])).missing.tolist() == [False, True]


def test_what_is_no_time_is_unreadable() -> None:
    cells = as_seconds(pl.Series(["2024-13-01", "01.03.2024", "yesterday", "\uff12024-03-01", None]))
    assert cells.unreadable.tolist() == [True, True, True, True, False]


def test_markers_become_null_whatever_their_spelling() -> None:
    assert without(pl.Series(["?", " ? ", "1"]), ["?"]).to_list() == [None, None, "1"]
    assert without(pl.Series([-999.0, 1.0]), ["-999"]).to_list() == [None, 1.0]
    assert without(pl.Series(["0", "0.0", "00"]), ["0"]).to_list() == [None, None, "00"]


def test_among_codes_only_the_very_marker_means_missing() -> None:
    assert without(pl.Series(["9", " 9 ", "9.0"]), ["9"], exact=True).to_list() == [None, None, "9.0"]
    assert without(pl.Series(["9", "9.0"]), ["9.0"], exact=True).to_list() == ["9", None]
    assert without(pl.Series([9.0, 1.0]), ["9"], exact=True).to_list() == [None, 1.0]


@given(st.text(max_size=8), st.sampled_from(".,"))
def test_a_cell_that_is_not_empty_is_never_silently_missing(text: str, decimal: str) -> None:
    column, empty = pl.Series([text], dtype=pl.String), as_text(pl.Series([text], dtype=pl.String))[0] == ""
    for cells in (as_numbers(column, decimal), as_codes(column, {"1": 0}), as_seconds(column)):
        assert cells.missing.tolist() == [empty]


@pytest.mark.parametrize("index", [{"401.0": 0, "401.1": 1, "401.9": 2}, {"401": 0, "401.0": 1}, {"1": 0, "1.0": 1, "x": 2}])
def test_a_cell_is_a_code_letter_by_letter(index: dict[str, int]) -> None:
    assert as_codes(pl.Series(list(index)), index).values.tolist() == list(index.values())
    wrong = as_codes(pl.Series([code for code in ("401", "401.0", "1.00") if code not in index]), index)
    assert wrong.unreadable.all()


def test_types_that_hold_no_plain_value_are_told() -> None:
    plain = [
        pl.Int128(),
        pl.Float32(),
        pl.Decimal(10, 2),
        pl.String(),
        pl.Categorical(),
        pl.Enum(["a"]),
        pl.Datetime("ms", "UTC"),
        pl.Time(),
    ]
    assert all(is_plain(dtype) for dtype in plain)
    assert not any(is_plain(dtype) for dtype in [pl.Duration(), pl.Binary(), pl.List(pl.Int8), pl.Array(pl.Int8, 2), pl.Struct([])])


@pytest.mark.parametrize(
    ("text", "plain"), [("1.0", "1"), (" a ", "a"), ("1.50", "1.50"), ("007", "007"), ("-3.00", "-3"), ("v1.0", "v1.0")]
)
def test_only_a_whole_number_loses_its_zeros(text: str, plain: str) -> None:
    assert tidy(text) == plain
    assert as_text(pl.Series([text])).to_list() == [plain]
