"""Both sides must tell of the same messages: every way in which one side can lie alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.record.player import Player, failing, some
from wardround.record.report import Verdict
from wardround.record.verify import verify

Fields = dict[str, Any]


def when(log: str, type: str, change: Callable[[Fields], list[Fields]], **match: Any) -> Callable[[str, str, Fields], list[Fields]]:
    """Return a twist that changes the matching entries of one log."""

    def twist(at: str, name: str, fields: Fields) -> list[Fields]:
        wanted = (at, name) == (log, type) and all(fields[key] == value for key, value in match.items())
        return change(fields) if wanted else [fields]

    return twist


LAST = {"phase": "train", "round": 1, "site": "aarau"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("bytes", 7), ("kind", "ack"), ("commit", some("x")), ("task", some("x")), ("stage", "other"), ("layout", some("x"))],
)
def test_an_altered_message_is_named_with_its_field(tmp_path: Path, field: str, value: Any) -> None:
    player = Player(twist=when("study", "ingress", lambda fields: [{**fields, field: value}], **LAST))
    text = failing(verify(player.play(tmp_path)))["messages"]
    assert (
        f"altered: {field} of a message of aarau" in text
        and "train round 1" in text
        and "record/sites/aarau/entries.jsonl line 7, record/study/entries.jsonl line 16" in text
    )


def test_an_entry_altered_in_a_field_that_only_the_site_has_is_named(tmp_path: Path) -> None:
    player = Player()
    player.play(tmp_path)
    other = Player(twist=when("aarau", "egress", lambda fields: [{**fields, "examples": "<10"}], **LAST))
    other.play(tmp_path / "other")
    for name in ("entries.jsonl", "checkpoint"):
        (tmp_path / f"record/sites/aarau/{name}").write_bytes((tmp_path / f"other/record/sites/aarau/{name}").read_bytes())
    assert "altered: the entry of a message of aarau" in failing(verify(tmp_path))["messages"]


def test_a_message_that_the_site_did_not_log_is_named(tmp_path: Path) -> None:
    def unlogged(fields: Fields) -> list[Fields]:
        return [fields, {**fields, "entry": "ab" * 32, "index": fields["index"] + 1}]

    player = Player(twist=when("study", "ingress", unlogged, **LAST))
    assert "unlogged: a message of aarau" in failing(verify(player.play(tmp_path)))["messages"]


def test_a_message_received_twice_is_named(tmp_path: Path) -> None:
    player = Player(twist=when("study", "ingress", lambda fields: [fields, dict(fields)], **LAST))
    assert "duplicate: a message of aarau is received twice" in failing(verify(player.play(tmp_path)))["messages"]


def test_a_task_answered_twice_is_named(tmp_path: Path) -> None:
    player = Player(twist=when("aarau", "egress", lambda fields: [fields, dict(fields)], **LAST))
    assert "duplicate: aarau answered one task twice" in failing(verify(player.play(tmp_path)))["messages"]


def test_messages_received_in_another_order_are_named(tmp_path: Path) -> None:
    held: list[Fields] = []

    def later(at: str, name: str, fields: Fields) -> list[Fields]:
        if (at, name) == ("study", "ingress") and fields["site"] == "aarau":
            held.append(fields)
            return [] if len(held) == 2 else [fields, held[1]] if len(held) == 3 else [fields]
        return [fields]

    text = failing(verify(Player(twist=later).play(tmp_path)))["messages"]
    assert "reordered: a message of aarau is received after a later one" in text


def test_a_message_named_at_another_place_of_the_log_is_named(tmp_path: Path) -> None:
    player = Player(twist=when("study", "ingress", lambda fields: [{**fields, "index": fields["index"] - 1}], **LAST))
    assert "reordered: this message stands elsewhere in the log of aarau" in failing(verify(player.play(tmp_path)))["messages"]


def test_a_message_that_was_sent_and_denied_is_named(tmp_path: Path) -> None:
    player = Player(twist=when("study", "ingress", lambda fields: [], **LAST))
    assert "missing: a message of aarau was sent" in failing(verify(player.play(tmp_path)))["messages"]


def test_a_message_after_its_deadline_is_missing_evidence_and_no_contradiction(tmp_path: Path) -> None:
    class Late(Player):
        """aarau logs its answer, the coordinator sees it never and reports the deadline."""

        def round(self, phase: str, number: int, last: bool = False, attempt: int = 0) -> None:
            if phase == "train" and number == 0:
                silent, self.twist = self.twist, when("study", "ingress", lambda fields: [])
                self.answer("aarau", {"phase": phase, "round": number, "attempt": attempt})
                self.twist = silent
            super().round(phase, number, last, attempt)

    report = verify(Late(refuses={("aarau", "train", 0): "deadline"}).play(tmp_path))
    line = next(line for line in report.lines if line.name == "messages")
    assert failing(report) == {} and line.verdict is Verdict.INCOMPLETE and "missed its deadline" in line.text


def test_a_message_of_a_round_still_open_is_on_its_way(tmp_path: Path) -> None:
    def killed(at: str, name: str, fields: Fields) -> list[Fields]:
        return [] if name in ("ingress", "round_close", "adopted", "phase_done") and fields["phase"] == "train" else [fields]

    player = Player(phases=(("moments", 1), ("train", 1)), release=False, twist=killed)
    report = verify(player.play(tmp_path))
    line = next(line for line in report.lines if line.name == "messages")
    assert failing(report) == {} and line.verdict is Verdict.INCOMPLETE and "on its way" in line.text


def test_a_refusal_that_the_site_did_not_log_is_named(tmp_path: Path) -> None:
    player = Player(refuses={("basel", "train", 0): "answer"}, twist=when("basel", "refused", lambda fields: []))
    assert "unlogged: a refusal of basel" in failing(verify(player.play(tmp_path)))["messages"]
