from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.exceptions import PanicException

from tests.data.hospital import protocol
from wardround.data.sources.table import Table
from wardround.study.errors import DataError
from wardround.study.protocol import Contract


@pytest.fixture(scope="module")
def contract() -> Contract:
    return protocol().contract


def put(folder: Path, data: str | bytes, name: str = "rows.csv") -> Path:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder / name


def test_every_cell_of_a_csv_stays_text(tmp_path: Path, contract: Contract) -> None:
    frame = Table(put(tmp_path, "id,a,b\n007,1.50,NaN\n1e3,true,2020-01-01\n")).read(contract)
    assert frame.rows() == [("007", "1.50", "NaN"), ("1e3", "true", "2020-01-01")]
    assert set(frame.dtypes) == {pl.String}


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("x;y\nä;1,5\n?;2\n".encode("latin-1"), {"encoding": "latin-1", "separator": ";", "decimal": ",", "missing": ("?",)}),
        ('\ufeffx,y\r\nä,"1,5"\r\n?,2\r\n'.encode(), {"missing": ("?",)}),
        ("x\ty\nä\t1,5\n?\t2\n".encode("cp1252"), {"format": "tsv", "encoding": "cp1252", "missing": ("?",)}),
        ("x,y\n'ä','1,5'\n?,2\n\n".encode(), {"quote": "'", "missing": ("?",)}),
    ],
)
def test_local_habits_are_read(tmp_path: Path, contract: Contract, data: bytes, options: dict[str, Any]) -> None:
    frame = Table(put(tmp_path, data), **options).read(contract)
    assert frame.columns == ["x", "y"]
    assert frame.rows() == [("ä", "1,5"), (None, "2")]


def test_a_file_without_header_has_numbered_columns(tmp_path: Path, contract: Contract) -> None:
    frame = Table(put(tmp_path, "63.0,1.0,?\n67.0,0.0,2\n"), header=False, missing=("?",)).read(contract)
    assert frame.columns == ["0", "1", "2"]
    assert frame.rows() == [("63.0", "1.0", None), ("67.0", "0.0", "2")]


def test_tsv_is_told_by_its_name(tmp_path: Path, contract: Contract) -> None:
    assert Table(put(tmp_path, "a\tb\n1\t2\n", "rows.tsv")).read(contract).rows() == [("1", "2")]


def test_parquet_keeps_its_types(tmp_path: Path, contract: Contract) -> None:
    frame = pl.DataFrame({"a": [1.5, -999.0], "b": ["?", "x"], "d": [[1], [2]], "c": [1, 2]})
    frame.write_parquet(tmp_path / "rows.parquet")
    read = Table(tmp_path / "rows.parquet", missing=("?", "-999")).read(contract)
    assert read.to_dict(as_series=False) == {"a": [1.5, None], "b": [None, "x"], "d": [[1], [2]], "c": [1, 2]}


def test_a_parquet_file_at_which_the_reader_panics_is_refused(tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(_: Path) -> pl.DataFrame:
        raise PanicException("P1 is ill")

    monkeypatch.setattr(pl, "read_parquet", panics)
    with pytest.raises(DataError, match=r"rows\.parquet: is not a readable Parquet file") as refused:
        Table(put(tmp_path, b"PAR1", "rows.parquet")).read(contract)
    assert "P1" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "ascii", "utf-8"])
def test_a_file_of_another_encoding_is_refused(tmp_path: Path, contract: Contract, encoding: str) -> None:
    with pytest.raises(DataError, match=f"is not {encoding} text"):
        Table(put(tmp_path, "a,b\nä,12\n".encode("latin-1")), encoding=encoding).read(contract)


def test_utf_16_is_read(tmp_path: Path, contract: Contract) -> None:
    assert Table(put(tmp_path, "a,b\nä,1\n".encode("utf-16")), encoding="utf-16").read(contract).rows() == [("ä", "1")]


def test_a_path_that_the_system_refuses_is_said(contract: Contract) -> None:
    with pytest.raises(DataError, match="cannot be read") as refused:
        Table(Path("/", "x" * 5000)).read(contract)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a,b\n1,2\n3\n", "line 3: has 1 cells where 2 belong"),
        ("a,b\n1,2,3\n", "line 2: has 3 cells where 2 belong"),
        ('a,b\n1,"two\nlines"\n3\n', "line 4: has 1 cells where 2 belong"),
        ('a,b\n1,"open\n', "cannot be split into cells"),
        ("", "is empty"),
        ("63.0,1.0,145\n67.0,1.0,160\n", "header = false"),
        ("a;b\n1;2\n", 'separator = ";"'),
        ("a\tb\n1\t2\n", 'separator = "\\t"'),
        ("a,b,a\n1,2,3\n", "1 of 3 column names stand there twice"),
        ("a,b\nä,1\n".encode("latin-1"), "is not utf-8 text"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, contract: Contract, data: str | bytes, said: str) -> None:
    with pytest.raises(DataError) as refused:
        Table(put(tmp_path, data)).read(contract)
    assert said in str(refused.value)
    assert "rows.csv" in refused.value.message
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("name", "said"), [("none.csv", "no such file"), ("rows.xlsx", "Save it as CSV"), ("rows.parquet", "not a readable Parquet")]
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, contract: Contract, name: str, said: str) -> None:
    if name != "none.csv":
        put(tmp_path, b"PK\x03\x04 something", name)
    with pytest.raises(DataError, match=said):
        Table(tmp_path / name).read(contract)


def test_no_message_holds_a_cell(tmp_path: Path, contract: Contract) -> None:
    for data in ("Miller,1917,23\nSmith,1918,24\n", "a,b\nMiller\n", 'a,b\nMiller,"1917\n', "Miller,Miller,x\n1,2,3\n"):
        with pytest.raises(DataError) as refused:
            Table(put(tmp_path, data)).read(contract)
        assert "Miller" not in str(refused.value)
        assert "1917" not in str(refused.value)


def test_many_rows_keep_their_order(tmp_path: Path, contract: Contract) -> None:
    data = "a,b\n" + "".join(f"{number},x\n" for number in range(45_000))
    assert Table(put(tmp_path, data)).read(contract)["a"].to_list() == [str(number) for number in range(45_000)]


CELL = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=5).filter(lambda text: text != "NA")


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_a_quoted_cell_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("quoted")
    quoted = ["name,other", *(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells)]
    frame = Table(put(folder, "\r\n".join(quoted))).read(protocol().contract)
    expected = [tuple(None if cell.strip() == "NA" else cell for cell in row) for row in cells]
    assert frame.rows() == expected
