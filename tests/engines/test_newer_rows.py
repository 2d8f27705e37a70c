"""Between hospitals, over a real hub: frozen rows that changed stop a hospital, rolling rows go on, and who withdraws is out at once."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engines.federated import POLICY, Federation, Gate, _all_stop, federated_small, let_in, new_centre, open_protocol
from tests.support import rows
from tests.system.trouble import Rounds
from wardround import bringing, hospital
from wardround.coordinator import events
from wardround.coordinator.folder import Folder
from wardround.data.snapshot import read_snapshot
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.serving import Serving
from wardround.site.folder import PREPARED, SiteFolder
from wardround.site.gate import Work
from wardround.site.journal import Journal
from wardround.study.arrays import Arrays
from wardround.study.errors import DataError, PolicyRefused
from wardround.study.interfaces import Reply
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal, Update

SITE_FILE = """name = "NAME"
[source]
kind = "table"
path = "patients.csv"
[map]
patient = "MRN"
[consent]
opt_out = "opt-out.txt"
"""
PATIENTS = 60
SECURE = {"rounds": {"quorum": 3, "combine": "secure", "due_seconds": 60}, "privacy": {"counts": False}}


def table(folder: Path, seed: int, change: Callable[[list[dict[str, Any]]], None] = lambda rows: None) -> None:
    """Write a hospital's table with patients P000 to P059, maybe changed."""
    data = rows(seed, PATIENTS)
    found = [
        {
            "MRN": f"P{number:03d}",
            "a": "" if np.isnan(data.columns["a"][number]) else f"{data.columns['a'][number]:.6f}",
            "b": f"{data.columns['b'][number]:.6f}",
            "sex": "fm"[data.columns["sex"][number]],
            "ill": int(data.columns["ill"][number]),
        }
        for number in range(PATIENTS)
    ]
    change(found)
    with (folder / "patients.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)


def other_a(places: range) -> Callable[[list[dict[str, Any]]], None]:
    """Return what alters the field a of some rows."""

    def change(found: list[dict[str, Any]]) -> None:
        for place in places:
            found[place]["a"] = "4.321"

    return change


@dataclass
class Reading(Gate):
    """A hospital whose worker reads the snapshot that counts, as the real one does; `worked` says which, round by round."""

    worked: list[tuple[str, int, str]] = field(default_factory=list)

    def answer(self, work: Work, mine: Mapping[str, Arrays]) -> Reply:
        """Answer on the snapshot in use."""
        if self.before is not None:
            self.before(work)
        data = read_snapshot(self.folder.snapshot)
        self.worked.append((work.task.phase, work.task.round, data.digest))
        return self.agreed.by_phase[work.task.phase].answer(work.task.body, data, mine, work.rng)

    def _run(self) -> None:
        try:
            hospital.take_part(self.folder, self.said.append, self.answer, self._until)
        except BaseException as error:
            self.failed.append(error)


def joined(made: Folder, path: Path, seed: int) -> SiteFolder:
    """Return the folder of a hospital with a table and an empty opt-out list, that has joined, prepared and approved."""
    path.mkdir(parents=True)
    (path / "policy.toml").write_text(POLICY)
    (path / "site.toml").write_text(SITE_FILE.replace("NAME", path.name))
    (path / "opt-out.txt").write_text("")
    table(path, seed)
    folder = SiteFolder(path)
    (path / PREPARED).write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hospital, "approve", lambda folder, role: None)
        let_in(made, folder, path.name)
    folder = SiteFolder(path)
    bringing.prepare(folder)
    hospital.approve(folder, "tester")
    return folder


@contextmanager
def reading(path: Path, agreed: Protocol) -> Iterator[Federation]:
    """Serve a study among three hospitals with tables of their own."""
    with ExitStack() as stack:
        made = new_centre(path / "centre", agreed)
        seen: list[events.Event] = []
        found = Federation(made, Serving(made, 0, seen.append), {}, seen)
        stack.callback(lambda: found.serving.close())
        for number in range(3):
            folder = joined(made, path / f"site{number}", number)
            found.gates[folder.path.name] = Reading(folder.path.name, folder, rows(0), made.protocol)
            stack.callback(found.gates[folder.path.name].stop)
            found.gates[folder.path.name].start()
        stack.callback(_all_stop, found.gates)
        yield found


def entries(gate: Gate, *types: str) -> list[dict[str, Any]]:
    return [entry for entry in hospital.entries(gate.folder) if entry["t"] in types]


