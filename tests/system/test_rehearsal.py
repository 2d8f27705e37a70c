"""A rehearsal runs a whole study on made-up rows, needs no approval, opens no patient's record, and names what stands in the way."""

from __future__ import annotations

import datetime
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.parts.rehearsals import FAULTS, Played, play
from tests.engines.federated import POLICY, Federation, federation, open_protocol
from tests.support import rows
from wardround import hospital, rehearsing
from wardround.data.snapshot import read_snapshot, write_snapshot
from wardround.rehearsal import rehearse_between, rehearse_here
from wardround.simulation import load_study
from wardround.site.folder import SiteFolder
from wardround.site.gate import Brought
from wardround.study.canonical import digest_json
from wardround.study.errors import PolicyRefused, StoreError
from wardround.study.protocol.rehearsed import rehearsal_of
from wardround.study.streams import Stream
from wardround.study.task import State, Task

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "three-hospitals"
HOSPITALS = ("east", "north", "south")
MOST_SECONDS = 60.0


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Rehearse the example; each hospital has another fault."""
    return play(tmp_path_factory.mktemp("faulty"), EXAMPLE / "study.toml", dict(zip(HOSPITALS, FAULTS, strict=True)), 25, EXAMPLE)


@pytest.mark.slow
def test_a_blocked_site_is_named_here_and_there(faulty: Played) -> None:
    assert "Nothing is heard of it" in faulty.found("east")
    assert faulty.codes["east"] == 1 and "refuses the connection" in faulty.said["east"]
    assert "Ask the firewall team for: outbound TCP" in faulty.said["east"]
    assert "could not be told" in faulty.said["east"]


@pytest.mark.slow
def test_a_wrong_clock_is_named_here_and_there(faulty: Played) -> None:
    assert re.search(r"this machine's clock is (59|60)\d s ahead of the coordinator's", faulty.found("north")), faulty.found("north")
    assert faulty.codes["north"] == 1 and "Set this machine's clock" in faulty.said["north"]


@pytest.mark.slow
def test_a_full_disk_is_named_here_and_there(faulty: Played) -> None:
    assert "this machine's disk has no room for the" in faulty.found("south")
    assert faulty.codes["south"] == 1 and "Make room in this folder." in faulty.said["south"]


@pytest.mark.slow
def test_with_too_few_sites_the_answer_is_no_within_a_minute(faulty: Played) -> None:
    assert faulty.code == 1 and faulty.seconds < MOST_SECONDS
    assert not faulty.document["ok"] and faulty.document["rounds"] == 0
    assert any("0 of 3 sites came to the rehearsal in time" in one["what"] for one in faulty.document["faults"])


@pytest.mark.slow
def test_the_example_is_rehearsed_within_a_minute(tmp_path: Path) -> None:
    played = play(tmp_path, EXAMPLE / "study.toml", dict.fromkeys(HOSPITALS, ""), 45, EXAMPLE)
    assert played.code == 0 and played.document["ok"], (played.document["faults"], played.said)
    assert played.seconds < MOST_SECONDS
    assert played.document["sites"] == dict.fromkeys(HOSPITALS, "answered")
    assert played.document["rounds"] >= 5 and played.document["synthetic"]
    for name in HOSPITALS:
        assert played.codes[name] == 0, played.said[name]
        assert not (tmp_path / name / "site.sqlite").exists(), "the study itself has asked nothing and been approved by nobody"
        assert not (tmp_path / name / "site.toml").exists(), "no source of patients is named anywhere"
    assert not (tmp_path / "centre" / "hub" / "jetstream").exists(), "the study begins with an empty hub"
    assert not (tmp_path / "centre" / "rehearsal" / "hub").exists()


def test_on_one_machine_no_row_of_a_site_is_read(tmp_path: Path) -> None:
    files = []
    for name in HOSPITALS:
        files.append(tmp_path / f"{name}.toml")
        files[-1].write_text(f'name = "{name}"\n[source]\nkind = "table"\npath = "is-not-there.csv"\n')
    made = rehearse_here(load_study(EXAMPLE.parent / "statistics" / "study.toml").protocol, files)
    assert made.whole and made.sites == dict.fromkeys(HOSPITALS, "answered")
    assert made.document()["bytes_up"] > 0 and made.document()["synthetic"]


def test_a_rehearsal_is_another_plan_with_its_own_digest() -> None:
    agreed = open_protocol()
    plan = rehearsal_of(agreed)
    assert plan.digest != agreed.digest and rehearsal_of(agreed).digest == plan.digest
    assert "rehearsal" not in json.loads(agreed.canonical) and json.loads(plan.canonical)["rehearsal"] is True
    assert max(phase.options.get("rounds", 1) for phase in plan.phases) <= 3
    assert plan.initial == agreed.initial


# What the gate enforces


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Serve a study, have one hospital join it, and end."""
    with federation(tmp_path_factory.mktemp("made"), open_protocol(rounds={"quorum": 1}), {"site0": rows(0)}, run=False) as found:
        pass
    return found


