"""Whole studies over a real hub: sites that are absent, slow, stopped and back; a coordinator that is stopped and goes on."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engines.federated import POLICY, Federation, federation, open_protocol
from tests.support import small
from wardround import centre, serving
from wardround.coordinator import events
from wardround.engines.nats import Nats
from wardround.engines.parts import Body
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.serving import Serving
from wardround.site.gate import Work
from wardround.study.arrays import arrays_digest, from_bytes
from wardround.study.files import Data


def wrong(folder: Path) -> list[str]:
    """Return the lines of `verify` that fail."""
    return [line.name for line in verify(folder).lines if line.verdict is Verdict.FAIL]


def entries(made: Federation, kind: str) -> list[dict[str, Any]]:
    """Return the study log's entries of one kind."""
    return [entry for entry in made.serving._log.entries() if entry["t"] == kind]


def in_process(tmp_path: Path) -> str:
    """Return the model that the same hospitals make on one machine."""
    (tmp_path / "plain").mkdir()
    return small(tmp_path / "plain", open_protocol()).run()["train"].digest


def test_a_study_ends_at_every_site_and_its_record_is_whole(tmp_path: Path) -> None:
    with federation(tmp_path) as made:
        result = made.serving.run()
        for gate in made.gates.values():
            gate.wait(20)
        made.serving.wait_for_sites(10)
        assert not wrong(made.centre.path)
        assert result["model_digest"] == in_process(tmp_path)
        for gate in made.gates.values():
            assert not gate.failed
            assert arrays_digest(from_bytes((gate.folder.path / "model.safetensors").read_bytes())) == result["model_digest"]


def test_a_hospital_whose_rules_keep_its_log_leaves_evidence_missing_and_nothing_wrong(tmp_path: Path) -> None:
    with federation(tmp_path, run=False) as made:
        policy = made.gates["site2"].folder.path / "policy.toml"
        policy.write_text(POLICY.replace(', "record"', ""))
        for gate in made.gates.values():
            gate.start()
        made.serving.run()
        assert [entry["site"] for entry in entries(made, "kept")] == ["site2"]
        assert not (made.centre.path / "record" / "sites" / "site2").exists()
        found = {line.name: line.verdict for line in verify(made.centre.path).lines if line.verdict is not Verdict.PASS}
        assert found == dict.fromkeys(("keys", "approvals", "messages", "rows", "cross-links", "witnesses"), Verdict.INCOMPLETE)


def test_a_site_that_is_away_is_named_and_holds_no_round_for_ever(tmp_path: Path) -> None:
    agreed = open_protocol(rounds={"quorum": 3, "due_seconds": 60, "lost_seconds": 6})
    with federation(tmp_path, agreed) as made:
        made.serving.gather_approvals()
        gone = made.gates["site3"]
        gone.stop()
        began = time.monotonic()
        made.serving.run()
        assert time.monotonic() - began < 40
        assert {(entry["site"], entry["where"]) for entry in entries(made, "refusal")} == {("site3", "deadline")}
        assert events.Lost("site3", 6.0) in made.seen
        assert "site3 handed no log over, as the coordinator says" in str(verify(made.centre.path).text())


def closed_now() -> str:
    """Return hours, an hour wide, that are not now."""
    hour = datetime.datetime.now().astimezone().hour
    return f"{(hour + 3) % 24:02d}:00-{(hour + 4) % 24:02d}:00"


def test_sites_that_are_there_and_refuse_are_asked_again_at_a_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ASK_AGAIN", 1.0)
    with federation(tmp_path, open_protocol(rounds={"quorum": 4, "due_seconds": 60})) as made:
        gate = made.gates["site3"]
        rules = gate.folder.path / "policy.toml"
        open_hours = rules.read_text()

        def asked_again() -> list[str]:
            texts = [event.text for event in made.seen if isinstance(event, events.Note)]
            return [text for text in texts if "asked again in" in text]

        def mend() -> None:
            until = time.monotonic() + 30
            while len(asked_again()) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            gate.stop()
            rules.write_text(open_hours)
            gate.start()

        made.serving.gather_approvals()
        gate.stop()
        rules.write_text(open_hours.replace('hours = "any"', f'hours = "{closed_now()}"'))
        gate.start()
        mending = threading.Thread(target=mend)
        mending.start()
        result = made.serving.run()
        mending.join()
        assert {(entry["site"], entry["where"]) for entry in entries(made, "refusal")} == {("site3", "accept")}
        first, second = asked_again()[:2]
        assert "had 3 of 4 sites" in first and "site3: " in first and "hours" in first
        assert "in 1 s, until you stop" in first and "in 2 s, until you stop" in second
        assert result["model_digest"] == in_process(tmp_path)


