"""A simulation that goes on with changed files takes in what the plan allows, with an entry, and refuses the rest."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines.test_newer_rows import SITE_FILE, other_a, table
from tests.support import PHASES, plan
from wardround.coordinator import events
from wardround.record.verify import verify
from wardround.simulation import simulate
from wardround.study.errors import DataError, StoreError
from wardround.study.protocol import Protocol

SITES = ("north", "south", "west")
Change = Callable[[list[dict[str, Any]]], None]


class Stopped(KeyboardInterrupt):
    """Stop a simulation as a person would."""


def agreed(data: str) -> Protocol:
    rounds = {"quorum": 3, "combine": "secure"} if data == "rolling" else {"quorum": 2}
    made = plan(data=data, rounds=rounds, phases=PHASES[:2], evaluation={"replicates": 0, "metrics": ["accuracy"], "compare": []})
    return Protocol.model_validate(made).complete()


def write(folder: Path, name: str, change: Change = lambda rows: None, listed: str = "") -> Path:
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    table(place, SITES.index(name), change)
    (place / "opt-out.txt").write_text(listed)
    (place / "site.toml").write_text(SITE_FILE.replace("NAME", name))
    return place / "site.toml"


def begun(folder: Path, data: str) -> list[Path]:
    """Run a study until its first training round has closed; return its site files."""
    sites = [write(folder, name) for name in SITES]

    def stop(event: events.Event) -> None:
        if isinstance(event, events.RoundClosed) and event.phase == "train":
            raise Stopped

    with pytest.raises(Stopped):
        simulate(agreed(data), sites, out=folder / "out", watch=stop)
    return sites


def entries(folder: Path, site: str, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "out" / "record" / "sites" / site / "entries.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["t"] == kind]


@pytest.mark.parametrize("data", ["frozen", pytest.param("rolling", marks=pytest.mark.slow)])
def test_who_opted_out_meanwhile_is_taken_out_and_the_record_says_when(tmp_path: Path, data: str) -> None:
    sites = begun(tmp_path, data)
    write(tmp_path, "south", listed="P-003\n004\nP 5\nP010\n")
    simulate(agreed(data), sites, out=tmp_path / "out")
    snapshots = entries(tmp_path, "south", "snapshot")
    assert [entry["why"] for entry in snapshots] == ["approval", "withdrawal"]
    on = [[one["snapshot"] for one in snapshots].index(entry["data"]) for entry in entries(tmp_path, "south", "egress")]
    assert on == sorted(on) and set(on) == {0, 1}
    assert {line.name: str(line.verdict) for line in verify(tmp_path / "out").lines if line.name in ("rows", "rounds", "messages")} == {
        "rows": "PASS",
        "rounds": "PASS",
        "messages": "PASS",
    }
    assert len(entries(tmp_path, "north", "snapshot")) == 1
    assert len([path for path in (tmp_path / "out" / "snapshots" / "south").iterdir() if path.is_dir()]) == 1


@pytest.mark.slow
def test_newer_rows_go_in_where_the_plan_says_rolling_and_nowhere_else(tmp_path: Path) -> None:
    for data in ("rolling", "frozen"):
        folder = tmp_path / data
        sites = begun(folder, data)
        write(folder, "north", other_a(range(15)))
        if data == "frozen":
            with pytest.raises(StoreError) as caught:
                simulate(agreed(data), sites, out=folder / "out")
            assert "Sites or their data are others than this folder was started with. north: 15 rows of 15 patients changed" in str(
                caught.value
            )
            write(folder, "north")
            simulate(agreed(data), sites, out=folder / "out")
            assert [entry["why"] for entry in entries(folder, "north", "snapshot")] == ["approval"]
        else:
            simulate(agreed(data), sites, out=folder / "out")
            assert [(entry["why"], entry["changed"]) for entry in entries(folder, "north", "snapshot")] == [
                ("approval", "<10"),
                ("rolling", "10-49"),
            ]


def test_a_list_that_is_gone_when_a_simulation_goes_on_stops_it(tmp_path: Path) -> None:
    sites = begun(tmp_path, "frozen")
    (tmp_path / "north" / "opt-out.txt").unlink()
    with pytest.raises(DataError, match="is not there"):
        simulate(agreed("frozen"), sites, out=tmp_path / "out")
    with (tmp_path / "north" / "opt-out.txt").open("w", newline="") as file:
        csv.writer(file).writerows([["P001"]])
    simulate(agreed("frozen"), sites, out=tmp_path / "out")
    assert [entry["why"] for entry in entries(tmp_path, "north", "snapshot")] == ["approval", "withdrawal"]
