"""Nobody answers before having signed the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.record.player import Player, failing, key, some
from wardround.record import envelope
from wardround.record.verify import verify
from wardround.study.canonical import canonical

Fields = dict[str, Any]


def played(directory: Path, type: str, **change: Any) -> dict[str, str]:
    def twist(log: str, name: str, fields: Fields) -> list[Fields]:
        return [{**fields, **change}] if name == type and fields.get("site") != "aarau" else [fields]

    return failing(verify(Player(twist=twist).play(directory)))


def test_another_plan_beside_the_record_is_named(tmp_path: Path) -> None:
    directory = Player().play(tmp_path)
    (directory / "record/protocol.json").write_bytes(b"{}")
    assert "record/protocol.json" in failing(verify(directory))["protocol"]


def test_a_plan_recorded_late_or_twice_is_named(tmp_path: Path) -> None:
    def twice(log: str, name: str, fields: Fields) -> list[Fields]:
        return [fields, dict(fields)] if name == "protocol" else [fields]

    def never(log: str, name: str, fields: Fields) -> list[Fields]:
        return [] if name == "protocol" else [fields]

    assert "second time" in failing(verify(Player(twist=twice).play(tmp_path / "a")))["protocol"]
    assert "does not begin with the protocol" in failing(verify(Player(twist=never).play(tmp_path / "b")))["protocol"]


@pytest.mark.parametrize("type", ["approval", "approval_seen", "egress"])
def test_entries_that_name_another_plan_are_named(tmp_path: Path, type: str) -> None:
    assert "basel names another protocol" in played(tmp_path, type, protocol=some("other"))["protocol"]


@pytest.mark.parametrize(
    "sealed",
    [
        envelope.seal(envelope.APPROVAL, canonical({"protocol": some("other"), "site": "basel", "role": "data protection"}), key("basel")),
        envelope.seal(envelope.APPROVAL, b"yes", key("basel")),
        envelope.seal(envelope.APPROVAL, b"yes", key("aarau")),
        envelope.seal(envelope.CLOSING, b"yes", key("basel")),
    ],
    ids=["other plan", "other words", "other key", "other kind"],
)
def test_a_signature_that_does_not_approve_this_plan_is_named(tmp_path: Path, sealed: Any) -> None:
    assert "the signature of basel does not approve" in played(tmp_path, "approval", envelope=sealed)["approvals"]


def test_a_role_that_was_not_signed_is_named(tmp_path: Path) -> None:
    assert "does not approve" in played(tmp_path, "approval", role="lead")["approvals"]


def test_an_approval_that_is_not_the_sites_is_named(tmp_path: Path) -> None:
    assert "not the approval in the log of basel" in played(tmp_path / "a", "approval_seen", entry="ab" * 32)["approvals"]
    found = played(tmp_path / "b", "approval_seen", head=(0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
    assert "not the approval in the log of basel" in found["approvals"]


@pytest.mark.parametrize(
    ("type", "says"),
    [
        ("approval_seen", "was not seen before the first round"),
        ("join", "did not join before the first round"),
        ("approval", "did not approve before"),
    ],
)
def test_what_comes_late_or_never_is_named(tmp_path: Path, type: str, says: str) -> None:
    held: list[tuple[str, Fields]] = []

    def later(log: str, name: str, fields: Fields) -> list[Fields]:
        if name == type and fields["site"] == "basel":
            held.append((log, fields))
            return []
        return [fields]

    player = Player(twist=later)
    player.play(tmp_path)
    assert says in failing(verify(tmp_path))["approvals"]
    for log, fields in held:
        player.logs[log].append(type, **fields)
    assert says in failing(verify(player.export(tmp_path)))["approvals"]