def test_what_comes_too_late_is_recorded_and_not_used(tmp_path: Path) -> None:
    agreed = open_protocol(rounds={"quorum": 3, "due_seconds": 4})
    with federation(tmp_path, agreed) as made:
        held = threading.Event()

        def wait(work: Work) -> None:
            if work.task.phase == "moments":
                held.wait(30)

        made.gates["site3"].before = wait
        threading.Timer(6.0, held.set).start()
        made.serving.run()
        assert [(entry["site"], entry["phase"]) for entry in entries(made, "refusal")] == [("site3", "moments")]
        assert [(entry["site"], entry["phase"]) for entry in entries(made, "late")] == [("site3", "moments")]
        assert not wrong(made.centre.path)
        trained = {entry["site"] for entry in entries(made, "ingress") if entry["phase"] == "train"}
        assert "site3" in trained, "it is back for the next rounds"


def test_a_stopped_study_waits_and_goes_on(tmp_path: Path) -> None:
    with federation(tmp_path) as made:
        made.centre.stopped.write_text("Holidays\n")
        threading.Timer(2.0, made.centre.stopped.unlink).start()
        began = time.monotonic()
        result = made.serving.run()
        assert time.monotonic() - began > 2
        assert [entry["reason"] for entry in entries(made, "stopped")] == ["Holidays"]
        assert result["model_digest"] == in_process(tmp_path)


def test_a_coordinator_that_was_stopped_in_a_round_goes_on_to_the_same_model(tmp_path: Path) -> None:
    class Enough(Exception):
        """End the coordinator here."""

    with federation(tmp_path) as made:

        def watch(event: events.Event) -> None:
            if isinstance(event, events.Answered) and (event.phase, event.round) == ("train", 1):
                raise Enough

        made.serving._watcher._tell = watch
        with pytest.raises(Enough):
            made.serving.run()
        made.serving.close()
        seen: list[events.Event] = []
        made.serving = Serving(made.centre, 0, seen.append)
        result: Mapping[str, Any] = made.serving.run()
        made.serving.wait_for_sites(10)
        assert [entry["round"] for entry in entries(made, "resumed")] == [1]
        assert not [event for event in seen if isinstance(event, events.Refused)]
        assert result["model_digest"] == in_process(tmp_path)
        assert not wrong(made.centre.path)


def test_a_site_that_leaves_is_out_at_once_and_the_others_go_on(tmp_path: Path) -> None:
    from wardround import hospital

    with federation(tmp_path) as made:
        made.serving.gather_approvals()
        made.gates["site2"].stop()
        assert hospital.leave(made.gates["site2"].folder)
        made.serving.run()
        assert {entry["site"] for entry in entries(made, "refusal")} <= {"site2"}
        assert {entry["site"] for entry in entries(made, "ingress")} == {"site0", "site1", "site3"}
        assert [entry["site"] for entry in entries(made, "unheard")] == ["site2"]
        assert not wrong(made.centre.path), "its log is missing evidence, and no contradiction"
        made.gates["site2"].start()
        made.gates["site2"].wait(20)
        assert "left the study" in str(made.gates["site2"].failed[0])


def test_a_site_cut_off_while_its_answer_waits_to_be_fetched_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, order, before = Nats.fetch, list[str](), set(threading.enumerate())
    agreed = open_protocol(rounds={"quorum": 3, "due_seconds": 30, "lost_seconds": 6})

    def slow(engine: Nats, site: str, body: Body, most: int) -> Data:
        order.append(site)
        if len(order) == 1:
            time.sleep(1)  # the others' answers are waiting now
            other = next(one for one in made.gates if one != site)
            made.gates[other].ask_to_stop()
            assert centre.cut_off(made.centre, other, "revoked").hub
        return fetch(engine, site, body, most)

    with federation(tmp_path, agreed) as made:
        monkeypatch.setattr(Nats, "fetch", slow)
        made.serving.run()
        gone = {entry["site"] for entry in entries(made, "refusal")}
        assert len(gone) == 1
        fetching = [thread for thread in threading.enumerate() if thread.name == "fetching" and thread not in before]
        assert len(fetching) == 1
    fetching[0].join(5)
    assert not fetching[0].is_alive()
