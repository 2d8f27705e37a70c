from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.hospital import Rows, protocol, rows
from wardround.data.contract_check import Checked, check
from wardround.data.report import CheckReport, DataFinding, shown, shown_together
from wardround.data.site_file import FieldMap, SiteFile, Split
from wardround.study.dataset import ROLES
from wardround.study.protocol import Protocol
from wardround.study.protocol.plugged import Plugged


def checked(
    columns: Rows | pl.DataFrame,
    fields: Mapping[str, Any] | None = None,
    split: Split | None = None,
    agreed: Protocol | None = None,
    **options: Any,
) -> Checked:
    entries = {name: FieldMap.model_validate(entry) for name, entry in (fields or {}).items()}
    site = SiteFile(name="north", source=Plugged(kind="table", options=options), map=entries, split=split)
    return check(columns if isinstance(columns, pl.DataFrame) else pl.DataFrame(columns, strict=False), site, agreed or protocol())


def one(result: Checked, level: str, field: str = "") -> DataFinding:
    """Return the only finding of this level, which must concern this field."""
    (found,) = [finding for finding in result.report.findings if finding.level == level]
    assert found.field == field
    assert found.remedy
    return found


def put(columns: Rows, field: str, value: Any, *where: int) -> Rows:
    for row in where:
        columns[field][row] = value
    return columns


def test_good_rows_become_the_dataset_in_their_order() -> None:
    columns = rows()
    result = checked(columns)
    assert result.report.findings == ()
    data = result.dataset
    assert data is not None
    assert data.columns["age"].tolist() == [float(value) for value in columns["age"]]
    assert data.columns["sex"].tolist() == [("female", "male").index(value) for value in columns["sex"]]
    assert data.columns["sex"].dtype == np.int32
    assert data.columns["age"].dtype == np.float64
    assert data.patients == 300
    assert list(data.columns) == list(protocol().contract.fields)


def test_units_codes_numbers_of_columns_and_explicit_factors_are_applied() -> None:
    columns = rows(100)
    columns["sex"] = [{"female": "0", "male": "1.0"}[value] for value in columns["sex"]]
    columns["chol"] = [str(float(value) / 38.67) for value in columns["chol"]]
    columns["age"] = [str(float(value) * 12) for value in columns["age"]]
    maps = {"sex": {"codes": {"0": "female", "1": "male"}}, "chol": {"column": 2, "unit": "mmol/L", "factor": 38.67}, "age": {"unit": "mo"}}
    result, plain = checked(columns, maps), checked(rows(100))
    assert result.dataset is not None
    assert plain.dataset is not None
    for name, column in plain.dataset.columns.items():
        assert result.dataset.columns[name] == pytest.approx(column, rel=1e-12)


def test_conversion_at_the_end_of_the_range_is_not_outside() -> None:
    assert 57 * 0.01 > 0.57
    agreed = protocol(fields={"age": {"type": "number", "unit": "1", "range": [0, 0.57]}})
    result = checked(put(rows(100), "age", "57", *range(100)), {"age": {"unit": "%"}}, agreed=agreed)
    assert result.dataset is not None
    assert set(result.dataset.columns["age"]) == {0.57}


def test_a_decimal_comma_is_read_where_the_site_says_so() -> None:
    columns = put(rows(100), "age", "50,5", *range(100))
    result = checked(columns, decimal=",")
    assert result.dataset is not None
    assert set(result.dataset.columns["age"]) == {50.5}
    assert one(checked(columns), "error", "age").count == 100


def test_a_missing_column_names_the_nearest() -> None:
    columns = rows()
    columns["Chol_"] = columns.pop("chol")
    found = one(checked(columns), "error", "chol")
    assert "no column 'chol'" in found.sentence
    assert "'Chol_'" in found.remedy


def test_a_column_number_beyond_the_last_is_named() -> None:
    assert "0 to 4" in one(checked(rows(), {"age": 5}), "error", "age").remedy


def test_text_in_a_number_is_counted() -> None:
    found = one(checked(put(rows(), "age", "SECRET", *range(12))), "error", "age")
    assert found.count == 12
    assert "12 cells" in found.sentence


