"""Whole studies with the sum of one message through true gates: the same models as with the plain sum, whoever comes once or not at all."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests.api.test_simulate import hospital, study
from tests.engines.federated import Federation, federation, hospitals
from tests.engines.losing import Killed, Loss, Mortal, digests, lose
from tests.support import PHASES, Small, protocol, rows, small
from wardround import simulate, simulated
from wardround.combining.secure.window import STAGES
from wardround.coordinator import events
from wardround.engines.inprocess import InProcess
from wardround.engines.nats import Nats
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.site import masking
from wardround.site.gate import Work
from wardround.study import arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import QuorumNotMet
from wardround.study.files import LARGE, Kept
from wardround.study.findings import FileRefused
from wardround.study.interfaces import Engine, Reply
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.templates import template
from wardround.study.task import Answer, Refusal, Task, Update

SEVEN = tuple(f"site{number}" for number in range(7))
HELPING = SEVEN[:3]
FIRST, SECOND = ("moments", 0), ("train", 1)
TINY = [PHASES[0], {**PHASES[1], "rounds": 2, "batch_size": 64}]


def agreed(combine: str = "one_message", helpers: Sequence[str] = HELPING, **changes: Any) -> Protocol:
    """Return the plan of a study of seven sites."""
    more = {"helpers": tuple(helpers)} if combine == "one_message" else {}
    asked = {"quorum": 3, "attempts": 2, **changes.pop("rounds", {}), "combine": combine, **more}
    return protocol(**{"bounds": {"sites": 7, "examples": 500}, "phases": TINY, **changes, "rounds": asked})


def patients() -> dict[str, Dataset]:
    return {site: rows(number, 40 + number) for number, site in enumerate(SEVEN)}


def named(made: Small) -> set[tuple[str, int, str]]:
    """Return whose part in which round did not happen."""
    return {(one.phase, one.round, one.site) for one in made.refused}


def shorts(made: Small) -> list[tuple[str, int]]:
    """Return the rounds that had to be asked again."""
    opened = [(one.phase, one.round) for one in made.seen if isinstance(one, events.RoundOpened)]
    return sorted({turn for turn in opened if opened.count(turn) > 1})


def ran(folder: Path, combine: str, *losses: Loss, **more: Any) -> tuple[dict[str, str], Small]:
    """Run a study to its end; return what its phases came to."""
    folder.mkdir(parents=True)
    made = small(folder, agreed(combine), patients(), wrap=lose(*losses), following=combine != "plain", **more)
    done = digests(made.run())
    made.store.close()
    return done, made


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return what seven sites come to with the plain sum."""
    return ran(tmp_path_factory.mktemp("calm") / "plain", "plain")[0]


@dataclass(frozen=True)
class At(Loss):
    """Lose sites at one stage of a round only."""

    def takes(self, task: Task, tries: int) -> Literal["", "task", "reply"]:
        return super().takes(task, tries) if task.stage == self.stage else ""


@dataclass
class Watched(Engine):
    """Tell what is asked before it is, and what comes back."""

    engine: Engine
    asked: Callable[[Sequence[Task]], object] = lambda tasks: None
    heard: Callable[[Update | Refusal], object] = lambda reply: None
    tasks: list[Task] = field(default_factory=list)

    def sites(self) -> tuple[str, ...]:
        return self.engine.sites()

    def send(self, tasks: Sequence[Task]) -> None:
        self.tasks += tasks
        self.asked(tasks)
        self.engine.send(tasks)

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        for reply in self.engine.receive(due):
            self.heard(reply)
            yield reply

    def close(self) -> None:
        self.engine.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def test_every_phase_comes_to_the_same_and_a_site_says_one_thing_a_round(tmp_path: Path) -> None:
    for name in ("plain", "one"):
        (tmp_path / name).mkdir()
    plain = small(tmp_path / "plain", agreed("plain", phases=PHASES), patients())
    made = small(tmp_path / "one", agreed(phases=PHASES), patients(), wrap=Watched, following=True)
    assert isinstance(made.engine, Watched)
    assert digests(made.run()) == digests(plain.run())
    assert not made.refused
    rounds = len(made.book.closings)
    asked = [(task.site, task.stage) for task in made.engine.tasks if task.stage != "close"]
    for site in SEVEN:
        stages = [stage for name, stage in asked if name == site]
        assert stages == (["keys", "answer", "agree", "open"] if site in HELPING else ["answer"]) * rounds
    due = {task.stage: task.due for task in made.engine.tasks}
    assert due["answer"] == 60.0 and {due[stage] for stage in ("keys", "agree", "open")} == {60.0}


