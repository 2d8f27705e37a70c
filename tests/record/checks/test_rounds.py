"""The rounds follow one another; none can be left out, repeated or closed with something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.record.player import Player, failing, some
from wardround.record.report import Report, Verdict
from wardround.record.verify import verify

Fields = dict[str, Any]


def played(directory: Path, type: str, changes: list[Fields], **match: Any) -> dict[str, str]:
    """Play a study in which the matching entries are replaced by the changed ones."""

    def twist(log: str, name: str, fields: Fields) -> list[Fields]:
        wanted = name == type and all(fields[key] == value for key, value in match.items())
        return [{**fields, **change} for change in changes] if wanted else [fields]

    return failing(verify(Player(twist=twist).play(directory)))


@pytest.mark.parametrize(
    ("type", "changes", "says"),
    [
        ("round_open", [{"round": 5}], "gap: train round 5 opens where round 1"),
        ("round_open", [{"attempt": 1}], "gap: train round 1 attempt 1 opens where round 1 attempt 0"),
        ("round_open", [{"state": some("x")}], "does not begin from the state that was reached"),
        ("round_open", [], "train round 1 ends without having been opened"),
        ("round_open", [{}, {}], "opens while train round 1 is open"),
        ("round_open", [{"sites": 3}], "without an answer or a refusal of each site"),
        ("round_open", [{"ask": some("x")}], "answered something else than train round 1 asked"),
        ("round_open", [{"layout": some("x")}], "answered something else than train round 1 asked"),
        ("round_close", [{"state": some("x")}], "the result of phase train is not what its last round gave"),
        ("round_close", [{"receipts": some("x")}], "does not close with the messages that were admitted"),
        ("round_close", [{"refused": 1}], "does not close with the messages that were admitted"),
        ("round_close", [{"sites": 1}], "counts 1 sites, 2 were admitted"),
        ("round_close", [], "phase train ends while train round 1 is open"),
    ],
)
def test_what_does_not_follow_is_named(tmp_path: Path, type: str, changes: list[Fields], says: str) -> None:
    assert says in played(tmp_path, type, changes, phase="train", round=1)["rounds"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([{"rounds": 3}], "is said to have 3 rounds, 2 were closed"),
        ([{"result": some("x")}], "the result of phase train is not what its last round gave"),
        ([{}, {}], "ends twice"),
        ([{"phase": "other"}], "while another goes on"),
    ],
)
def test_an_end_of_phase_that_does_not_follow_is_named(tmp_path: Path, changes: list[Fields], says: str) -> None:
    assert says in played(tmp_path, "phase_done", changes, phase="train")["rounds"]


def test_a_phase_that_begins_too_early_or_goes_on_too_late_is_named(tmp_path: Path) -> None:
    assert "begins before moments has ended" in played(tmp_path / "a", "phase_done", [], phase="moments")["rounds"]
    player = Player(phases=(("moments", 1), ("train", 1), ("moments", 1)))
    assert "goes on after its end" in failing(verify(player.play(tmp_path / "b")))["rounds"]


def test_a_round_without_its_ingress_or_with_one_before_it_opened_is_named(tmp_path: Path) -> None:
    text = played(tmp_path / "a", "ingress", [{"round": 7}], phase="train", round=1, site="basel")["rounds"]
    assert "train round 7 before it was opened" in text
    assert "never opened" in played(tmp_path / "b", "egress", [{"round": 7}], phase="train", round=1, site="basel")["rounds"]


@pytest.mark.parametrize("change", [{"receipt": "ab" * 32}, {"round": 7}])
def test_a_state_adopted_without_its_closing_is_named(tmp_path: Path, change: Fields) -> None:
    assert "that was not closed with its message" in played(tmp_path, "adopted", [change], phase="train", round=1, site="basel")["rounds"]


class Short(Player):
    """Misses the quorum once in the second round of training, then asks the same state again."""

    def round(self, phase: str, number: int, last: bool = False, attempt: int = 0) -> None:
        if (phase, number, attempt) == ("train", 1, 0):
            turn = {"phase": phase, "round": number, "attempt": 0}
            asked = {
                "ask": some("ask", phase, number),
                "layout": self.layout,
                "state": self.state,
                "roster": some(self.sites),
                "sites": 2,
                "due": 60,
            }
            self.add("study", "round_open", **turn, **asked)
            self.answer("aarau", turn)
            self.add("study", "refusal", site="basel", **turn, where="deadline", reason="absent", remedy="start it")
            self.add("study", "round_short", **turn, sites=1, quorum=2)
            attempt = 1
        super().round(phase, number, last, attempt)


def test_a_missed_quorum_is_followed_by_the_next_attempt_of_the_same_state(tmp_path: Path) -> None:
    report = verify(Short().play(tmp_path))
    assert failing(report) == {}


class Restarted(Player):
    """Is killed in an open round and opens it again after the restart."""

    said = True

    def round(self, phase: str, number: int, last: bool = False, attempt: int = 0) -> None:
        if (phase, number) == ("train", 1):
            turn = {"phase": phase, "round": number, "attempt": 0}
            asked = {
                "ask": some("ask", phase, number),
                "layout": self.layout,
                "state": self.state,
                "roster": some(self.sites),
                "sites": 2,
                "due": 60,
            }
            self.add("study", "round_open", **turn, **asked)
            if self.said:
                self.add("study", "resumed", phase=phase, round=number)
        super().round(phase, number, last, attempt)


def test_a_round_may_open_again_after_a_restart_that_was_recorded(tmp_path: Path) -> None:
    assert failing(verify(Restarted().play(tmp_path / "a"))) == {}
    silent = Restarted()
    silent.said = False
    assert "opens while train round 1 is open" in failing(verify(silent.play(tmp_path / "b")))["rounds"]


def test_an_open_round_and_an_unended_phase_are_missing_evidence(tmp_path: Path) -> None:
    def rounds(report: Report) -> tuple[Verdict, str]:
        return next((line.verdict, line.text) for line in report.lines if line.name == "rounds")

    player = Player(release=False, phases=(("moments", 1),))
    player.play(tmp_path)
    turn = {"phase": "train", "round": 0, "attempt": 0}
    asked = {"ask": some("ask"), "layout": player.layout, "state": player.state, "roster": some("r"), "sites": 2, "due": 60}
    player.add("study", "round_open", **turn, **asked)
    verdict, text = rounds(verify(player.export(tmp_path)))
    assert verdict is Verdict.INCOMPLETE and "train round 0 is still open" in text
