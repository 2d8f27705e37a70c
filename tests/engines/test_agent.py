"""What a hospital's gate tells over a real hub, and what it keeps to itself."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engines.federated import POLICY, Federation, Gate, federated_small, federation, hospitals, open_protocol
from tests.system.trouble import Rounds, wait_until
from wardround import hospital
from wardround.combining.secure.attempt import Attempt
from wardround.engines.messages import Message
from wardround.site.gate import Work
from wardround.study.canonical import canonical
from wardround.study.errors import DataError, QuorumNotMet
from wardround.study.task import Refusal, Stage, Task, Update


def one_round(made: Federation) -> Rounds:
    made.serving.gather_approvals()
    return Rounds(made, made.serving.book())


def test_of_an_error_at_a_hospital_only_class_and_remedy_reach_the_coordinator(tmp_path: Path) -> None:
    def fail(work: Work) -> None:
        raise DataError("the scores of case 4711 are not finite", "Look at the units in site.toml.")

    with federation(tmp_path, data=hospitals(2)) as made:
        ill = made.gates["site0"]
        ill.before = fail
        rounds = one_round(made)
        rounds.send()
        refusal = rounds.answers(("site0",))["site0"]
        assert isinstance(refusal, Refusal)
        assert (refusal.where, refusal.reason) == ("answer", "the worker failed (DataError)")
        assert refusal.remedy == "Look at the units in site.toml."
        assert "case 4711" not in json.dumps(hospital.entries(ill.folder)), "the log may be handed over"
        (failure,) = hospital.status(ill.folder)["failures"]
        assert failure["text"] == "moments, round 1: DataError: the scores of case 4711 are not finite"


def test_a_log_that_is_handed_over_says_so_and_one_that_is_not_does_not(tmp_path: Path) -> None:
    with federation(tmp_path, data=hospitals(3), run=False) as made:
        private = made.gates["site2"].folder
        (private.path / "policy.toml").write_text(POLICY.replace(', "record"', ""))
        for gate in made.gates.values():
            gate.start()
        made.serving.gather_approvals()
        made.serving.run()
        for gate in made.gates.values():
            wait_until(lambda gate=gate: hospital.status(gate.folder)["text"] == "the study has ended")  # type: ignore[misc]
        handed = hospital.entries(made.gates["site0"].folder)
        assert [entry["t"] for entry in handed].count("handed_over") == 1
        last = handed[-1]
        assert (last["t"], last["to"], last["head"][0]) == ("handed_over", "coordinator", len(handed) - 1)
        copy = (made.centre.path / "record" / "sites" / "site0" / "entries.jsonl").read_bytes().splitlines()
        assert [json.loads(line) for line in copy] == handed, "the copy says itself that it was handed over"
        assert "handed_over" not in {entry["t"] for entry in hospital.entries(private)}


def test_a_large_answer_waits_in_a_file_that_goes_when_it_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardround.site.journal.LARGE", 1)
    with federation(tmp_path, data=hospitals(2), agreed=open_protocol(rounds={"quorum": 1, "due_seconds": 60}), run=False) as made:
        waits: Gate = made.gates["site0"]
        (waits.folder.path / "policy.toml").write_text(POLICY.replace('"auto"', '"every"'))
        for gate in made.gates.values():
            gate.start()
        rounds = one_round(made)
        rounds.send()
        wait_until(lambda: bool(hospital.status(waits.folder)["held"]))
        (file,) = waits.folder.room.iterdir()
        (held,) = hospital.status(waits.folder)["held"]
        assert {term["name"] for term in held["terms"]} == {"present", "sum", "squares"}
        waits.stop()
        waits.start()
        hospital.decide(waits.folder, "release", held["code"])
        assert isinstance(rounds.answers(("site0",))["site0"], Update)
        wait_until(lambda: not file.exists())


SECURE = {"rounds": {"quorum": 3, "combine": "secure", "attempts": 1, "due_seconds": 60}, "privacy": {"counts": False}}


def test_what_shows_that_a_step_was_broken_is_kept_at_the_hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that tells sites of another total than they gave sums to: what it signed stays there, beside the refusal."""
    honest = Attempt.tasks
    lie = canonical({"survivors": ["site1", "site2", "site3"]})

    def lying(self: Attempt, stage: Stage) -> list[Task]:
        return [replace(one, relay=lie) if one.stage == "agree" and one.site in ("site0", "site1") else one for one in honest(self, stage)]

    monkeypatch.setattr(Attempt, "tasks", lying)
    with federation(tmp_path, open_protocol(**SECURE)) as made:
        with pytest.raises(QuorumNotMet):
            federated_small(made).run()
        folder, key = made.gates["site0"].folder, made.centre.signer.key.public_key()
        (refused,) = (entry for entry in hospital.entries(folder) if entry["t"] == "refused")
        assert refused["reason"].startswith("secure sum, agree: a total of 3 sites is to be opened")
        status = hospital.status(folder)
        (path,) = status["evidence"]
        assert Path(path) == folder.path / "evidence" / f"{refused['task'].removeprefix('sha256:')}.json"
        kept = json.loads(Path(path).read_bytes())
        task, before = (Message.unchecked(kept[name].encode(), key) for name in ("task", "before"))
        assert (task.turn["stage"], task.content["relay"], before.turn["stage"]) == ("agree", lie.decode(), "answer")
        assert Message.unchecked(kept["refusal"].encode(), folder.keys.public).content["reason"] == refused["reason"]
        with closing(folder.database()) as connection:
            (row,) = connection.execute("SELECT session FROM site_sessions").fetchall()
        session = json.loads(row[0])
        assert all(len(session[name]) == 64 and session[name] not in Path(path).read_text() for name in ("channel", "mask", "seed", "part"))
        others = {one["site"]: one["fingerprint"] for one in status["others"]}
        assert others == {name: gate.folder.fingerprint for name, gate in made.gates.items() if name != "site0"}
        assert hospital.status(made.gates["site2"].folder)["evidence"] == []


def test_a_hospital_that_names_the_others_takes_no_part_with_one_that_it_does_not_know(tmp_path: Path) -> None:
    """The others go on without it: three of four are enough."""
    with federation(tmp_path, open_protocol(**SECURE), run=False) as made:
        careful = made.gates["site0"].folder
        known = [f"{name} {made.gates[name].folder.fingerprint}" for name in ("site1", "site2")]
        (careful.path / "policy.toml").write_text(POLICY.replace('sites = ["*"]', f"sites = {json.dumps(known)}"))
        for gate in made.gates.values():
            gate.start()
        done = federated_small(made).run()
        assert done["test"].stopped == "rounds"
        stranger = made.gates["site3"].folder.fingerprint
        reasons = {entry["reason"] for entry in hospital.entries(careful) if entry["t"] == "refused"}
        assert reasons == {f"secure sum, shares: site site3 with the fingerprint {stranger} is not accepted by this hospital's rule sites"}
        sent = {entry["stage"] for entry in hospital.entries(careful) if entry["t"] == "egress"}
        assert sent == {"keys"}, "no share was sealed"