def test_helpers_have_a_minute_where_sites_have_a_day(tmp_path: Path) -> None:
    day = agreed(rounds={"due_seconds": 86400})
    made = small(tmp_path, day, patients(), wrap=Watched, following=True)
    made.run()
    assert isinstance(made.engine, Watched)
    assert {(task.stage, task.due) for task in made.engine.tasks if task.stage != "close"} == {
        ("answer", 86400.0), ("keys", 60.0), ("agree", 60.0), ("open", 60.0),
    }  # fmt: skip


def wrong(folder: Path) -> list[str]:
    """Return the lines of `verify` that fail."""
    return [str(line) for line in verify(folder).lines if line.verdict is Verdict.FAIL]


# who does not come


@pytest.mark.parametrize("turn", [FIRST, SECOND])
@pytest.mark.parametrize("absent", [("site3",), ("site4", "site6"), ("site3", "site4", "site5", "site6")])
def test_sites_that_do_not_come_are_named_and_the_round_closes(absent: tuple[str, ...], turn: tuple[str, int], tmp_path: Path) -> None:
    loss = Loss(absent, "answer", turn)
    done, made = ran(tmp_path / "one", "one_message", loss)
    assert done == ran(tmp_path / "plain", "plain", loss.plain)[0]
    assert named(made) == {(*turn, site) for site in absent}
    assert not shorts(made)


@pytest.mark.parametrize("turn", [FIRST, SECOND])
@pytest.mark.parametrize("silent", [("site0",), ("site1", "site2"), HELPING])
def test_helpers_that_give_no_sums_help_all_the_same(silent: tuple[str, ...], turn: tuple[str, int], tmp_path: Path) -> None:
    loss = At(silent, "answer", turn)
    done, made = ran(tmp_path / "one", "one_message", loss)
    assert done == ran(tmp_path / "plain", "plain", loss.plain)[0]
    assert named(made) == {(*turn, site) for site in silent}
    assert not shorts(made)


@pytest.mark.parametrize("heard", [False, True], ids=["task lost", "reply lost"])
@pytest.mark.parametrize("helper", HELPING)
def test_a_helper_that_falls_silent_after_it_agreed_is_not_needed(
    helper: str, heard: bool, tmp_path: Path, calm: Mapping[str, str]
) -> None:
    done, made = ran(tmp_path / "one", "one_message", Loss([helper], "open", SECOND, heard))
    assert done == calm
    assert not shorts(made) and not named(made), "its sums are in the total"


@pytest.mark.parametrize("gone", [("site1",), ("site0", "site2")])
@pytest.mark.parametrize("stage", ["keys", "agree", "open"])
def test_helpers_that_fall_silent_too_early_cost_an_attempt(
    stage: str, gone: tuple[str, ...], tmp_path: Path, calm: Mapping[str, str]
) -> None:
    done, made = ran(tmp_path / "one", "one_message", Loss(gone, stage, SECOND))
    assert done == calm
    enough = stage == "open" and len(gone) == 1
    assert shorts(made) == ([] if enough else [SECOND])
    unasked = SEVEN[3:] if stage == "keys" else ()
    assert named(made) == (set() if enough else {(*SECOND, site) for site in (*gone, *unasked)})


def test_a_helper_that_was_never_let_in_is_named(tmp_path: Path) -> None:
    made = small(tmp_path, agreed(helpers=("site0", "site1", "nowhere")), patients(), following=True)
    with pytest.raises(QuorumNotMet, match=r"2 times: the helper nowhere took no part in the study, and without all 3 nothing is opened\."):
        made.run()
    assert {one.reason.partition(":")[0] for one in made.refused} == {"nothing was asked of it"}


# what is refused


class Excessive(InProcess):
    """Have one site answer far beyond what it may in one round."""

    site = ""

    def _here(self, work: Sequence[Work]) -> Iterator[tuple[int, Reply]]:
        for number, reply in super()._here(work):
            task = work[number].task
            if task.site == self.site and (task.phase, task.round) == SECOND and not isinstance(reply, Refusal):
                reply = Answer({name: np.asarray(value) + 1e12 for name, value in reply[0].sums.items()}), reply[1]
            yield number, reply


