from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.record.player import LAYOUT, PROTOCOL, Player, golden
from wardround.record import bundle
from wardround.study.canonical import digest
from wardround.study.errors import StoreError

GOLDEN = Path(__file__).parents[1] / "vectors/record/played"


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_the_export_of_the_golden_study_has_the_golden_bytes(tmp_path: Path) -> None:
    assert files(golden().play(tmp_path)) == files(GOLDEN)


def test_what_is_exported_is_read_back(tmp_path: Path) -> None:
    player = Player()
    found = bundle.read(player.play(tmp_path))
    assert found.problems == ()
    assert found.protocol == PROTOCOL and found.layouts == {digest(LAYOUT): LAYOUT}
    assert found.study.entries.splitlines() == list(player.logs["study"].lines())
    assert list(found.sites) == ["aarau", "basel"]
    assert found.sites["basel"].vkey.decode() == player.signer("basel").vkey + "\n"


def test_exporting_again_replaces_the_record_and_leaves_nothing_else(tmp_path: Path) -> None:
    player = Player()
    player.play(tmp_path)
    (tmp_path / "record/stray").write_text("x")
    (tmp_path / "record.new").mkdir()
    (tmp_path / "record.old").mkdir()
    player.export(tmp_path)
    assert bundle.read(tmp_path).problems == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "record", "report.html", "result.json"]


def test_a_failed_export_leaves_the_older_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player()
    player.play(tmp_path)
    before = files(tmp_path / "record")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="No space left"):
        player.export(tmp_path)
    assert files(tmp_path / "record") == before


def test_names_and_layouts_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    log = Player().logs["study"]
    with pytest.raises(StoreError, match="cannot name"):
        bundle.export(tmp_path, log, {"../a": log}, b"{}", {})
    with pytest.raises(StoreError, match="layout"):
        bundle.export(tmp_path, log, {}, b"{}", {digest(b"a"): b"b"})
    assert not list(tmp_path.iterdir())


def test_missing_and_strange_files_are_named_and_never_opened(tmp_path: Path) -> None:
    record = Player().play(tmp_path) / "record"
    (record / "protocol.json").unlink()
    (record / "study/vkey").unlink()
    (record / "study/vkey").symlink_to("checkpoint")
    (record / "study/more").write_text("x")
    (record / "empty").mkdir()
    (record / "sites/aarau/deep").mkdir()
    os.mkfifo(record / "sites/basel/pipe")
    os.mkfifo(os.fsencode(record) + b"/\xff\x1b[2J")
    (record / "sites/-x").mkdir()
    (record / "sites/-x/vkey").write_text("x")
    found = bundle.read(tmp_path)
    names = {problem.where for problem in found.problems}
    assert names == {
        *("record/protocol.json", "record/study/vkey", "record/study/more", "record/empty", "record/sites/aarau/deep"),
        *("record/sites/basel/pipe", "record/\\udcff\\x1b[2J", "record/sites/-x/vkey"),
    }
    assert all(name.isprintable() for name in names)
    assert found.protocol == b"" and found.study.vkey == b""


def test_no_record_at_all_is_a_problem_too(tmp_path: Path) -> None:
    assert {problem.where for problem in bundle.read(tmp_path / "nowhere").problems} >= {"record", "record/protocol.json"}


def test_an_empty_log_is_exported_and_read(tmp_path: Path) -> None:
    log = Player().logs["study"]
    bundle.export(tmp_path, log, {}, b"{}", {})
    found = bundle.read(tmp_path)
    assert found.problems == () and found.study.entries == b""
