"""The page of a preflight says what clashes first, draws each field, and escapes what hospitals wrote."""

from __future__ import annotations

from typing import Any

import pytest

from tests.learning.preflight.hospitals import compared, hospitals, plan
from wardround.pages.preflight import answer, odd, render


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    given = hospitals(3)
    given["site1"] = [{**row, "temperature": f"{1.8 * float(row['temperature']) + 32:.1f}"} for row in given["site1"]]
    card = {"label_card": {"source": "<b>round</b>", "coding": "own list"}}
    table = {"kind": "preflight", "sites": sorted(given), "of_sites": 3, **compared(plan(), given, site0=card)}
    return {"kind": "statistics", "title": "Wards", "study": "wards", "statistics": {"preflight": table}, "sites": {}, "simulation": True}


def test_the_gravest_comes_first_with_its_remedy(result: dict[str, Any]) -> None:
    page = render(result, None, {})
    assert answer(result).startswith("1 clash to mend before the study begins, in 6 fields of 3 hospitals;")
    first = odd(result["statistics"]["preflight"])[0]
    assert (first["field"], first["site"], first["grade"]) == ("temperature", "site1", "clash")
    assert first["sentence"] in page and "[degF]" in page and "unit = &#34;[degF]&#34;" in page
    assert page.index("clash.") < page.index("Which field at which hospital?")


def test_every_field_and_hospital_is_drawn(result: dict[str, Any]) -> None:
    page = render(result, None, {})
    for name in ("age, a", "temperature, Cel", "glucose, mg/dL", "sex", "ward", "ill"):
        assert f"<h3>{name}</h3>" in page
    assert page.count('<svg class="plot') == 6 * 3
    assert "<script" not in page and "http://" not in page and "https://" not in page


def test_what_hospitals_wrote_is_text(result: dict[str, Any]) -> None:
    page = render(result, None, {})
    assert "&lt;b&gt;round&lt;/b&gt;" in page and "<b>round</b>" not in page


def test_synthetic_rows_are_said_first(result: dict[str, Any]) -> None:
    assert answer({**result, "synthetic": True}).startswith("On synthetic data: ")
    assert "Synthetic data" in render({**result, "synthetic": True}, None, {})