@pytest.mark.parametrize("site", ["site1", "site4"], ids=["helper", "other"])
def test_sums_out_of_range_are_refused_where_they_are_made(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Excessive, "site", site)
    done, made = ran(tmp_path / "one", "one_message", kind=Excessive)
    assert done == ran(tmp_path / "plain", "plain", kind=Excessive)[0]
    assert {(one.site, one.where) for one in made.refused} == {(site, "release")}
    assert not shorts(made)


@pytest.mark.parametrize("place", [40, 140, 200])
def test_a_parcel_that_is_not_signed_is_the_fault_of_its_site(place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wardround.combining.secure.window import Window
    from wardround.site import windows

    true = windows.hidden

    def altered(site: Any, task: Task, body: Any) -> Any:
        if (site.name, task.phase, task.round) != ("site4", *SECOND):
            return true(site, task, body)
        last = site.state.sessions.last(task.phase, Window.from_json)
        parcel = bytearray.fromhex(last.session.parcel)
        parcel[place] ^= 1
        site.state.sessions.keep(task, replace(last.session, parcel=parcel.hex()), None)
        return true(site, task, body)

    monkeypatch.setattr(windows, "hidden", altered)
    done, made = ran(tmp_path / "one", "one_message")
    assert done == ran(tmp_path / "plain", "plain", Loss(["site4"], "answer", SECOND))[0]
    assert [one.reason for one in made.refused] == ["secure sum, answer: the parcel of site site4 is not signed by it for this attempt"]


# ends and restarts


@pytest.mark.parametrize("replies", [-1, 0, 1], ids=["before", "asked", "half heard"])
@pytest.mark.parametrize("stage", ["keys", "answer", "agree"])
def test_a_coordinator_that_was_killed_goes_on_with_another_attempt(
    stage: str, replies: int, tmp_path: Path, calm: Mapping[str, str]
) -> None:
    made = small(tmp_path, agreed(), patients(), wrap=lambda engine: Mortal(engine, SECOND, stage, replies), following=True)
    with pytest.raises(Killed):
        made.run()
    made.store.close()
    again = small(tmp_path, agreed(), patients(), wrap=Watched, following=True)
    assert digests(again.run()) == calm
    assert not again.refused
    assert isinstance(again.engine, Watched)
    stages = [one.stage for one in again.engine.tasks if (one.phase, one.round, one.attempt, one.site) == (*SECOND, 1, "site0")]
    assert stages == list(STAGES[:4]), "nothing of the attempt that was cut is taken up again"
    assert [one.attempt for one in again.book.closings if (one.phase, one.round) == SECOND] == [1]


@pytest.mark.parametrize("replies", [-1, 0, 1, 2], ids=["before", "asked", "half heard", "almost"])
def test_a_total_that_was_to_be_opened_is_opened_after_a_restart_whoever_has_left(replies: int, tmp_path: Path) -> None:
    """A helper and another site leave; site 5 was not in it, and a second total with it would show its sums."""
    away = Loss(["site5"], "answer", SECOND, attempts=range(9))
    folder = tmp_path / "one"
    folder.mkdir()
    made = small(folder, agreed(), patients(), wrap=lambda engine: Mortal(lose(away)(engine), SECOND, "open", replies), following=True)
    with pytest.raises(Killed):
        made.run()
    made.store.close()
    gone = lose(Loss(["site0", "site4"], "keys", SECOND, attempts=range(99)))
    back = small(folder, agreed(), patients(), wrap=lambda engine: Watched(gone(engine)), following=True)
    assert digests(back.run()) == ran(tmp_path / "plain", "plain", away.plain)[0]
    assert isinstance(back.engine, Watched)
    first = back.engine.tasks[0]
    assert (first.phase, first.round, first.attempt, first.stage) == (*SECOND, 0, "open")
    closing = next(one for one in back.book.closings if (one.phase, one.round) == SECOND)
    assert closing.attempt == 0 and set(closing.survivors) == {*SEVEN} - {"site5"}
    assert {(one.phase, one.round, one.site) for one in back.refused} == {(*SECOND, "site5")}


def test_a_helper_repeats_each_sum_that_it_revealed_byte_for_byte(tmp_path: Path) -> None:
    """Two fall silent, and what the third reveals, of two classes, is lost on its way: it is asked for both again."""
    said: list[Update] = []

    def heard(reply: Update | Refusal) -> None:
        said.extend([reply] if isinstance(reply, Update) and reply.site == "site1" else [])

    lost = lose(Loss(["site0", "site2"], "open", SECOND), Loss(["site1"], "open", SECOND, heard=True))
    inner: list[Watched] = []

    def wrap(engine: Engine) -> Engine:
        inner.append(Watched(engine, heard=heard))
        return lost(inner[0])

    made = small(tmp_path, agreed(), patients(), wrap=wrap, following=True)
    made.run()
    opened = {one.digest for one in inner[0].tasks if one.stage == "open" and one.site == "site1" and (one.phase, one.round) == SECOND}
    both = [one for one in said if one.task in opened]
    assert len(opened) == 2 and len(both) > 2
    assert all(one == next(first for first in both if first.task == one.task) for one in both)
    egress = [one["task"] for one in made.places["site1"].site.log.entries() if one["t"] == "egress"]
    assert len(egress) == len(set(egress))


def test_sites_and_helpers_that_are_killed_after_any_step_say_the_same_bytes(tmp_path: Path, calm: Mapping[str, str]) -> None:
    """Every task is given twice, the second time to gates that were opened anew on what the first ones left on the disk."""
    seen: dict[str, Update] = {}
    repeated = 0

    def heard(reply: Update | Refusal) -> None:
        assert isinstance(reply, Update)
        seen[reply.task] = reply

    def asked(tasks: Sequence[Task]) -> None:
        nonlocal repeated
        assert isinstance(made.engine, Watched)
        before = {task.site: task for task in made.engine.tasks if task.digest in seen}
        made.store.commit()
        copy = tmp_path / str(len(made.engine.tasks))
        shutil.copytree(tmp_path / "one", copy)
        fresh = small(copy, agreed(), patients(), following=True)
        fresh.engine.send(list(before.values()))
        for reply in fresh.engine.receive(0):
            assert isinstance(reply, Update)
            assert reply == seen[reply.task]
            repeated += 1
        fresh.store.close()

    (tmp_path / "one").mkdir()
    made = small(tmp_path / "one", agreed(), patients(), wrap=lambda engine: Watched(engine, asked, heard), following=True)
    assert digests(made.run()) == calm
    assert repeated > 70
    assert not made.refused


# the record


def test_the_record_of_a_study_with_losses_and_kills_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [hospital(tmp_path, number, 70) for number in range(5)]
    agreed = study(rounds={"quorum": 3, "combine": "one_message", "helpers": ["h0", "h1", "h2"]})
    undisturbed = simulate(agreed, files, tmp_path / "calm").result["model_digest"]
    lost: list[Loss] = [Loss(["h0"], "open", ("train", 0)), Loss(["h1"], "keys", ("train", 1)), At(["h2"], "answer", ("local", 0))]
    lost.append(Loss(["h4"], "answer", ("local", 0)))
    first = True

    def engine(*given: Any) -> Any:
        return Mortal(lose(*lost)(InProcess(*given)), ("train", 2), "agree", 2 if first else 99)

    monkeypatch.setattr(simulated, "InProcess", engine)
    with pytest.raises(Killed):
        simulate(agreed, files, tmp_path / "out")
    first = False
    found = simulate(agreed, files, tmp_path / "out")
    assert found.result["model_digest"] == undisturbed, "every training round closed with everybody in the end"
    assert not wrong(tmp_path / "out")
    log = (tmp_path / "out" / "record" / "study" / "entries.jsonl").read_text()
    assert '"t":"round_short"' in log and '"t":"resumed"' in log and '"masked_sums"' in log and '"kind":"sums"' not in log


# the file


@pytest.mark.parametrize("helpers", ["", "[]", '["north"]', '["north", "south", "north"]', '["a", "b", "c", "d"]'])
def test_a_study_without_three_different_helpers_is_refused(helpers: str) -> None:
    asked = 'combine = "one_message"' + (f"\nhelpers = {helpers}" if helpers else "")
    text, found = re.subn(r'(?m)^combine = "secure".*$', asked, template("binary"))
    assert found == 1
    with pytest.raises(FileRefused) as refused:
        read_protocol(text, "study.toml")
    (one,) = refused.value.findings
    assert (one.key, one.wrong) == ("rounds.helpers", "a sum of one message needs three different helpers.")
    assert one.remedy.startswith("Name three hospitals that are there when a round begins and when it closes")
    assert one.line == next(at for at, line in enumerate(text.splitlines(), 1) if line.startswith("helpers" if helpers else "[rounds]"))
    assert read_protocol(text.replace(asked, 'combine = "one_message"\nhelpers = ["a", "b", "c"]'), "study.toml").hides


# between hospitals, over a hub


def served(tmp_path: Path, names: Sequence[str] = SEVEN[:4], **changes: Any) -> Any:
    """Serve a study with few hospitals, the first three of them helpers."""
    few = {name: data for name, data in hospitals().items() if name in names}
    rounds = {"quorum": len(names), "combine": "one_message", "helpers": HELPING, "due_seconds": 60, **changes.pop("rounds", {})}
    return federation(tmp_path, protocol(**{"phases": TINY, **changes, "rounds": rounds}), few)


def rooms(made: Federation) -> list[Path]:
    """Return what lies in the rooms for large things, but for answers that may have to be sent again."""
    kept = set()
    for gate in made.gates.values():
        database = gate.folder.database()
        kept |= gate.folder.gate(database, frozenset(), None).state.files()
        database.close()
    folders = [made.centre.path / "room", *(gate.folder.room for gate in made.gates.values())]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and path not in kept]


