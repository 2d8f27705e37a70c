from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.pages.suppress import PARTS, cell, few_in_all, few_tested, patients_in_all, patients_of, share_of, small

COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS, COUNTS)
def test_no_small_count_is_shown_nor_found_by_subtraction(train: int, validation: int, test: int) -> None:
    parts = dict(zip(PARTS, (train, validation, test), strict=True))
    shown = patients_of({"patients": train + validation + test, **parts})
    for name, count in {**parts, "patients": train + validation + test}.items():
        if 0 < count < 10:
            assert not shown[name].isdigit()
    unknown = [name for name in PARTS if not shown[name].isdigit()]
    assert len(unknown) != 1 or not shown["patients"].isdigit() or sum(count > 0 for count in parts.values()) == 1


@given(st.integers(1, 400), st.floats(0, 1))
def test_a_share_never_tells_of_fewer_than_ten_of_a_class(examples: int, share: float) -> None:
    positives = round(share * examples)
    shown = share_of({"patients": examples, "examples": examples, "positive_share": positives / examples})
    assert shown == "withheld" or min(positives, examples - positives) >= 10


@pytest.mark.parametrize(
    ("count", "shown"), [(10, "10"), (9, "<10"), (1, "<10"), (0, "0"), ("<10", "<10"), (None, "\N{EN DASH}"), ("ten", "\N{EN DASH}")]
)
def test_cells(count: Any, shown: str) -> None:
    assert cell(count) == shown


def test_a_band_is_shown_and_spares_the_other_parts() -> None:
    shown = patients_of({"patients": 61, "train": 40, "validation": "<10", "test": "10-49"})
    assert shown == {"patients": "61", "train": "40", "validation": "<10", "test": "10\N{EN DASH}49"}
    assert cell("1000-1999") == "1\N{NARROW NO-BREAK SPACE}000\N{EN DASH}1\N{NARROW NO-BREAK SPACE}999"


def test_a_hidden_total_hides_its_parts() -> None:
    assert patients_of({"patients": 24, "train": 12, "validation": 2, "test": 10})["test"] == "withheld"
    assert set(patients_of({"patients": 8, "train": 8, "validation": 0, "test": 0}).values()) == {"<10", "withheld"}


def test_few_test_patients_are_few_whatever_the_site_has() -> None:
    assert few_tested({"patients": 40, "test": 9}) and few_tested({"patients": "<10"}) and not few_tested({"patients": 40, "test": 10})
    assert not small(True is False)


@pytest.mark.parametrize(
    ("tests", "few"),
    [(["<10"], True), (["<10", 0], True), ([4, 5], True), (["<10", "<10"], False), ([4, 6], False), (["10-49"], False), ([], False)],
)
def test_all_sites_together_may_be_too_few_as_well(tests: list[Any], few: bool) -> None:
    assert few_in_all({str(index): {"patients": 60, "test": test} for index, test in enumerate(tests)}) is few


def test_the_total_leaves_small_sites_out_and_says_so() -> None:
    sites: dict[str, dict[str, Any]] = {"a": {"patients": 40}, "b": {"patients": "<10"}, "c": {"patients": 3}}
    assert patients_in_all(sites) == ("40", "and <10 at 2 sites")
    assert patients_in_all({"a": {"patients": None}, "b": {"patients": "<10"}}) == ("\N{EN DASH}", "and <10 at 1 site, not told by 1 site")
    assert patients_in_all({}) == ("\N{EN DASH}", "")


def test_bands_are_added_at_both_ends() -> None:
    sites: dict[str, dict[str, Any]] = {"a": {"patients": "500-999"}, "b": {"patients": "200-499"}, "c": {"patients": None}}
    assert patients_in_all(sites) == ("700\N{EN DASH}1\N{NARROW NO-BREAK SPACE}498", "not told by 1 site")
    assert patients_in_all({"a": {"patients": "<10"}, "b": {"patients": "50-99"}}) == ("50\N{EN DASH}99", "and <10 at 1 site")
