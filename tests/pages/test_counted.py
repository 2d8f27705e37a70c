from __future__ import annotations

from typing import Any

import pytest

from tests.pages.fixtures import five_sites, no_better_than_guessing, several_rows
from wardround.pages import counted


def test_units() -> None:
    assert [counted.unit(one) for one in (five_sites(), no_better_than_guessing(), {})] == ["patients", "examples", "patients"]
    assert [counted.tested(one) for one in (five_sites(), no_better_than_guessing())] == ["test patients", "test examples"]


def test_rows_and_patients_are_told_apart() -> None:
    assert counted.tested(several_rows()) == "rows of the 90 test patients" and counted.rows(several_rows()) == 1080
    assert not counted.several_rows(five_sites()) and not counted.several_rows({**several_rows(), "unit": "image"})


@pytest.mark.parametrize("hidden", ["<10", "10-49", None])
def test_a_hidden_count_is_not_added_up(hidden: Any) -> None:
    result = several_rows()
    result["sites"]["north"]["test"] = result["sites"]["north"]["examples"] = hidden
    assert counted.tested(result) == "rows of the test patients" and counted.rows(result) is None
