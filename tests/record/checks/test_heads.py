"""The logs commit to each other, and to the layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.record.player import LAYOUT, Player, failing, some
from wardround.record.merkle import EMPTY_ROOT
from wardround.record.verify import verify
from wardround.study.canonical import digest


def played(directory: Path, type: str, **change: Any) -> dict[str, str]:
    def twist(log: str, name: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**fields, **change}] if name == type and fields.get("site", "basel") == "basel" else [fields]

    return failing(verify(Player(twist=twist).play(directory)))


@pytest.mark.parametrize(
    ("type", "field", "log"), [("egress", "study_head", "study"), ("ingress", "head", "basel"), ("approval_seen", "head", "basel")]
)
def test_heads_that_are_not_those_of_the_log_are_named(tmp_path: Path, type: str, field: str, log: str) -> None:
    text = played(tmp_path / "a", type, **{field: (2, "ab" * 32)})["cross-links"]
    assert f"{log} log: its first 2 entries are not those that were seen" in text
    text = played(tmp_path / "b", type, **{field: (1000, "ab" * 32)})["cross-links"]
    assert f"{log} log: 1000 entries were seen" in text


def test_a_head_older_than_the_message_is_named(tmp_path: Path) -> None:
    assert "older than the message" in played(tmp_path, "ingress", head=(0, EMPTY_ROOT.hex()))["cross-links"]


def test_layouts_missing_altered_or_superfluous_are_named(tmp_path: Path) -> None:
    directory = Player().play(tmp_path)
    path = directory / f"record/layouts/{digest(LAYOUT).removeprefix('sha256:')}.json"
    path.write_bytes(b"[]")
    assert "not what its name says" in failing(verify(directory))["layouts"]
    path.rename(path.with_name("00.json"))
    assert "it is missing" in failing(verify(directory))["layouts"]
    path.write_bytes(LAYOUT)
    path.with_name("00.json").rename(path.with_name(f"{digest(b'[]').removeprefix('sha256:')}.json"))
    assert "no entry names" in failing(verify(directory))["layouts"]
    assert "missing" in played(tmp_path / "b", "round_open", layout=some("x"))["layouts"]
