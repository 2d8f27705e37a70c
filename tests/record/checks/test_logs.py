"""Each log by itself: schema, numbers, owner and key."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.record.player import Player, failing, key
from wardround.record import note
from wardround.record.verify import verify


def test_an_entry_in_the_wrong_log_or_for_another_site_is_named(tmp_path: Path) -> None:
    player = Player()
    player.play(tmp_path)
    player.add("aarau", "stopped", reason="x")
    assert "does not belong in a site log" in failing(verify(player.export(tmp_path)))["entries"]
    other = Player()
    other.play(tmp_path / "b")
    other.add("aarau", "adopted", site="basel", phase="train", round=1, attempt=0, receipt="ab" * 32)
    assert "speaks for another site" in failing(verify(other.export(tmp_path / "b")))["entries"]


def test_entries_of_two_studies_are_named(tmp_path: Path) -> None:
    player = Player()
    player.logs["aarau"].study = "another"
    assert "2 different studies" in failing(verify(player.play(tmp_path)))["entries"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"site": "chur"}, "the log of chur is missing"),
        ({"vkey": note.Signer("study.example/played/basel", key("x")).vkey}, "another key than the one it joined with"),
        ({"vkey": Player().signer("aarau").vkey}, "joins twice"),
    ],
)
def test_joins_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    def twist(log: str, type: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**fields, **change}] if type == "join" and fields["site"] == "basel" else [fields]

    assert says in failing(verify(Player(twist=twist).play(tmp_path)))["keys"]


def test_a_log_without_a_join_and_a_join_without_a_log_are_named(tmp_path: Path) -> None:
    directory = Player().play(tmp_path)
    shutil.copytree(directory / "record/sites/basel", directory / "record/sites/chur")
    assert "chur has a log but never joined" in failing(verify(directory))["keys"]
    shutil.rmtree(directory / "record/sites/basel")
    assert "the log of basel is missing" in failing(verify(directory))["keys"]


def test_a_study_log_under_a_key_that_is_not_the_coordinators_is_named(tmp_path: Path) -> None:
    def twist(log: str, type: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**fields, "coordinator": Player().signer("aarau").vkey}] if type == "protocol" else [fields]

    assert "than the coordinator's" in failing(verify(Player(twist=twist).play(tmp_path)))["keys"]
