"""At a hospital whose study has begun: faults and detours by which a patient could come back, and rows that are not as they were."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.api.test_bringing import FROZEN, ROLLING, ZERO, answered, entries, hospital_at, next_task, on_hold, renewed
from tests.cli.terminal import Terminal
from tests.engines.test_newer_rows import PATIENTS, SITE_FILE, other_a, table
from wardround import bringing, hospital
from wardround.data.who import who_of
from wardround.site import approval
from wardround.site.folder import SiteFolder
from wardround.site.gate import Site
from wardround.site.journal import Journal
from wardround.site.renewal import Pending, Renewal, pending, put_pending
from wardround.site.results import told as told_results
from wardround.study.arrays import to_bytes
from wardround.study.errors import DataError, PolicyRefused, StoreError
from wardround.study.task import Refusal


@pytest.fixture
def wardround(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


def test_a_faulty_export_that_was_put_back_waits_no_more(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    first = folder.brought
    table(folder.path, 0, other_a(range(20)))
    assert bringing.prepare(folder).newer
    table(folder.path, 0)
    assert not bringing.prepare(folder).newer and pending(folder) is None
    renewed(folder)
    assert folder.brought == first


def test_the_gate_takes_no_waiting_snapshot_with_somebody_who_withdrew_nor_one_that_is_gone(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    table(folder.path, 0, other_a(range(20)))
    bringing.prepare(folder)
    waits = folder.snapshots / pending(folder).brought.snapshot.removeprefix("sha256:")  # type: ignore[union-attr]
    (folder.path / "withdrawn").write_text(f"{who_of(waits)[3].tobytes().hex()}\n")
    with pytest.raises(StoreError, match="who withdrew"):
        renewed(folder)
    (folder.path / "withdrawn").write_text("")
    waits.rename(waits.with_name("elsewhere"))
    with pytest.raises(StoreError, match="not whole"):
        renewed(folder)
    assert len(entries(folder, "snapshot")) == 1 and folder.snapshot.exists()


def test_the_gate_takes_nothing_while_the_loader_lays_a_snapshot_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    table(folder.path, 0, other_a(range(12)))
    bringing.prepare(folder)
    (folder.path / "opt-out.txt").write_text("P007\n")
    put, busy = put_pending, []

    def late(folder: SiteFolder, what: Pending) -> None:
        with pytest.raises(StoreError, match="being made ready"):
            renewed(folder)
        busy.append(what)
        put(folder, what)

    monkeypatch.setattr(bringing, "put_pending", late)
    bringing.withdraw(folder)
    renewed(folder)
    assert busy and folder.snapshot.exists() and folder.brought.patients == PATIENTS - 1
    assert not bringing.withdraw(folder).newer


@pytest.mark.parametrize("begun", [True, False])
def test_refusing_and_approving_again_brings_nobody_back_and_answers_nothing_twice(tmp_path: Path, begun: bool) -> None:
    folder = hospital_at(tmp_path / "north", FROZEN, begun, listed="P003\n")
    with closing(folder.database()) as connection:
        approval.refuse(Journal(connection), folder.log(connection), "north", folder.protocol.digest, "not now")
        Journal(connection).hold(next_task(folder), {"w": np.ones(2)}, None)
        connection.commit()
    (folder.path / "opt-out.txt").write_text("P007\n")
    bringing.prepare(folder)
    hospital.approve(folder, "officer")
    assert hospital.status(folder)["held"] == []
    renewed(folder)
    assert folder.brought.patients == PATIENTS - 2
    with closing(folder.database()) as connection:
        state = folder.gate(connection, frozenset(), None).state
        assert (state.answered(folder.protocol.algorithms[0].phase) is not None) is begun
    assert ("so none leave in this study" in on_hold(folder)) is begun


@pytest.mark.parametrize("fault", [errno.ESTALE, errno.EACCES, errno.EIO])
def test_a_list_whose_disk_is_away_stops_the_hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    whole = Path.stat

    def away(self: Path, *rest: Any, **named: Any) -> Any:
        if self.name == "opt-out.txt":
            raise OSError(fault, "away", str(self))
        return whole(self, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", away)
        with pytest.raises(DataError, match="cannot be read: away"):
            bringing.withdraw(folder)
    assert "The opt-out list is not applied" in on_hold(folder)
    bringing.withdraw(folder)
    assert on_hold(folder) == ""


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), StoreError("The disk is full.", "Make room.")], ids=["killed", "full"])
def test_a_withdrawal_that_is_cut_short_stops_the_hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    (folder.path / "opt-out.txt").write_text("P007\n")
    for name in ("write_snapshot", "put_pending", "load_site"):
        with monkeypatch.context() as patch, pytest.raises(type(fault)):
            patch.setattr(bringing, name, lambda *rest: (_ for _ in ()).throw(fault))
            bringing.withdraw(folder)
        assert "The opt-out list is not applied" in on_hold(folder), name
    bringing.withdraw(folder)
    renewed(folder)
    assert on_hold(folder) == "" and folder.brought.patients == PATIENTS - 1


def test_who_was_tested_on_is_not_trained_on_after_an_absence(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING, begun=False)
    split = '[split]\ncolumn = "set"\ntrain = ["tr"]\ntest = ["te"]\n'
    (folder.path / "site.toml").write_text(SITE_FILE.replace("NAME", "north").replace("[consent]", f"{split}[consent]"))

    def sets(moves: bool, there: bool) -> Callable[[list[dict[str, Any]]], None]:
        def change(found: list[dict[str, Any]]) -> None:
            for place, row in enumerate(found):
                row["set"] = "te" if place % 3 == 0 and not (moves and place == 6) else "tr"
            if not there:
                del found[6]

        return change

    table(folder.path, 0, sets(moves=False, there=True))
    bringing.prepare(folder)
    hospital.approve(folder, "officer")
    answered(folder)
    table(folder.path, 0, sets(moves=False, there=False))
    bringing.prepare(folder)
    renewed(folder)
    assert folder.brought.patients == PATIENTS - 1
    table(folder.path, 0, sets(moves=True, there=True))
    with pytest.raises(DataError, match="stand in another part"):
        bringing.prepare(folder)
    table(folder.path, 0, sets(moves=False, there=True))
    assert bringing.prepare(folder).brought.patients == PATIENTS


def test_a_decision_to_keep_rows_is_remembered_for_these_rows_only(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north")
    table(folder.path, 0, other_a(range(2)))
    bringing.prepare(folder, keep=True)
    bringing.prepare(folder)
    table(folder.path, 0, other_a(range(1)))
    bringing.prepare(folder)
    assert on_hold(folder) == "" and len(entries(folder, "changed")) == 1
    table(folder.path, 0, other_a(range(3)))
    with pytest.raises(PolicyRefused, match="frozen"):
        bringing.prepare(folder)
    assert "Rows changed since they were approved" in on_hold(folder)


def test_both_commands_say_how_many_entries_are_of_nobody(wardround: Terminal, tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", begun=False, listed="nobody\n")
    nobody = "<10 entries of the opt-out list are of no patient in"
    assert nobody in " ".join(wardround("site", "prepare", "--dir", folder.path).out.split())
    answered(folder)
    said = " ".join(wardround("site", "withdraw", "--dir", folder.path).out.split())
    assert nobody in said and "Nobody on the opt-out list is in the snapshot." in said and "Prepared" not in said
    found = wardround("site", "prepare", "--dir", folder.path, "--json").document
    assert any(nobody in sentence for sentence in found["opt_out"])
    (folder.path / "opt-out.txt").write_text("P007\n")
    assert "This ends this hospital's part" in wardround("site", "withdraw", "--dir", folder.path).out


def test_own_figures_leave_only_where_they_are_of_the_rows_that_count(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", ROLLING)
    phase = str(ROLLING.giving("judgement"))
    with closing(folder.database()) as connection:
        gate = folder.gate(connection, frozenset(), None)
        assert results_on(gate, phase, gate.data) and not results_on(gate, phase, ZERO)


def results_on(gate: Site, phase: str, data: str) -> bool:
    """Say whether own figures leave that were adopted from an answer on a snapshot."""
    first = next(entry for entry in gate.log.entries() if entry["t"] == "egress")
    drop = ("v", "t", "study", "seq", "ts")
    gate.log.append("egress", **{**{name: one for name, one in first.items() if name not in drop}, "phase": phase, "data": data})
    with pytest.MonkeyPatch.context() as patch:
        kept = (gate.protocol.digest, gate.name, gate.state.snapshot, phase, to_bytes({"figures": np.ones(1)}))
        gate.state._db.execute("REPLACE INTO site_kept VALUES (?, ?, ?, ?, ?)", kept)
        patch.setattr("wardround.site.results.as_left", lambda protocol, kept: {"tested": 60})
        return bool(told_results(gate))


def test_a_worker_that_read_another_snapshot_than_the_approved_one_answers_nothing(tmp_path: Path) -> None:
    folder = hospital_at(tmp_path / "north", begun=False)
    with closing(folder.database()) as connection:
        newer = Renewal(folder, connection, Journal(connection), folder.rules)
        other = replace(folder.brought, snapshot=ZERO)
        reply = Refusal("", "north", "answer", "anything", "")
        assert newer.same(lambda work: reply)(None) is reply  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="changed while an answer was worked out"):
            newer.same(lambda work: (folder.bring(other), reply)[1])(None)  # type: ignore[arg-type,func-returns-value]