def at(phase: str, number: int, what: Callable[[], object]) -> Callable[[Work], None]:
    """Return what does something once, while the worker works on a round."""
    done: list[object] = []

    def before(work: Work) -> None:
        if (work.task.phase, work.task.round) == (phase, number) and not done:
            done.append(1)
            done.append(what())

    return before


def test_a_frozen_row_that_changed_is_named_at_the_hospital_and_the_coordinator_hears_of_no_patient(tmp_path: Path) -> None:
    with reading(tmp_path, open_protocol(rounds={"quorum": 2, "due_seconds": 20})) as made:
        gate = made.gates["site0"]
        complaint: list[PolicyRefused] = []

        def changed() -> None:
            table(gate.folder.path, 0, other_a(range(7, 9)))
            with pytest.raises(PolicyRefused) as caught:
                bringing.prepare(gate.folder)
            complaint.append(caught.value)

        gate.before = at("train", 0, changed)
        study = federated_small(made)
        study.run()
        assert complaint[0].message == (
            "<10 rows of <10 patients changed since they were approved, and the data of this study are frozen; nothing is answered."
        )
        assert "wardround site changes" in complaint[0].remedy and "--keep" in complaint[0].remedy
        found = bringing.changed_rows(gate.folder)
        assert [(row["row"], row["fields"]) for row in found["rows"]] == [(8, ["a"]), (9, ["a"])] and found["patients"] == 2
        assert "4.321" not in json.dumps(found) and "P007" not in json.dumps(found)
        refused = {(one.site, one.where, one.reason) for one in study.refused}
        reason = "the site's rows are no longer those that it approved, and the data of this study are frozen"
        assert refused == {("site0", "accept", reason)}
        assert [entry["phase"] for entry in entries(gate, "egress")] == ["moments"], "not even the answer that was being worked out left"
        (entry,) = entries(gate, "changed")
        assert (entry["rows"], entry["patients"], entry["decision"]) == ("<10", "<10", "stop")
        assert "Rows changed since they were approved" in hospital.status(gate.folder)["text"]


@pytest.mark.slow
def test_a_hospital_can_go_on_with_its_frozen_rows_as_approved_or_put_them_back(tmp_path: Path) -> None:
    with reading(tmp_path, open_protocol(rounds={"quorum": 1, "due_seconds": 20})) as made:
        gate = made.gates["site0"]
        made.serving.gather_approvals()
        rounds = Rounds(made, made.serving.book())
        assert rounds.answered(["site0"])
        approved = gate.folder.brought
        for keeps in (True, False):
            table(gate.folder.path, 0, other_a(range(3 if keeps else 4)))  # the decision holds for the first three only
            with pytest.raises(PolicyRefused, match="frozen"):
                bringing.prepare(gate.folder)
            rounds.send()
            assert isinstance(rounds.answers(["site0"])["site0"], Refusal)
            if not keeps:
                table(gate.folder.path, 0)
            bringing.prepare(gate.folder, keep=keeps)
            assert rounds.answered(["site0"]) and gate.folder.brought == approved
        assert [entry["decision"] for entry in entries(gate, "changed")] == ["stop", "go_on", "stop"]


def test_rolling_rows_come_in_between_rounds_and_the_record_says_which_answer_was_on_which(tmp_path: Path) -> None:
    with reading(tmp_path, open_protocol(data="rolling", **SECURE)) as made:
        gate = made.gates["site0"]
        assert isinstance(gate, Reading)
        first = gate.folder.brought

        def newer() -> None:
            def change(found: list[dict[str, Any]]) -> None:
                other_a(range(12))(found)
                found.append({"MRN": "P999", "a": "1.0", "b": "0.5", "sex": "f", "ill": 1})

            table(gate.folder.path, 0, change)
            assert bringing.prepare(gate.folder).newer

        gate.before = at("train", 1, newer)
        made.serving.gather_approvals()
        made.serving.run()
        for one in made.gates.values():
            one.wait(20)
        second = gate.folder.brought
        assert second.patients == first.patients + 1 and second.snapshot != first.snapshot
        on = [(phase, number, "first" if data == first.snapshot else "second") for phase, number, data in gate.worked]
        assert on == [
            ("moments", 0, "first"),
            ("train", 0, "first"),
            ("train", 1, "first"),  # thrown away: the rows changed while it was worked out
            ("train", 1, "second"),
            ("train", 2, "second"),
            ("train", 3, "second"),  # judges the last model
            ("local", 0, "second"),
            ("test", 0, "second"),
        ]
        mine, theirs = entries(gate, "snapshot"), entries(made.gates["site1"], "snapshot")
        assert [entry["why"] for entry in mine] == ["approval", "rolling"] and len(theirs) == 1
        assert (mine[1]["changed"], mine[1]["withdrew"], mine[1]["patients"]) == ("10-49", "<10", "50-99")
        named = [
            (entry["phase"], entry["round"], [one["snapshot"] for one in mine].index(entry["data"]))
            for entry in entries(gate, "egress")
            if entry["stage"] == "answer"
        ]
        assert named == [(phase, number, int(which == "second")) for phase, number, which in (*on[:2], *on[3:])]
        lines = {line.name: line for line in verify(made.centre.path).lines}
        assert lines["rows"].verdict is Verdict.PASS and lines["rows"].text.startswith("4 snapshots of 3 sites")
        assert {name for name, line in lines.items() if line.verdict is not Verdict.PASS} == {"witnesses"}
        assert [path.name for path in gate.folder.snapshots.glob("*") if path.is_dir()] == [second.snapshot.removeprefix("sha256:")]
        result = json.loads((made.centre.path / "result.json").read_text())
        assert result["sites"]["site0"]["patients"] == "50-99"