def test_a_gate_answers_a_rehearsal_with_made_up_rows_only(made: Federation, tmp_path: Path) -> None:
    """A hospital whose rehearsal's folder was given patients' rows and rules that allow them: nothing leaves."""
    place = tmp_path / "site0"
    shutil.copytree(made.gates["site0"].folder.path, place, symlinks=True)
    folder = rehearsing.set_up(SiteFolder(place))
    assert folder.brought.source == "synthetic" and folder.protocol.rehearsal
    (folder.path / "policy.toml").write_text(POLICY)
    patients = write_snapshot(rows(0), folder.protocol.contract, "table", folder.snapshots)[0]
    folder.bring(Brought(patients.digest, patients.patients, len(patients.rows("train")), "table"))
    hospital.sign(folder, "somebody")
    fresh = SiteFolder(folder.path)
    with fresh.database() as connection:
        gate = fresh.gate(connection, frozenset({fresh.protocol.digest}), fresh.rules)
        task = _task(fresh)
        with pytest.raises(PolicyRefused, match="a rehearsal is answered with made-up rows only"):
            gate.policy.permit(fresh.protocol, task, _now())
        open_ = replace(gate.policy, source="synthetic", rules=fresh.rules.model_copy(update={"sources": ("*",)}))  # type: ignore[call-arg]
        open_.permit(fresh.protocol, task, _now())


def test_the_rules_of_a_rehearsal_allow_no_other_source(made: Federation, tmp_path: Path) -> None:
    place = tmp_path / "site0"
    shutil.copytree(made.gates["site0"].folder.path, place, symlinks=True)
    folder = rehearsing.set_up(SiteFolder(place))
    patients = write_snapshot(rows(0), folder.protocol.contract, "table", folder.snapshots)[0]
    folder.bring(Brought(patients.digest, patients.patients, len(patients.rows("train")), "table"))
    with pytest.raises(PolicyRefused, match="rule sources: rows from a table source may not be used"):
        hospital.sign(SiteFolder(folder.path), "somebody")


def test_a_rehearsal_leaves_the_hospitals_own_study_as_it_was(made: Federation, tmp_path: Path) -> None:
    place = tmp_path / "site0"
    shutil.copytree(made.gates["site0"].folder.path, place, symlinks=True)
    kept = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    folder = rehearsing.set_up(SiteFolder(place))
    assert {name: (place / name).read_bytes() for name in kept} == kept
    study, rehearsed = read_snapshot(SiteFolder(place).snapshot), read_snapshot(folder.snapshot)
    assert study.digest != rehearsed.digest
    assert rehearsing.set_up(SiteFolder(place)).brought == folder.brought, "the same rows again"


def test_a_task_of_the_rehearsal_is_none_of_the_study(made: Federation) -> None:
    folder = made.gates["site0"].folder
    with folder.database() as connection:
        gate = folder.gate(connection, frozenset({folder.protocol.digest}), folder.rules)
        with pytest.raises(PolicyRefused, match="this site has not approved this protocol"):
            gate.policy.permit(rehearsal_of(folder.protocol), _task(folder), _now())


def test_a_study_that_is_served_is_not_rehearsed(tmp_path: Path) -> None:
    with federation(tmp_path, open_protocol(), {}, run=False) as served, pytest.raises(StoreError, match="The study is being served"):
        rehearse_between(served.centre, 1)


def test_a_disk_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    assert rehearsing.room(tmp_path, 2**20) == ""
    assert rehearsing.room(tmp_path, 2**60) == "the disk has less than that free"
    assert list(tmp_path.iterdir()) == []


def _now() -> datetime.datetime:
    return datetime.datetime.now().astimezone()


def _task(folder: SiteFolder) -> Task:
    """Return the first task of the plan in a hospital's folder."""
    protocol = folder.protocol
    first = protocol.algorithms[0]
    state = first.begin(protocol, {}, Stream.public(0))
    assert isinstance(state, State)
    ask, site = first.ask(state), folder.membership.site
    turn, roster = (protocol.study, protocol.digest, first.phase, 0, 0), digest_json([site])
    return Task(*turn, "answer", site, 60.0, ask.digest, roster, body=ask, layout=ask.layout_digest)
