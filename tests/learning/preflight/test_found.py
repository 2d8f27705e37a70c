"""What goes wrong between hospitals is found and named; what honest hospitals have in common, or differ in, is not called a clash."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.learning.preflight.hospitals import FIELDS, Row, compared, found, hospitals, plan
from wardround.learning.preflight.ways import ways

PLAN = plan()


def changed(given: dict[str, list[Row]], site: str, field: str, new: Callable[[str], str], share: float = 1.0) -> dict[str, list[Row]]:
    rng = np.random.default_rng(5)
    return {**given, site: [{**row, field: new(row[field])} if rng.random() < share else row for row in given[site]]}


def times(factor: float, offset: float = 0.0) -> Callable[[str], str]:
    return lambda value: f"{float(value) * factor + offset:.6g}"


@pytest.mark.parametrize(
    ("field", "new", "share", "kind", "words"),
    [
        ("age", times(12), 1.0, "unit", "in mo, not in a"),
        ("temperature", times(1.8, 32), 1.0, "unit", "in [degF], not in Cel"),
        ("glucose", times(1 / 18.0156), 1.0, "unit", "in mmol/L of glucose"),
        ("glucose", times(0.01), 1.0, "unit", "in g/L, not in mg/dL"),
        ("glucose", lambda value: f"{np.log(float(value)):.4f}", 1.0, "scale", "natural logarithms"),
        ("age", times(-1), 1.0, "sign", "other sign"),
        ("age", lambda value: "999", 0.3, "spike", "999"),
        ("age", lambda value: "0", 1.0, "spike", "0, far from those"),
        ("temperature", lambda value: "36.8", 1.0, "constant", "36.8"),
        ("glucose", lambda value: "", 0.5, "missing", "Missing in"),
        ("glucose", lambda value: "", 1.0, "absent", "Missing in 100%"),
        ("glucose", lambda value: "high", 0.4, "unreadable", "no number"),
        ("ill", {"no": "yes", "yes": "no"}.__getitem__, 1.0, "swapped", "no for yes, yes for no"),
        ("ward", {"a": "b", "b": "c", "c": "a"}.__getitem__, 1.0, "swapped", "a for c, b for a, c for b"),
        ("ward", lambda value: "Z9", 0.3, "unreadable", "not in the contract"),
        ("ill", lambda value: "yes", 0.8, "prevalence", "'yes'"),
        ("age", times(1, 12), 1.0, "place", "deviations higher"),
    ],
)
def test_it_is_found_where_it_is_and_named(field: str, new: Callable[[str], str], share: float, kind: str, words: str) -> None:
    table = compared(PLAN, changed(hospitals(), "site2", field, new, share))
    listed = found(table, "clash", "differs")
    assert [(one, at) for one, at, _, _ in listed] == [(field, "site2")] * len(listed)
    assert any(one == kind and words in sentence for _, _, one, sentence in listed), listed


@pytest.mark.parametrize("least", [1, 10])
def test_hospitals_drawn_alike_raise_nothing(least: int) -> None:
    table = compared(plan(least=least), hospitals(6))
    assert found(table, "clash", "differs", "cannot_say") == []
    assert table["verdict"] == "note"  # no hospital gave a label card


def test_a_hospital_of_older_patients_differs_and_does_not_clash() -> None:
    table = compared(PLAN, changed(hospitals(), "site0", "age", times(1, 9)))
    assert [kind for _, _, kind, _ in found(table, "differs")] == ["place"]
    assert found(table, "clash") == []


def test_of_two_hospitals_both_are_named_since_nobody_knows_which_is_right() -> None:
    table = compared(PLAN, changed(hospitals(2), "site0", "age", times(12)))
    assert sorted(at for _, at, _, _ in found(table, "clash")) == ["site0", "site1"]


def test_too_few_patients_is_no_verdict() -> None:
    given = hospitals()
    table = compared(PLAN, {**given, "site0": given["site0"][:7]})
    fields = {field["field"]: field["sites"]["site0"]["verdict"] for field in table["fields"]}
    assert set(fields.values()) == {"cannot_say"}
    assert table["fields"][0]["sites"]["site0"]["patients"] == {}


def test_a_few_patients_with_a_value_far_off_are_found_without_the_value() -> None:
    given = hospitals()
    rows = [{**row, "age": "119"} if place < 6 else row for place, row in enumerate(given["site1"])]
    (one,) = found(compared(PLAN, {**given, "site1": rows}), "clash", "differs")
    assert one[:3] == ("age", "site1", "spike") and "119" not in one[3] and "Fewer than 10" in one[3]


def skewed(seed: int, count: int = 300) -> list[Row]:
    """Return made-up patients with values as laboratories have them: most low, some very high."""
    rng = np.random.default_rng(seed)
    return [
        {"crp": f"{min(max(np.exp(rng.normal(1.4, 1.4)), 0.3), 499):.1f}", "stay": f"{np.exp(rng.normal(1.6, 0.8)):.0f}"}
        for _ in range(count)
    ]


SKEWED = {
    "crp": '{ type = "number", unit = "mg/L", range = [0, 500], outside = "keep" }',
    "stay": '{ type = "number", unit = "d", range = [0, 365], outside = "keep" }',
}


@pytest.mark.parametrize("field", list(SKEWED))
@pytest.mark.parametrize("marker", ["0", "-1"])
def test_a_marker_at_the_end_of_a_skewed_number_is_found(field: str, marker: str) -> None:
    given = {f"site{number}": skewed(number) for number in range(4)}
    table = compared(plan(SKEWED, label=""), changed(given, "site2", field, lambda value: marker, 0.15))
    assert ("spike", "site2", field) in {(kind, at, one) for one, at, kind, _ in found(table, "clash", "differs")}
    assert {at for _, at, _, _ in found(table, "clash", "differs")} == {"site2"}
    assert found(compared(plan(SKEWED, label=""), given), "clash", "differs") == []


def test_skewed_numbers_of_hospitals_drawn_alike_raise_nothing() -> None:
    raised = []
    for seed in range(8):
        sizes = np.random.default_rng(seed).integers(40, 400, 6)
        given = {f"site{number}": skewed(100 * seed + number, int(size)) for number, size in enumerate(sizes)}
        raised += found(compared(plan(SKEWED, label=""), given), "clash", "differs")
    assert raised == []


def test_a_substance_is_suspected_only_where_the_field_speaks_of_it() -> None:
    says = [[way.says for way in ways(name, "mg/L")] for name in ("crp", "glucose_fasting", "environment")]
    assert ["of glucose" in " ".join(one) for one in says] == [False, True, False]
    assert not any(" of iron" in one or " of cholesterol" in one for listed in says for one in listed)


def test_two_shifted_dates_and_a_change_on_the_way() -> None:
    fields = {name: FIELDS[name] for name in ("age", "ill", "sex")}
    timed, rng = plan(fields, timed=True), np.random.default_rng(3)
    given = {
        site: [{**{name: row[name] for name in fields}, "seen": f"20{rng.integers(10, 14)}-0{rng.integers(1, 9)}-11"} for row in listed]
        for site, listed in hospitals().items()
    }
    assert found(compared(timed, given), "clash", "differs") == []
    early = {**given, "site0": [{**row, "seen": f"19{row['seen'][2:]}"} for row in given["site0"]]}
    (one,) = found(compared(timed, early), "clash")
    assert one[:3] == ("seen", "site0", "dates") and "100 years too early" in one[3]
    later = [{**row, "age": f"{float(row['age']) + 30:g}"} if row["seen"] >= "2012" else row for row in given["site3"]]
    kinds = {(field, at, kind) for field, at, kind, _ in found(compared(timed, {**given, "site3": later}), "clash", "differs")}
    assert ("age", "site3", "drift") in kinds and {at for _, at, _ in kinds} == {"site3"}


def test_rows_exported_twice_are_found() -> None:
    given = hospitals()
    again = [*given["site1"], *given["site1"][:40]]
    table = compared(PLAN, {**given, "site1": again})
    assert [one["kind"] for one in table["hospitals"]["site1"]["findings"] if one["grade"] == "differs"] == ["repeats"]


def test_label_cards_are_compared() -> None:
    cards = {
        site: {"label_card": {"source": "discharge diagnosis", "coding": "ICD-10-GM", "version": "2024", "agreement": 0.8, "readers": 2}}
        for site in ("site0", "site1", "site2")
    }
    cards["site2"]["label_card"] = {**cards["site2"]["label_card"], "version": "2011", "agreement": 0.3}
    table = compared(PLAN, hospitals(), **cards)
    grades = {site: [(one["kind"], one["grade"]) for one in told["findings"]] for site, told in table["hospitals"].items()}
    assert grades["site0"] == grades["site1"] == []
    assert grades["site2"] == [("card", "differs"), ("card", "note")]
    assert grades["site3"] == [("no_card", "note")]
    assert table["hospitals"]["site2"]["card"]["version"] == "2011"


def test_a_code_that_no_local_code_leads_to_is_named() -> None:
    given = hospitals()
    given["site0"] = [{**row, "ward": {"a": "one", "b": "two", "c": "two"}[row["ward"]]} for row in given["site0"]]
    table = compared(PLAN, given, site0={"map": {"ward": {"codes": {"one": "a", "two": "b"}}}})
    assert ("ward", "site0", "unmapped") in {one[:3] for one in found(table, "differs")}
    ward = next(one for one in table["fields"] if one["field"] == "ward")
    assert ward["sites"]["site0"]["mapped"] == {"a": 1, "b": 1, "c": 0}