def test_what_cannot_be_read_is_not_called_missing() -> None:
    columns = put(put(rows(), "chol", "\uff11\uff12", *range(12)), "sex", "SECRET", *range(12))
    report = checked(columns).report
    assert {finding.field for finding in report.errors} == {"chol", "sex"}
    assert [field.missing for field in report.fields] == [0] * 4


def test_values_out_of_range_are_refused_or_set_to_missing_as_the_contract_says() -> None:
    columns = put(rows(), "age", "888", *range(11))
    assert "11 values lie outside 0 to 120 a" in one(checked(columns), "error", "age").sentence
    agreed = protocol(fields={"age": {"type": "number", "unit": "a", "range": [0, 120], "missing": "mean", "outside": "missing"}})
    result = checked(columns, agreed=agreed)
    assert one(result, "warning", "age").count == 11
    assert result.dataset is not None
    assert np.flatnonzero(np.isnan(result.dataset.columns["age"])).tolist() == list(range(11))


@pytest.mark.parametrize("outside", ["refuse", "missing"])
@pytest.mark.parametrize("wrong", [0.02586, 38.67])
def test_a_wrong_unit_is_suspected(outside: str, wrong: float) -> None:
    columns = rows()
    columns["chol"] = [str(float(value) * wrong) for value in columns["chol"]]
    agreed = protocol(fields={"chol": {"type": "number", "unit": "mg/dL", "range": [50, 700], "missing": "mean", "outside": outside}})
    found = one(checked(columns, agreed=agreed), "error", "chol")
    assert "Unit? The contract says mg/dL" in found.sentence
    assert "unit =" in found.remedy
    assert "the site file says g/L" in one(checked(rows(), {"chol": {"unit": "g/L"}}), "error", "chol").sentence


def test_a_unit_without_fixed_factor_is_refused() -> None:
    result = checked(rows(), {"chol": {"unit": "mmol/L"}})
    found = one(result, "error", "chol")
    assert "depends on the substance" in found.sentence
    assert "factor =" in found.remedy
    assert next(field for field in result.report.fields if field.name == "chol").mean is None


@pytest.mark.parametrize("missing", ["mean", "refuse"])
def test_where_the_unit_is_not_known_nothing_more_is_said_of_the_values(missing: str) -> None:
    columns = put(rows(), "chol", "5.2", *range(300))
    agreed = protocol(fields={"chol": {"type": "number", "unit": "mg/dL", "range": [50, 700], "missing": missing}})
    assert "outside" in one(checked(columns, agreed=agreed), "error", "chol").sentence
    assert "depends on the substance" in one(checked(columns, {"chol": {"unit": "mmol/L"}}, agreed=agreed), "error", "chol").sentence
    assert checked(columns, {"chol": {"unit": "mmol/L", "factor": 38.67}}, agreed=agreed).report.errors == ()


def test_an_unknown_code_is_counted_and_the_known_ones_are_listed() -> None:
    found = one(checked(put(rows(), "sex", "SECRET", 1, 2)), "error", "sex")
    assert found.count == 2
    assert "<10 cells" in found.sentence
    assert "female, male" in found.remedy


def test_a_code_map_to_a_code_that_the_contract_lacks_is_refused() -> None:
    found = one(checked(rows(), {"sex": {"codes": {"female": "f", "male": "male"}}}), "error", "sex")
    assert "'f'" in found.sentence
    assert "map.sex.codes" in found.sentence


@pytest.mark.parametrize(("field", "entry"), [("age", {"codes": {"1": "2"}}), ("sex", {"unit": "kg"}), ("sex", {"factor": 2.0})])
def test_options_of_the_other_kind_of_field_are_refused(field: str, entry: dict[str, Any]) -> None:
    assert "map." + field in one(checked(rows(), {field: entry}), "error", field).sentence


def test_a_map_entry_that_is_no_field_is_refused() -> None:
    assert "Did you mean 'chol'?" in one(checked(rows(), {"cholo": "chol"}), "error").remedy


def test_missing_values_stop_only_where_the_contract_refuses_them() -> None:
    assert checked(put(rows(), "chol", None, *range(20))).report.errors == ()
    found = one(checked(put(rows(), "age", None, *range(20))), "error", "age")
    assert found.count == 20
    assert one(checked(put(rows(), "ill", "", 1)), "error", "ill").count == 1


