"""Evidence of a broken step is kept once, for the hospital's own user, and cannot fill the disk."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from wardround.site import evidence

TASK = "sha256:" + "1" * 64


def test_what_is_kept_is_what_came_and_what_was_answered(tmp_path: Path) -> None:
    assert evidence.kept(tmp_path) == []
    evidence.keep(tmp_path, TASK, b'{"a":1}', None, b'{"b":2}')
    evidence.keep(tmp_path, TASK, b"later", b"later", b"later")
    (path,) = evidence.kept(tmp_path)
    assert path == tmp_path / "evidence" / ("1" * 64 + ".json")
    assert json.loads(path.read_bytes()) == {"task": '{"a":1}', "before": None, "refusal": '{"b":2}'}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_first_files_are_kept_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST", 2)
    for number in range(4):
        evidence.keep(tmp_path, f"sha256:{number}", b"{}", None, b"{}")
    assert [path.name for path in evidence.kept(tmp_path)] == ["0.json", "1.json"]
