"""At one hospital whose study has begun: prepare again, withdraw, changes; what the commands say, and what is kept and removed."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cli.terminal import Terminal
from tests.engines.federated import POLICY, open_protocol
from tests.engines.test_newer_rows import PATIENTS, SECURE, SITE_FILE, other_a, table
from tests.site.test_site_folder import MEMBER
from tests.study.test_lasting import COUNTS
from wardround import bringing, hospital
from wardround.data.snapshot import read_snapshot
from wardround.data.who import keep_who
from wardround.record.entries import SCHEMAS
from wardround.site import approval
from wardround.site.folder import MEMBERSHIP, PROTOCOL, SiteFolder, write_bytes, write_text
from wardround.site.gate import Site
from wardround.site.journal import Journal
from wardround.site.renewal import Renewal, finish, held, pending
from wardround.study.errors import DataError, StoreError, VerificationError
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.task import Receipt, Task, Update

FROZEN, ROLLING = open_protocol(), open_protocol(data="rolling", **SECURE)
COUNTED = read_protocol(COUNTS.replace('data = "rolling"', "").replace("age = ", "a = ").replace("[0, 120]", "[-5, 5]"), "study.toml")
LIMITS = '[statistics]\nledger = "../ledger"\nstudies = 5\ncounts = 5000\nsmallest_count = 10\n'
ZERO = f"sha256:{'0' * 64}"


@pytest.fixture
def wardround(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


def hospital_at(path: Path, agreed: Protocol = FROZEN, begun: bool = True, listed: str = "") -> SiteFolder:
    """Return a hospital that has joined, prepared and approved, and has answered if `begun`; no hub is needed for that."""
    path.mkdir(parents=True)
    member = replace(MEMBER, site=path.name, study=agreed.study, protocol=agreed.digest)
    write_text(path / MEMBERSHIP, json.dumps(asdict(member)))
    write_bytes(path / PROTOCOL, agreed.canonical)
    (path / "policy.toml").write_text(POLICY + LIMITS)
    (path / "site.toml").write_text(SITE_FILE.replace("NAME", path.name))
    (path / "opt-out.txt").write_text(listed)
    table(path, 0)
    folder = SiteFolder(path)
    folder.make_keys()
    bringing.prepare(folder)
    hospital.approve(folder, "officer")
    if begun:
        answered(folder)
    return folder


def answered(folder: SiteFolder) -> None:
    """Note that an answer to the first round of the first phase has left."""
    with closing(folder.database()) as connection:
        gate = folder.gate(connection, frozenset(), None)
        phase = gate.protocol.algorithms[0].phase
        turn = {"phase": phase, "round": 0, "attempt": 0}
        common = {
            "stage": "answer",
            "kind": "sums",
            "task": ZERO,
            "layout": ZERO,
            "commit": ZERO,
            "bytes": 9,
            "to": "coordinator",
            "ask": ZERO,
        }
        about = {"examples": "<10", "bounds": {"bits": [64], "refused_over": "x"}, "privacy": {"mode": "none"}, "study_head": [0, "0" * 64]}
        gate.log.append("egress", site=gate.name, protocol=gate.protocol.digest, data=gate.data, **turn, **common, **about)
        receipt = Receipt("ab" * 32, 3, 4, "cd" * 32, ZERO, "ef" * 32)
        task = Task(gate.protocol.study, ZERO, phase, 0, 0, "answer", gate.name, 60, ZERO, "")
        gate.state.answer(task, Update("", gate.name, b"", {}, receipt, ""), None)
        connection.commit()


def next_task(folder: SiteFolder) -> Task:
    phase = folder.protocol.algorithms[-1].phase
    return Task(folder.protocol.study, folder.protocol.digest, phase, 1, 0, "answer", folder.path.name, 60, ZERO, "")


def renewed(folder: SiteFolder) -> Site:
    """Have the gate take what waits, as the first task of a round does."""
    with closing(folder.database()) as connection:
        journal = Journal(connection)
        gate = folder.gate(connection, frozenset(), folder.rules)
        connection.commit()
        return Renewal(folder, connection, journal, folder.rules).renewed(gate, next_task(folder))


def entries(folder: SiteFolder, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in hospital.entries(folder) if entry["t"] == kind]


def on_hold(folder: SiteFolder) -> str:
    with closing(folder.database()) as connection:
        found = held(Journal(connection))
        return "" if found is None else found.here


def test_the_commands_say_what_came_of_it_in_counts_that_show_nobody(wardround: Terminal, tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    before = folder.brought.snapshot
    said = wardround("site", "prepare", "--dir", folder.path)
    assert said.code == 0 and f"The snapshot stays as it is, {before}." in said.out.replace("\n", " ")
    table(folder.path, 0, other_a(range(2)))
    said = wardround("site", "prepare", "--dir", folder.path)
    assert said.code == 1 and "<10 rows of <10 patients changed since they were approved" in " ".join(said.err.split())
    assert "wardround site changes" in said.err
    said = wardround("site", "changes", "--dir", folder.path)
    assert "row 1 of the table: a" in said.out and "row 2 of the table: a" in said.out and "2 rows of 2 patients changed" in said.out
    found = wardround("site", "changes", "--dir", folder.path, "--json").document
    assert {row["row"] for row in found["rows"]} == {1, 2}
    assert "P00" not in json.dumps(found) and "4.321" not in json.dumps(found)
    assert "Rows changed since they were approved" in wardround("site", "status", "--dir", folder.path).out
    assert wardround("site", "prepare", "--keep", "--dir", folder.path).code == 0
    assert "approved (officer)" in wardround("site", "status", "--dir", folder.path).out
    (folder.path / "opt-out.txt").write_text("P000\np 1\n")
    found = wardround("site", "withdraw", "--dir", folder.path, "--json").document
    assert (found["newer"], found["withdrew"], found["patients"]) == (True, "<10", "50-99")
    renewed(folder)
    log = wardround("site", "log", "--dir", folder.path).out
    assert "found <10 rows of <10 patients changed, and stopped" in log and "and went on with those that were approved" in log
    assert "brought a snapshot of 50-99 patients from a table source, since patients withdrew" in log
    assert wardround("site", "withdraw", "--dir", folder.path).code == 0


def test_before_anything_has_left_preparing_is_as_it_was(wardround: Terminal, tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", begun=False)
    said = wardround("site", "changes", "--dir", folder.path)
    assert said.code == 2 and "no rows were compared yet" in said.err
    assert wardround("site", "withdraw", "--dir", folder.path).code == 2
    table(folder.path, 0, other_a(range(9)))
    assert wardround("site", "prepare", "--dir", folder.path).code == 0
    assert "changed after the approval" in wardround("site", "status", "--dir", folder.path).out


def test_a_site_file_without_a_list_has_nobody_to_withdraw(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    (folder.path / "site.toml").write_text(SITE_FILE.replace("NAME", "north").partition("[consent]")[0])
    with pytest.raises(StoreError, match="names no opt-out list"):
        bringing.withdraw(folder)


STEPS = st.tuples(
    st.sampled_from(["prepare", "withdraw"]), st.sets(st.integers(0, PATIENTS + 2), max_size=12), st.integers(0, 3), st.booleans()
)


@given(st.lists(STEPS, max_size=5), st.booleans())
@example([("prepare", set(), 1, False), ("withdraw", {PATIENTS}, 1, True)], True)
@example([("prepare", set(), 1, False), ("prepare", {PATIENTS, 3}, 1, True), ("withdraw", set(), 1, True)], True)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_who_was_on_a_list_once_is_in_no_later_snapshot(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, set[int], int, bool]], rolls: bool
) -> None:
    """Whatever the order of lists, commands, newcomers and rounds, also of those who are in a waiting snapshot only, and for good."""
    folder = hospital_at(tmp_path_factory.mktemp("any") / "north", ROLLING if rolls else FROZEN)
    patient_b = dict(enumerate([*_b_by_patient(folder), *(newcomer(one)["b"] for one in range(3))]))
    there, out = set(range(PATIENTS)), set[int]()
    for command, listed, newcomers, takes in steps:
        table(folder.path, 0, lambda found, many=newcomers: found.extend(newcomer(one) for one in range(many)))  # type: ignore[misc]
        (folder.path / "opt-out.txt").write_text("\n".join(f"p-{one}" for one in listed))
        {"prepare": bringing.prepare, "withdraw": bringing.withdraw}[command](folder)
        there |= set(range(PATIENTS, PATIENTS + newcomers)) if command == "prepare" else set()
        out |= listed & there
        if takes:
            renewed(folder)
            assert not values(folder) & {round(float(patient_b[one]), 5) for one in out}
    renewed(folder)
    assert not values(folder) & {round(float(patient_b[one]), 5) for one in out}
    assert {round(float(patient_b[one]), 5) for one in set(range(PATIENTS)) - out} <= values(folder), "nobody else is left out"
    assert on_hold(folder) == "" or not rolls


def newcomer(number: int) -> dict[str, Any]:
    """Return the row of a patient who was not in the table at first."""
    return {"MRN": f"P{PATIENTS + number:03d}", "a": "1.0", "b": f"{0.12345 + number}", "sex": "f", "ill": 1}


def values(folder: SiteFolder) -> set[float]:
    """Return the values of b in the snapshot in use, by which patients are known here."""
    return {round(float(one), 5) for one in read_snapshot(folder.snapshot).columns["b"]}


def _b_by_patient(folder: SiteFolder) -> list[float]:
    lines = (folder.path / "patients.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[2]) for line in lines]


def test_the_older_snapshot_and_its_pseudonyms_leave_the_disk(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    older = folder.brought.snapshot.removeprefix("sha256:")
    (folder.path / "opt-out.txt").write_text("P007\n")
    bringing.withdraw(folder)
    assert folder.brought.snapshot.endswith(older), "not before the gate takes the newer one"
    gate = renewed(folder)
    newer = folder.brought.snapshot.removeprefix("sha256:")
    assert {path.name.partition(".")[0] for path in folder.snapshots.iterdir()} == {newer} and newer != older
    assert gate.state.snapshot == folder.brought.snapshot and pending(folder) is None
    with closing(folder.database()) as connection:
        assert approval.approval(Journal(connection), folder.protocol.digest, folder.brought)["role"] == "officer"


def test_an_answer_that_waits_for_a_look_does_not_outlive_the_rows_it_was_worked_out_on(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    with closing(folder.database()) as connection:
        Journal(connection).hold(next_task(folder), {"w": np.ones(2)}, None)
        connection.commit()
    (folder.path / "opt-out.txt").write_text("P007\n")
    bringing.withdraw(folder)
    assert len(hospital.status(folder)["held"]) == 1, "not before the gate takes the newer rows"
    renewed(folder)
    assert hospital.status(folder)["held"] == []


def test_a_crash_before_the_files_follow_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hospital_at(tmp_path / "north")
    (folder.path / "opt-out.txt").write_text("P007\n")
    bringing.withdraw(folder)
    with monkeypatch.context() as patch:
        patch.setattr("wardround.site.renewal._follow", lambda folder, new: (_ for _ in ()).throw(OSError("cut")))
        with pytest.raises(OSError, match="cut"):
            renewed(folder)
    older = folder.brought
    with closing(folder.database()) as connection:
        finish(folder, Journal(connection))
    assert folder.brought.patients == older.patients - 1 and pending(folder) is None
    assert [entry["why"] for entry in entries(folder, "snapshot")] == ["approval", "withdrawal"]
    assert renewed(folder).state.snapshot == folder.brought.snapshot and len(entries(folder, "snapshot")) == 2


def test_a_withdrawal_holds_where_the_table_is_broken_or_gone(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    (folder.path / "opt-out.txt").write_text("P007\n")
    (folder.path / "patients.csv").write_text("MRN,a\nP001,1\n")
    with pytest.raises(DataError):
        bringing.prepare(folder)
    renewed(folder)
    assert folder.brought.patients == PATIENTS - 1
    (folder.path / "patients.csv").unlink()
    (folder.path / "opt-out.txt").write_text("P007\nP008\n")
    with pytest.raises(DataError, match="no such file"):
        bringing.prepare(folder)
    assert renewed(folder).examples <= folder.brought.patients == PATIENTS - 2


@pytest.mark.parametrize("gone", ["name", "list", "table"])
def test_who_opted_out_before_the_study_began_does_not_come_in_by_a_shorter_list(tmp_path: Path, gone: str) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING, listed="P003\nP 4\n")
    match gone:
        case "name":
            (folder.path / "opt-out.txt").write_text("P003\n")
        case "list":
            (folder.path / "opt-out.txt").write_text("")
        case "table":
            (folder.path / "site.toml").write_text(SITE_FILE.replace("NAME", "north").partition("[consent]")[0])
    table(folder.path, 0, other_a(range(30, 44)))
    bringing.prepare(folder)
    renewed(folder)
    assert folder.brought.patients == PATIENTS - 2 and len(entries(folder, "snapshot")) == 2


def test_pseudonyms_of_another_snapshot_are_not_taken_for_these(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    keep_who(np.zeros((3, 16), np.uint8), folder.snapshot)
    with pytest.raises(VerificationError, match="does not belong to this snapshot"):
        bringing.withdraw(folder)


def test_where_nobody_is_left_nothing_is_answered(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    (folder.path / "opt-out.txt").write_text("\n".join(f"P{number:03d}" for number in range(PATIENTS)))
    with pytest.raises(DataError, match="Too few patients are left"):
        bringing.withdraw(folder)
    assert "wardround site leave" in on_hold(folder) and pending(folder) is None


def test_a_withdrawal_after_counts_have_left_ends_a_study_of_counts(tmp_path: Path) -> None:
    for begun in (False, True):
        folder = hospital_at(tmp_path / str(begun) / "north", COUNTED, begun)
        (folder.path / "opt-out.txt").write_text("P007\n")
        (bringing.withdraw if begun else bringing.prepare)(folder)
        if begun:
            renewed(folder)
        assert bool(on_hold(folder)) is begun
        assert folder.brought.patients == PATIENTS - 1
    assert "would show who is in one only" in on_hold(folder)


def test_a_patient_may_not_move_to_another_part_by_a_newer_split(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    before = folder.brought
    split = '[split]\ncolumn = "sex"\ntrain = ["f"]\ntest = ["m"]\n'
    (folder.path / "site.toml").write_text(SITE_FILE.replace("NAME", "north").replace("[consent]", f"{split}[consent]"))
    (folder.path / "opt-out.txt").write_text("P007\n")
    with pytest.raises(DataError, match="stand in another part") as caught:
        bringing.prepare(folder)
    assert "is never trained on" in caught.value.remedy
    renewed(folder)
    assert folder.brought.patients == before.patients - 1, "the withdrawal holds all the same"


def test_without_pseudonyms_nothing_is_compared(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    folder.snapshot.with_name(f"{folder.snapshot.name}.who").unlink()
    with pytest.raises(VerificationError, match="is not known here"):
        bringing.prepare(folder)


def test_no_identifier_is_in_what_is_kept_logged_or_said(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING, listed="P003\n")
    (folder.path / "opt-out.txt").write_text("P003\nP017\nSTRANGER\n")
    table(folder.path, 0, other_a(range(30, 44)))
    bringing.prepare(folder)
    renewed(folder)
    mine = {"patients.csv", "opt-out.txt"}
    for path in folder.path.rglob("*"):
        if path.is_file() and path.name not in mine:
            data = path.read_bytes()
            assert not any(one in data for one in (b"P003", b"P017", b"P03", b"STRANGER", b"4.321")), path
    (first, second) = entries(folder, "snapshot")
    assert (first["withdrew"], second["withdrew"], second["changed"]) == ("<10", "<10", "10-49")
    assert all(entry["v"] == 2 for entry in (first, second)) and (2, "snapshot") in SCHEMAS


def test_a_damaged_file_of_what_waits_is_named(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    (folder.path / "pending.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        pending(folder)