def test_a_marker_of_one_field_means_missing_there_only() -> None:
    columns = put(put(rows(), "chol", "0", *range(15)), "age", "0", 0)
    result = checked(columns, {"chol": {"missing": ("0",)}})
    assert result.dataset is not None
    assert np.isnan(result.dataset.columns["chol"]).sum() == 15
    assert result.dataset.columns["age"][0] == 0


@pytest.mark.parametrize("field", ["chol", "sex"])
def test_a_field_that_is_missing_in_every_row_is_refused(field: str) -> None:
    assert "missing in every row" in one(checked(put(rows(), field, None, *range(300))), "error", field).sentence


def test_an_empty_site_is_refused() -> None:
    assert "no rows" in one(checked(pl.DataFrame(schema=dict.fromkeys(rows(), pl.String))), "error").sentence


def test_more_examples_than_the_protocol_allows_are_refused() -> None:
    result = checked(rows(), agreed=protocol(bounds={"sites": 2, "examples": 299}))
    assert one(result, "error").count == 300
    assert checked(rows(), agreed=protocol(bounds={"sites": 2, "examples": 300})).dataset is not None


def test_a_one_class_site_is_warned_and_takes_part() -> None:
    result = checked(put(rows(), "ill", "1", *range(300)))
    assert "all rows of the site have the same class" in one(result, "warning", "ill").sentence
    assert result.dataset is not None


def test_a_site_where_a_number_to_be_predicted_never_varies_is_warned_and_takes_part() -> None:
    agreed = protocol(contract={"label": "age"})
    result = checked(put(rows(), "age", "50", *range(300)), agreed=agreed)
    assert "all rows of the site have the same value" in one(result, "warning", "age").sentence
    assert result.dataset is not None and checked(rows(), agreed=agreed).report.findings == ()


def test_a_training_part_of_one_class_is_warned() -> None:
    columns = rows()
    plain = checked(columns).dataset
    assert plain is not None
    columns["ill"] = ["0" if role == 0 else "1" for role in plain.role]
    assert "its training part" in one(checked(columns), "warning", "ill").sentence


def test_few_test_patients_are_warned() -> None:
    found = one(checked(rows(60)), "warning")
    assert found.count is not None
    assert found.count < 30
    assert str(found.count) not in found.sentence
    assert "cannot say" in found.remedy


def test_a_class_that_the_test_part_can_hardly_hold_is_warned() -> None:
    columns = rows()
    plain = checked(columns).dataset
    assert plain is not None
    test, train = np.flatnonzero(plain.role == ROLES.index("test")), np.flatnonzero(plain.role == ROLES.index("train"))
    columns["ill"] = ["0"] * 300
    put(put(columns, "ill", "1", *train[:20]), "ill", "1", *test[:5])
    assert checked(columns).report.findings == ()
    put(columns, "ill", "0", test[0])
    found = one(checked(columns), "warning", "ill")
    assert "too few patients of the test part have '1'" in found.sentence
    assert "'cannot say'; as a rule about 25 of each class" in found.remedy
    own = {**columns, "set": ["C" if row in test else "AB"[row in train] for row in range(300)]}
    split = Split(column="set", train=("B",), validation=("A",), test=("C",))
    assert "about" not in one(checked(own, split=split), "warning", "ill").remedy


def test_a_site_without_training_patients_is_refused() -> None:
    result = checked({**rows(), "set": ["C"] * 300}, split=Split(column="set", train=("A",), test=("C",)))
    assert "No patient is in the training part" in one(result, "error").sentence
    assert result.dataset is None


def test_a_site_without_validation_or_test_patients_is_warned() -> None:
    split = Split(column="set", train=("A",), validation=("B",), test=("C",))
    assert "validation part" in one(checked({**rows(), "set": ["A", "C"] * 150}, split=split), "warning").sentence
    result = checked({**rows(), "set": ["A", "B"] * 150}, split=split)
    assert "test part" in one(result, "warning").sentence
    assert result.dataset is not None


