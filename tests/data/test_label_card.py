"""A label card is read from the site file, travels as bytes beside a preflight's values, and enters no other study's snapshot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learning.preflight.hospitals import dataset, plan, rows
from tests.support import protocol
from wardround.data.notes import LENGTHS, text_of
from wardround.data.site_file import load_site
from wardround.data.snapshot import read_snapshot, write_snapshot
from wardround.data.substances import by_substance
from wardround.data.units import alike
from wardround.study.errors import ProtocolError

SITE = 'name = "north"\n[source]\nkind = "table"\npath = "rows.csv"\n[label_card]\n'


def test_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE + 'source = "two radiologists"\ncoding = "RadLex"\nagreement = 0.7\nreaders = 2\n')
    card = load_site(tmp_path / "site.toml").label_card
    assert card is not None and (card.source, card.coding, card.version, card.agreement, card.readers) == (
        "two radiologists",
        "RadLex",
        "",
        0.7,
        2,
    )


@pytest.mark.parametrize("wrong", ['sauce = "x"', "agreement = 3", 'source = ""', f'source = "{"x" * 61}"'])
def test_a_wrong_one_is_refused(tmp_path: Path, wrong: str) -> None:
    source = "" if wrong.startswith("source") else 'source = "x"\n'
    (tmp_path / "site.toml").write_text(SITE + source + wrong + "\n")
    with pytest.raises(ProtocolError, match="label_card"):
        load_site(tmp_path / "site.toml")


@settings(max_examples=30)
@given(st.text(alphabet=st.characters(categories=["L", "N", "P"]), min_size=1, max_size=60))
def test_a_text_comes_back_as_far_as_there_is_room(text: str) -> None:
    data = dataset(plan(), "north", rows(1, 12), label_card={"source": text})
    raw = data.notes["card/source"]
    shown = text_of(raw)
    assert len(raw) == LENGTHS["source"] and text.startswith(shown)
    assert shown == text or len(text.encode()) > LENGTHS["source"]


def test_what_another_hospital_sent_holds_nothing_that_cannot_be_printed() -> None:
    assert text_of(np.array([72.0, 27.0, 91.0, 255.0, 300.0, np.nan, 105.0])) == "H[i"


def test_notes_are_kept_in_the_snapshot_and_are_no_part_of_another_study(tmp_path: Path) -> None:
    noted = dataset(plan(), "north", rows(1, 40), label_card={"source": "x"})
    kept, place = write_snapshot(noted, plan().contract, "table", tmp_path / "one")
    again = read_snapshot(place)
    assert set(again.notes) == set(noted.notes) and all(
        np.array_equal(again.notes[name], noted.notes[name], equal_nan=True) for name in noted.notes
    )
    assert kept.digest != write_snapshot(dataset(plan(), "north", rows(1, 40)), plan().contract, "table", tmp_path / "two")[0].digest
    assert all(field.outside != "keep" for field in protocol().contract.fields.values())


def test_units_of_one_quantity_and_substances() -> None:
    assert alike("degC")["[degF]"] == (5 / 9, -160 / 9) and "Cel" not in alike("degC")
    assert set(alike("mmHg")) >= {"kPa", "cm[H2O]"} and alike("no such unit") == {}
    factors = by_substance("mmol/L")
    assert factors["glucose"]["mg/dL"] == pytest.approx(1 / 18.0156) and by_substance("kg") == {}
    assert by_substance("mg/dL")["creatinine"]["umol/L"] == pytest.approx(1 / 88.4, rel=1e-3)