@pytest.mark.parametrize(
    "changes", [SECURE, pytest.param({"data": "rolling", **SECURE}, marks=pytest.mark.slow)], ids=["frozen", "rolling"]
)
def test_who_withdraws_is_in_nothing_that_is_worked_out_from_then_on(tmp_path: Path, changes: dict[str, Any]) -> None:
    with reading(tmp_path, open_protocol(**changes)) as made:
        gate = made.gates["site1"]
        assert isinstance(gate, Reading)

        def out() -> None:
            (gate.folder.path / "opt-out.txt").write_text("p-0\n 17\nP003\nP 004\nunknown\n")
            found = bringing.withdraw(gate.folder)
            assert (found.newer, found.withdrew, found.brought.patients) == (True, 3, PATIENTS - 3)

        gate.before = at("train", 0, out)
        made.serving.gather_approvals()
        made.serving.run()
        gate.wait(20)
        assert [entry["why"] for entry in entries(gate, "snapshot")] == ["approval", "withdrawal"]
        later = {digest for phase, number, digest in gate.worked[2:]}
        assert later == {gate.folder.brought.snapshot}
        lines = {line.name: line for line in verify(made.centre.path).lines}
        assert lines["rows"].verdict is Verdict.PASS, lines["rows"]
        assert {name for name, line in lines.items() if line.verdict is not Verdict.PASS} == {"witnesses"}
        assert gate.failed == [] and (gate.folder.path / "result.json").exists()
        with closing(gate.folder.database()) as connection:
            assert Journal(connection).meta("ended") is not None


def test_in_plain_sums_a_withdrawal_after_answers_have_left_ends_the_hospitals_part(tmp_path: Path) -> None:
    with reading(tmp_path, open_protocol(rounds={"quorum": 2, "due_seconds": 20})) as made:
        gate = made.gates["site1"]

        def out() -> None:
            (gate.folder.path / "opt-out.txt").write_text("P007\n")
            assert bringing.withdraw(gate.folder).ends

        gate.before = at("train", 0, out)
        study = federated_small(made)
        study.run()
        reason = "the site's snapshot has changed since sums left it, and sums of two snapshots could be subtracted"
        assert {(one.site, one.reason) for one in study.refused} == {("site1", reason)}
        assert [entry["phase"] for entry in entries(gate, "egress")] == ["moments"]


@pytest.mark.slow
def test_a_list_that_is_gone_stops_the_hospital_until_it_is_there_again(tmp_path: Path) -> None:
    with reading(tmp_path, open_protocol(rounds={"quorum": 1, "due_seconds": 20})) as made:
        gate = made.gates["site2"]
        made.serving.gather_approvals()
        rounds = Rounds(made, made.serving.book())
        assert rounds.answered(["site2"])
        (gate.folder.path / "opt-out.txt").unlink()
        for command in (bringing.withdraw, bringing.prepare):
            with pytest.raises(DataError, match="is not there"):
                command(gate.folder)
        rounds.send()
        found = rounds.answers(["site2"])["site2"]
        assert isinstance(found, Refusal) and found.reason == "the site cannot tell at present whose rows it may use"
        (gate.folder.path / "opt-out.txt").write_text("")
        bringing.withdraw(gate.folder)
        rounds.send()
        assert isinstance(rounds.answers(["site2"])["site2"], Update)