@pytest.mark.parametrize("high", [120_000, 1.7e308])
def test_a_range_far_wider_than_the_data_is_warned(high: float) -> None:
    agreed = protocol(fields={"age": {"type": "number", "unit": "a", "range": [-high, high]}})
    found = one(checked(rows(), agreed=agreed), "warning", "age")
    assert "far wider than the data" in found.sentence
    assert "narrower" in found.remedy
    fair = protocol(fields={"age": {"type": "number", "unit": "a", "range": [0, 60_000]}})
    assert checked(rows(), agreed=fair).report.findings == ()
    assert checked(put(rows(), "age", "50", *range(300)), agreed=agreed).report.findings == ()
    unseen = protocol(fields={"age": {"type": "number", "unit": "a", "range": [-high, high], "input": False}})
    assert checked(rows(), agreed=unseen).report.findings == ()


def test_a_parent_code_is_no_child() -> None:
    icd = protocol(fields={"sex": {"type": "code", "codes": ["401.0", "401.1", "401.9"]}})
    columns = put(put(rows(), "sex", "401.1", *range(300)), "sex", "401.0", *range(100))
    result = checked(columns, agreed=icd)
    assert result.dataset is not None
    assert result.dataset.columns["sex"].tolist() == [0] * 100 + [1] * 200
    assert one(checked(put(columns, "sex", "401", *range(12)), agreed=icd), "error", "sex").count == 12


def test_codes_that_look_alike_stay_apart() -> None:
    alike = protocol(fields={"sex": {"type": "code", "codes": ["1", "1.0"]}})
    local = {"sex": {"codes": {"9": "1", "9.0": "1.0"}}}
    for columns, entries in ((["1.0"] * 100 + ["1"] * 200, {}), (["9.0"] * 100 + ["9"] * 200, local)):
        result = checked({**rows(), "sex": columns}, entries, agreed=alike)
        assert result.dataset is not None
        assert result.dataset.columns["sex"].tolist() == [1] * 100 + [0] * 200


def test_a_marker_is_taken_loosely_in_a_number_and_strictly_in_a_code() -> None:
    codes = protocol(fields={"sex": {"type": "code", "codes": ["9.0", "8"], "missing": "mean"}})
    columns = {**put(rows(), "chol", "-9.0", *range(20)), "sex": ["9.0"] * 100 + ["8"] * 190 + ["9"] * 10}
    result = checked(columns, agreed=codes, missing=["-9", "9"])
    assert result.dataset is not None
    assert np.isnan(result.dataset.columns["chol"]).sum() == 20
    assert result.dataset.columns["sex"].tolist() == [0] * 100 + [1] * 190 + [-1] * 10


@pytest.mark.parametrize("field", ["age", "sex", "patient"])
@pytest.mark.parametrize("dtype", [pl.Duration("ms"), pl.List(pl.Int64), pl.Struct({"a": pl.Int64}), pl.Binary], ids=str)
def test_a_column_of_no_plain_values_is_named(field: str, dtype: pl.DataType) -> None:
    frame = pl.DataFrame(rows()).with_columns(pl.Series(field, [None] * 300, dtype=dtype))
    assert f"column {field!r} is of type" in one(checked(frame), "error", field).sentence


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("us", "UTC"), pl.Time], ids=str)
def test_dates_in_a_number_or_a_code_are_counted(dtype: pl.DataType) -> None:
    day = pl.Series("x", [0] * 300).cast(dtype)
    frame = pl.DataFrame(rows()).with_columns(age=day, sex=day)
    assert [(finding.field, finding.count) for finding in checked(frame).report.errors] == [("age", 300), ("sex", 300)]


@pytest.mark.parametrize("empty", [None, "", " "])
def test_an_absent_patient_identifier_is_refused(empty: str | None) -> None:
    assert one(checked(put(rows(), "patient", empty, 1, 2, 3)), "error", "patient").count == 3


def test_without_identifiers_each_row_is_a_patient_and_that_is_said() -> None:
    columns = rows()
    del columns["patient"]
    result = checked(columns, agreed=protocol({"patient": None}))
    assert "image-level" in one(result, "warning").remedy
    assert result.dataset is not None
    assert result.dataset.patients == 300


