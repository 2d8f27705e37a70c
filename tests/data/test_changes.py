"""What is different between two looks at a hospital's rows is counted and named by place; taking patients out changes nobody else."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data import pictures
from tests.data.hospital import protocol, rows
from wardround.data.changes import Changes, Known, changes, without
from wardround.data.contract_check import check
from wardround.data.load import read
from wardround.data.site_file import SiteFile
from wardround.data.snapshot import write_snapshot
from wardround.data.who import keep_who, pseudonyms, who_of
from wardround.study.errors import VerificationError
from wardround.study.protocol.plugged import Plugged
from wardround.study.streams import Stream

SECRET = Stream.public(1)
TIMED = protocol({"time": "day"})
Row = dict[str, str]


def known(table: list[Row]) -> Known:
    """Return a table as the loader would hold it."""
    import polars as pl

    site = SiteFile(name="north", source=Plugged(kind="table", options={"path": "x.csv"}))
    found = check(pl.DataFrame(table), site, TIMED)
    assert found.dataset is not None, found.report
    who = pseudonyms([row["patient"] for row in table], found.dataset.patient, SECRET)
    return Known(found.dataset, who, range(1, len(table) + 1))


def whole() -> list[Row]:
    """Return 40 patients with one to three rows each."""
    columns: dict[str, list[Any]] = {**rows(80), "patient": [f"P{(number * 7) % 40}" for number in range(80)]}
    columns["day"] = [f"2024-01-{1 + number % 28:02d}" for number in range(80)]
    return [{name: str(column[number]) for name, column in columns.items()} for number in range(80)]


def test_another_order_and_another_spelling_of_the_same_are_no_change() -> None:
    table = whole()
    other = [{**row, "age": f"{row['age']}.0", "patient": f" {row['patient']} "} for row in reversed(table)]
    assert changes(known(table), known(table)) == changes(known(table), known(other)) == Changes()


def test_a_patient_who_is_written_otherwise_is_the_same_and_may_not_so_get_into_another_part() -> None:
    other = [{**row, "patient": row["patient"].lower()} for row in whole()]
    found = changes(known(whole()), known(other))
    assert found.rows == () and found.added == found.gone == 0
    assert 0 < found.moved < 40, "the hash that divides patients takes identifiers letter by letter"


def test_a_changed_row_is_named_by_its_place_and_the_fields_that_differ() -> None:
    table = whole()
    table[5] = {**table[5], "age": "33", "chol": "100"}
    table[9] = {**table[9], "day": "2023-12-31"}
    found = changes(known(whole()), known(table))
    assert [(row.row, row.fields) for row in sorted(found.rows, key=lambda one: one.row)] == [(6, ("age", "chol")), (10, ("time",))]
    assert (found.patients, found.gone, found.added, found.new_rows) == (2, 0, 0, 0)
    assert "33" not in str(found) and str(found) == "<10 rows of <10 patients changed"


def test_rows_that_are_gone_or_new_are_told_apart() -> None:
    table = [row for row in whole() if row["patient"] != "P7"]
    gone = sum(row["patient"] == "P7" for row in whole())
    table += [{**table[0], "patient": "P999"}, {**table[1], "age": "21"}]
    found = changes(known(whole()), known(table))
    assert (found.patients, found.gone, found.added, found.new_rows, len(found.rows)) == (1, 1, 1, 1, gone)
    assert {(row.row, row.fields) for row in found.rows} == {(0, ())}


def test_a_patient_who_stands_in_another_part_is_counted() -> None:
    before = known(whole())
    roles = before.dataset.role.copy()
    roles[before.dataset.patient == 0] = (roles[before.dataset.patient == 0] + 1) % 3
    moved = Known(type(before.dataset)(before.dataset.columns, before.dataset.patient, roles, before.dataset.time), before.who, before.rows)
    assert changes(before, moved).moved == 1 and changes(before, before).moved == 0


@given(st.sets(st.integers(0, 39), max_size=39), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_snapshot_without_patients_is_that_of_a_table_without_them(out: set[int], dice: random.Random) -> None:
    table = whole()
    dice.shuffle(table)
    before = known(table)
    gone = {f"P{number}" for number in out}
    names = np.array([f"P{number}" for number in range(40)])
    marks = pseudonyms(list(names), np.arange(40), SECRET)
    wanted = {marks[number].tobytes() for number in out}
    less = without(before, np.array([one.tobytes() in wanted for one in before.who], dtype=bool))
    other = known([row for row in table if row["patient"] not in gone])
    assert set(less.dataset.columns) == set(other.dataset.columns)
    assert all(np.array_equal(less.dataset.columns[name], other.dataset.columns[name], equal_nan=True) for name in less.dataset.columns)
    assert np.array_equal(less.dataset.patient, other.dataset.patient) and np.array_equal(less.dataset.role, other.dataset.role)
    assert np.array_equal(less.who, other.who) and changes(less, other) == Changes()
    assert list(less.rows) == [number + 1 for number, row in enumerate(table) if row["patient"] not in gone]


def test_pseudonyms_lie_beside_the_snapshot_for_this_user_only_and_are_of_one_hospital(tmp_path: Path) -> None:
    made = known(whole())
    place = write_snapshot(made.dataset, TIMED.contract, "table", tmp_path)[1]
    with pytest.raises(VerificationError, match="is not known here"):
        who_of(place)
    keep_who(made.who, place)
    assert np.array_equal(who_of(place), made.who)
    (path,) = tmp_path.glob("*.who")
    assert path.stat().st_mode & 0o077 == 0 and b"P7" not in path.read_bytes()
    identifiers = [row["patient"] for row in whole()]
    other = pseudonyms(identifiers, made.dataset.patient, Stream.public(2))
    assert not any(np.array_equal(one, two) for one, two in zip(made.who, other, strict=True))
    path.write_bytes(b"damaged")
    with pytest.raises(VerificationError, match="is not known here"):
        who_of(place)


def filmed(folder: Path, files: dict[str, bytes], patients: list[str]) -> Known:
    """Return a folder of pictures as the loader would hold it."""
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    columns: dict[str, list[Any]] = {"file": list(files), "patient": patients, "ill": [row % 2 for row in range(len(files))]}
    return read(pictures.site(place, files, columns), pictures.plan()).known(SECRET)


def test_images_are_compared_by_what_they_show(tmp_path: Path) -> None:
    films = [pictures.encoded(pictures.pixels(seed)) for seed in range(4)]
    before = filmed(tmp_path, dict(zip(["a.png", "b.png", "c.png"], films, strict=False)), ["1", "1", "2"])
    renamed = filmed(tmp_path, dict(zip(["x.png", "y.png", "z.png"], films, strict=False)), ["1", "1", "2"])
    assert changes(before, renamed) == Changes()
    other = pictures.pixels(2)
    other[3, 3] ^= 1
    fourth = {"a.png": films[0], "b.png": films[1], "c.png": pictures.encoded(other), "d.png": films[3]}
    edited = filmed(tmp_path, fourth, ["1", "1", "2", "3"])
    found = changes(before, edited)
    assert [(one.row, one.fields) for one in found.rows] == [(3, ("film",))]
    assert (found.patients, found.added, found.new_rows) == (1, 1, 0)


def test_a_patient_taken_out_takes_the_images_along(tmp_path: Path) -> None:
    films = {f"{seed}.png": pictures.encoded(pictures.pixels(seed)) for seed in range(3)}
    whole, fewer = filmed(tmp_path, films, ["1", "2", "1"]), filmed(tmp_path, {"1.png": films["1.png"]}, ["2"])
    out = np.array([bytes(one) not in {bytes(other) for other in fewer.who} for one in whole.who])
    rest = without(whole, out)
    assert np.array_equal(rest.dataset.columns["film"], fewer.dataset.columns["film"])
    assert len(rest.dataset) == 1
