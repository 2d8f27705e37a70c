"""Who is on the opt-out list is in no snapshot, however list and table write them; a list that cannot be read stops everything."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.hospital import csv, protocol, rows, site
from wardround.data.consent import OptOut, left_out, loosely, read_opt_out
from wardround.data.load import inspect, prepare, read
from wardround.data.site_file import SiteFile
from wardround.data.snapshot import read_snapshot
from wardround.study.errors import DataError, ProtocolError

LIST = '[consent]\nopt_out = "out.csv"\n'
TABLE = f'{LIST}column = "MRN"\n'


def with_list(folder: Path, listed: str | bytes | None, consent: str = LIST, table: dict[str, list[str]] | None = None) -> SiteFile:
    """Return a site file that names a list; None for one that is not there."""
    if listed is not None:
        (folder / "out.csv").write_bytes(listed.encode() if isinstance(listed, str) else listed)
    return site(folder, csv(table or rows()), rest=consent)


@pytest.mark.parametrize(
    ("table", "listed"),
    [
        ("P012", "p-012"),
        ("P012", " P 012 "),
        ("P012", "P12"),
        ("12", "0012"),
        ("0012", "12.0"),
        ("12000000", "1.2E+7"),
        ("12", "\uff11\uff12"),
        ("12", "١٢"),
        ("Straße 1", "STRASSE1"),
        ("12,0", "12"),
        ("0", "000"),
        ("--", "- -"),
        ("2024/007", "2024/7"),
        ("1-02", "1-2"),
        ("MRN-001-05", "MRN-1-5"),
        ("1.2E+001", "12"),
        ("MRN 12.0", "MRN 12"),
        ("12.0\u200b", "12"),
        ("\u200e12.0", "12"),
        ("\ufeff12.0", "12"),
        ("1\u00ad2", "12"),
    ],
)
def test_spellings_of_one_patient_are_alike(table: str, listed: str) -> None:
    assert loosely(table) == loosely(listed)


@pytest.mark.parametrize(
    ("one", "other"), [("12", "120"), ("12", "112"), ("P12", "Q12"), ("12.5", "12"), ("1.2E+7", "12"), ("--", "++"), ("0", "")]
)
def test_different_patients_stay_different(one: str, other: str) -> None:
    assert loosely(one) != loosely(other)


identifiers = st.one_of(
    st.integers(0, 10**9).map(str),
    st.from_regex(r"[A-Z]{1,3}[0-9]{1,6}", fullmatch=True),
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12),
)


@st.composite
def spellings(draw: st.DrawFn, identifier: str) -> str:
    """Return another spelling of an identifier."""
    text = draw(st.sampled_from([identifier, identifier.upper(), identifier.lower(), identifier.casefold()]))
    if text.isascii() and text.isdigit():
        text = "0" * draw(st.integers(0, 3)) + text + draw(st.sampled_from(["", ".0", ".00"]))
    sign = draw(st.sampled_from(["", " ", "-", "/", "."]))
    if "." not in text:
        place = draw(st.integers(0, len(text)))
        parts = sign in "-/." and text[place : place + 1] == "0"  # then what follows is a number of its own
        text = text[:place] + (sign if not parts and not (sign == "." and text.isdigit()) else "") + text[place:]
    return f"{draw(st.sampled_from(['', ' ', '  ']))}{text}{draw(st.sampled_from(['', ' ']))}"


@given(st.data(), st.lists(identifiers, min_size=1, max_size=30, unique_by=loosely))
@settings(max_examples=100, deadline=None)
def test_any_spelling_on_the_list_takes_exactly_its_patient_out(data: st.DataObject, patients: list[str]) -> None:
    chosen = data.draw(st.sets(st.sampled_from(patients)))
    listed = {data.draw(spellings(one)).strip() for one in chosen} | data.draw(st.sets(st.just("nobody at all"), max_size=1))
    repeated = [one for one in patients for _ in range(data.draw(st.integers(1, 3)))]
    if "nobodyatall" in {loosely(one) for one in patients}:
        return
    found = left_out(repeated, OptOut(frozenset(listed)))
    assert {one for one, out in zip(repeated, found.rows, strict=True) if out} == chosen
    assert (found.patients, found.unmatched) == (len(chosen), int("nobody at all" in listed))


@given(
    st.sets(st.integers(0, 59), max_size=40),
    st.integers(1, 3),
    st.sampled_from(["lines", "table", "numbered"]),
    st.sampled_from(["MRN{:05d}", "mrn-{:05d}", " MRN{:d}", "mrn {:03d}"]),
)
@example(set(), 1, "lines", "MRN{:05d}")
@settings(max_examples=20, deadline=None)
def test_a_snapshot_with_a_list_is_that_of_a_table_without_these_patients(out: set[int], times: int, how: str, spelling: str) -> None:
    """Through the true path: site file, table, list, check, snapshot on disk."""
    whole = {name: [cell for cell in column[:60] for _ in range(times)] for name, column in rows(60, seed=3).items()}
    whole["age"] = [str(20 + number % 90) for number in range(60 * times)]
    less = {name: [cell for number, cell in enumerate(column) if number // times not in out] for name, column in whole.items()}
    names = [spelling.format(number) for number in sorted(out)]
    listed = {"lines": "\n".join(names), "table": "\n".join(["MRN,since", *(f"{one},2024" for one in names)])}
    listed["numbered"] = "\n".join(["1,nobody", *(f"2,{one}" for one in names)])
    consent = {"lines": LIST, "table": TABLE, "numbered": f"{LIST}column = 1\n"}[how]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = prepare(with_list(Path(one), listed[how], consent, whole), protocol(), Path(one) / "snapshots")
        second = prepare(site(Path(other), csv(less)), protocol(), Path(other) / "snapshots")
        assert first.digest == second.digest and first.withdrew == len(out)
        data = read_snapshot(first.folder)
        assert data.patients == 60 - len(out) and len(data) == (60 - len(out)) * times


def test_numbers_of_a_parquet_file_are_compared_as_the_list_writes_them(tmp_path: Path) -> None:
    import polars as pl

    columns = rows(40)
    pl.DataFrame({**columns, "patient": [float(number) for number in range(40)]}).write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "out.csv").write_text("007\n8.0\n 9 \n")
    made = site(tmp_path, (tmp_path / "rows.parquet").read_bytes(), rest=LIST, suffix=".parquet")
    found = read(made, protocol())
    assert found.out is not None and (found.out.patients, found.out.unmatched) == (3, 0)
    assert set(found.patients) == {str(number) for number in range(40)} - {"7", "8", "9"}


def test_what_the_list_did_is_told_in_counts_that_show_nobody(tmp_path: Path) -> None:
    report = inspect(with_list(tmp_path, "MRN00001\nmrn 2\nstranger\n"), protocol()).report
    said = [finding.sentence for finding in report.findings if "opt-out" in finding.sentence or "otherwise" in finding.sentence]
    assert sorted(said) == [
        "<10 entries of the opt-out list are of no patient in the table.",
        "<10 of them are written otherwise in the table (blanks, zeros, capitals, hyphens).",
        "<10 patients are left out, since they are on the opt-out list of <10 entries.",
    ]
    assert "stranger" not in str(report) and "MRN" not in str(report)


def test_an_empty_list_takes_nobody_out_and_is_pointed_at(tmp_path: Path) -> None:
    found = inspect(with_list(tmp_path, "\n \n"), protocol())
    assert found.dataset is not None and found.dataset.patients == 300
    assert "The opt-out list is empty." in str(found.report)


@pytest.mark.parametrize(
    ("listed", "consent", "wrong"),
    [
        (None, LIST, "is not there"),
        ("MRN,since\nMRN00001,2024\n", LIST, "looks like a table, and no column is named"),
        ("MRN,since\nMRN00001,2024\n", f'{LIST}column = "patient"\n', "has no column 'patient'; it has 2"),
        ("MRN,since\nMRN00001,2024\n", f"{LIST}column = 5\n", "has no column 5; it has 2"),
        ("MRN,since\nMRN00001\n", TABLE, "has 1 cells where 2 belong"),
        (b"MRN\xff\n", LIST, "is not utf-8 text"),
        (b"MRN\0\n", LIST, "is no text"),
        ("", TABLE, "is empty"),
        ("MRN\n", f'{LIST}encoding = "klingon"\n', "its encoding is not known"),
        ("MRN,since\n", f'{TABLE}encoding = "klingon"\n', "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_stops_everything(tmp_path: Path, listed: str | bytes | None, consent: str, wrong: str) -> None:
    made = with_list(tmp_path, listed, consent)
    with pytest.raises(DataError) as caught:
        prepare(made, protocol(), tmp_path / "snapshots")
    assert wrong in caught.value.message and "Nothing is prepared without the list." in caught.value.remedy
    assert "MRN00001" not in str(caught.value) and not (tmp_path / "snapshots").exists()


def test_a_list_that_this_user_may_not_read_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(DataError, match="is not there"):
        read_opt_out(with_list(tmp_path, None))


def test_a_plan_without_patients_cannot_leave_anybody_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no patient identifiers") as caught:
        prepare(with_list(tmp_path, "MRN00001\n"), protocol({"patient": None}), tmp_path / "snapshots")
    assert "leave out [consent]" in caught.value.remedy


def test_a_hospital_whose_patients_all_opted_out_cannot_take_part(tmp_path: Path) -> None:
    listed = "\n".join(str(one) for one in rows()["patient"])
    with pytest.raises(DataError, match="Every patient of the table is on the opt-out list") as caught:
        prepare(with_list(tmp_path, listed), protocol(), tmp_path / "snapshots")
    assert "wardround site leave" in caught.value.remedy


@pytest.mark.parametrize(
    ("consent", "wrong"), [("[consent]\n", "opt_out"), ('[consent]\nopt_out = ""\n', "opt_out"), (f"{LIST}colum = 1\n", "colum")]
)
def test_a_consent_table_with_mistakes_is_named(tmp_path: Path, consent: str, wrong: str) -> None:
    with pytest.raises(ProtocolError, match=wrong):
        with_list(tmp_path, "", consent)


def test_who_is_left_out_does_not_move_others_between_parts(tmp_path: Path) -> None:
    whole = read(site(tmp_path, csv(rows())), protocol())
    less = read(with_list(tmp_path, "\n".join(f"MRN{number:05d}" for number in range(0, 300, 7))), protocol())
    assert whole.checked.dataset is not None and less.checked.dataset is not None
    part = dict(zip(whole.patients, whole.checked.dataset.role, strict=True))
    assert all(part[one] == role for one, role in zip(less.patients, less.checked.dataset.role, strict=True))
    assert less.rows == [number + 1 for number in range(300) if number % 7] and np.all(np.diff(less.rows) > 0)