def test_rows_of_a_patient_stay_together_however_the_identifier_is_typed() -> None:
    numbers = [number // 3 for number in range(300)]
    texts, floats = rows(), rows()
    texts["patient"], floats["patient"] = [f" {number} " for number in numbers], [float(number) for number in numbers]
    one_way, other = checked(texts).dataset, checked(floats).dataset
    assert one_way is not None
    assert other is not None
    assert one_way.patients == 100
    assert np.array_equal(one_way.role, other.role)
    assert all(len(set(one_way.role[one_way.patient == patient])) == 1 for patient in range(100))


def test_patients_in_two_parts_of_the_sites_own_split_are_counted() -> None:
    columns = {**rows(), "set": ["A" if row % 2 else "C" for row in range(300)]}
    columns["patient"] = [str(row // 2) if row < 24 else f"P{row}" for row in range(300)]
    assert one(checked(columns, split=Split(column="set", train=("A",), test=("C",))), "error", "split").count == 12


def test_a_row_that_names_no_part_is_refused() -> None:
    columns = put({**rows(), "set": ["A", "C"] * 150}, "set", "SECRET", *range(10))
    assert one(checked(columns, split=Split(column="set", train=("A",), test=("C",))), "error", "split").count == 10
    missing = one(checked(rows(), split=Split(column="set", train=("A",), test=("C",))), "error", "split.column")
    assert "no column 'set'" in missing.sentence


def test_the_sites_own_split_is_kept() -> None:
    columns = {**rows(), "set": ["1.0"] * 100 + ["2"] * 100 + ["3"] * 100}
    result = checked(columns, split=Split(column="set", train=("1",), validation=("2",), test=("3",)))
    assert result.dataset is not None
    assert result.dataset.role.tolist() == [0] * 100 + [1] * 100 + [2] * 100
    assert result.report.patients == dict.fromkeys(ROLES, 100)


def test_duplicate_rows_are_warned() -> None:
    columns = {name: cells + cells[:12] for name, cells in rows().items()}
    assert one(checked(columns), "warning").count == 12


def test_times_are_read_and_checked() -> None:
    agreed = protocol({"time": "seen"})
    columns = {**rows(), "seen": ["2024-03-01"] * 300}
    result = checked(columns, agreed=agreed)
    assert result.dataset is not None
    assert result.dataset.time is not None
    assert set(result.dataset.time) == {1709251200.0}
    assert one(checked(put(columns, "seen", "SECRET", 5), agreed=agreed), "error", "seen").count == 1
    assert one(checked(put(columns, "seen", None, 5, 6), agreed=agreed), "warning", "seen").count == 2


def test_all_is_reported_at_once_and_no_value_shows() -> None:
    columns = put(put(put(put(rows(), "age", "SECRET", 1), "sex", "SECRET", 2), "chol", "987654321", 3), "ill", None, 4)
    columns["patient"] = ["SECRET"] * 299 + [None]
    report = checked(columns, {"nothing": "chol"}).report
    assert {finding.field for finding in report.errors} == {"", "age", "sex", "chol", "ill", "patient"}
    error = report.error()
    for text in (str(report), str(error), json.dumps(report.describe())):
        assert "SECRET" not in text
        assert "987654321" not in text
        assert "MRN" not in text
    for finding in report.errors:
        assert finding.sentence in str(error)
        assert finding.remedy in str(error)


def test_small_counts_are_suppressed_in_words_and_kept_in_numbers() -> None:
    assert [shown(count) for count in (0, 1, 9, 10, 1234)] == ["0", "<10", "<10", "10", "1234"]
    result = checked(put(rows(), "chol", None, 0, 1, 2))
    chol = next(field for field in result.report.fields if field.name == "chol")
    assert chol.missing == 3
    assert str(chol).endswith("missing <10")
    assert "mean" in str(chol)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=4), st.integers(1, 9))
def test_what_is_hidden_cannot_be_told_from_the_total(counts: list[int], other: int) -> None:
    hidden = [place for place, count in enumerate(counts) if 0 < count < 10]
    larger = [place for place, count in enumerate(counts) if count >= 10]
    texts = shown_together(counts)
    assert all(texts[place] == "<10" for place in hidden)
    if len(hidden) != 1 or not larger:
        assert texts == [shown(count) for count in counts]
        return
    place, swapped = larger[0], [*counts]
    swapped[hidden[0]], swapped[place] = other, counts[place] + counts[hidden[0]] - other
    if swapped[place] >= 10:
        assert shown_together(swapped) == texts  # any other hidden count would look the same
    assert texts[place] == "<20" or int(texts[place].removesuffix("+")) <= counts[place]


def test_a_report_does_not_tell_a_hidden_part_by_the_total() -> None:
    report = CheckReport("north", 174, {"train": 116, "validation": 50, "test": 8})
    assert str(report) == "north: 174 rows; patients: 110+ train, 50 validation, <10 test"
    assert report.describe()["patients"] == {"train": "110+", "validation": "50", "test": "<10"}
    agreed = protocol(fields={"sex": {"type": "code", "codes": ["female", "male"], "missing": "mean"}})
    sex = next(field for field in checked(put(rows(), "sex", None, 0, 1, 2), agreed=agreed).report.fields if field.name == "sex")
    assert sex.codes is not None
    female, male, missing = shown_together([*sex.codes.values(), 3])
    assert str(sex) == f"sex: female: {female}, male: {male}, missing {missing}"
    assert female.endswith("+")


def test_few_values_have_no_mean() -> None:
    result = checked(put(rows(), "chol", None, *range(291)))
    assert next(field for field in result.report.fields if field.name == "chol").mean is None


def test_few_patients_have_no_summary_however_many_rows_they_have() -> None:
    columns = {**rows(), "patient": [f"P{row % 9}" for row in range(300)]}
    for field in checked(columns).report.fields:
        assert (field.mean, field.sd, field.codes) == (None, None, None)
        assert "fewer than 10 patients" in str(field)
    more = {field.name: field for field in checked({**columns, "patient": [f"P{row % 10}" for row in range(300)]}).report.fields}
    assert more["age"].mean is not None
    assert more["sex"].codes is not None


def test_a_code_of_few_patients_with_many_rows_is_not_shown() -> None:
    columns = rows()
    columns["sex"] = ["male"] * 15 + ["female"] * 285
    columns["patient"][:15] = ["P0"] * 15
    assert {field.name: field.codes is None for field in checked(columns).report.fields}["sex"]


@pytest.mark.parametrize(
    "alter",
    [
        lambda frame, row: frame.with_columns(age=pl.when(pl.int_range(pl.len()) == row).then(pl.lit("119")).otherwise("age")),
        lambda frame, row: frame.with_columns(chol=pl.when(pl.int_range(pl.len()) == row).then(pl.lit(None)).otherwise("chol")),
        lambda frame, row: frame.with_columns(ill=pl.when(pl.int_range(pl.len()) == row).then(pl.lit("1")).otherwise(pl.lit("0"))),
        lambda frame, row: frame.with_columns(patient=pl.when(pl.int_range(pl.len()) == row).then(pl.lit("new")).otherwise("patient")),
        lambda frame, row: frame.filter(pl.int_range(pl.len()) != row),
    ],
    ids=["number", "missing", "label", "identifier", "row left out"],
)
def test_altering_a_test_row_moves_nothing_of_the_others(alter: Callable[[pl.DataFrame, int], pl.DataFrame]) -> None:
    columns = rows()
    columns["ill"] = ["0"] * 300
    columns["patient"] = [f"P{row // 2}" for row in range(300)]
    frame = pl.DataFrame(columns)
    before = checked(frame).dataset
    assert before is not None
    for row in before.rows("test")[:4]:
        changed = alter(frame, int(row))
        after = checked(changed).dataset
        assert after is not None
        kept = np.ones(300, dtype=bool)
        kept[row] = False
        there = kept if len(after) == 300 else np.ones(299, dtype=bool)
        assert np.array_equal(before.role[kept], after.role[there])
        learning = before.role[kept] != ROLES.index("test")
        assert np.array_equal(before.patient[kept][learning], after.patient[there][learning])
        for name in before.columns:
            assert np.array_equal(before.columns[name][kept], after.columns[name][there], equal_nan=True)