def test_over_a_hub_a_site_comes_once_a_round_and_helpers_come_and_go(tmp_path: Path) -> None:
    """It is there only while sums are given, and misses a whole attempt; helpers begin anew between all steps of a round."""
    short = [PHASES[0], {**PHASES[1], "rounds": 1}]
    with served(tmp_path, rounds={"due_seconds": 6, "lost_seconds": 6}, phases=short) as made:
        visitor, stays = made.gates["site3"], list[tuple[str, int, int]]()
        leaving: list[threading.Thread] = []
        made.serving.gather_approvals()
        visitor.stop()

        def asked(tasks: Sequence[Task]) -> None:
            turn, stage = (tasks[0].phase, tasks[0].round), tasks[0].stage
            if turn == ("train", 0) and stage in ("answer", "agree", "open"):
                helper = made.gates[HELPING[("answer", "agree", "open").index(stage)]]
                helper.stop()
                helper.start()
            if (stage == "answer" and (turn, tasks[0].attempt) != (FIRST, 0)) or stage == "close":
                for one in leaving:
                    one.join()
                visitor.start()
                stays.append((*turn, tasks[0].attempt))

        def heard(reply: Update | Refusal) -> None:
            if reply.site == "site3" and isinstance(reply, Update):
                leaving.append(threading.Thread(target=visitor.stop))
                leaving[-1].start()

        assert isinstance(made.serving.engine, Nats)
        vars(made.serving)["engine"] = Watched(made.serving.engine, asked, heard)
        result = made.serving.run()
        made.serving.wait_for_sites(10)
        assert stays[:3] == [("moments", 0, 1), ("train", 0, 0), ("train", 1, 0)]
        entries = list(made.serving._log.entries())
        assert {(one["phase"], one["attempt"], one["site"], one["where"]) for one in entries if one["t"] == "refusal"} == {
            ("moments", 0, "site3", "deadline")
        }
        assert [(one["site"], one["attempt"]) for one in entries if one["t"] == "late"] == [("site3", 0)], "its answer to the old attempt"
        assert not wrong(made.centre.path)
        assert not any(gate.failed for gate in made.gates.values())
        four = {name: data for name, data in hospitals().items() if name in made.gates}
        (tmp_path / "plain").mkdir()
        plain = small(tmp_path / "plain", protocol(phases=short, rounds={"quorum": 4}), four)
        assert result["model_digest"] == digests(plain.run())["train"]


def test_over_a_hub_large_sums_go_through_files_that_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_here: list[int] = []

    def noted(*given: Any, **more: Any) -> Kept:
        made_here.append(len(found := true(*given, **more)))
        return found

    true = arrays.keep
    monkeypatch.setattr(masking, "keep", noted)
    wide = {"phases": [PHASES[0], {**PHASES[1], "rounds": 1, "batch_size": 64}], "model": {"kind": "mlp", "hidden": [1500, 1400]}}
    with served(tmp_path, HELPING, **wide) as made:
        made.serving.run()
        made.serving.wait_for_sites(10)
        large = [one for one in made.serving._log.entries() if one["t"] == "ingress" and one["bytes"] >= LARGE]
        assert sorted(one["stage"] for one in large) == ["answer"] * 3 + ["open"] * 3
        assert sorted(made_here) == sorted(one["bytes"] for one in large)
        for gate in made.gates.values():
            gate.ask_to_stop()
        for gate in made.gates.values():
            gate.stop()
        assert not rooms(made)
        assert not wrong(made.centre.path)
