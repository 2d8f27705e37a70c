from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

import pytest

from tests.record.player import key
from wardround.record import note
from wardround.record.log import Log
from wardround.record.merkle import EMPTY_ROOT, Tree, leaf_hash, verify_consistency, verify_inclusion
from wardround.record.note import Checkpoint, Signer
from wardround.study.errors import WardroundError

SIGNER = Signer("study.example/s", key("study"))


def opened(connection: sqlite3.Connection, origin: str = "study.example/s") -> Log:
    return Log(connection, origin, SIGNER, "s", clock=lambda: 1_795_000_000.7)


def test_an_entry_says_what_its_log_knows() -> None:
    log = opened(sqlite3.connect(":memory:"))
    logged = log.append("stopped", reason="asked to")
    (entry,) = log.entries()
    assert entry == {"v": 1, "t": "stopped", "study": "s", "seq": 0, "ts": "2026-11-18T11:06:40Z", "reason": "asked to"}
    (line,) = log.lines()
    assert (logged.index, logged.size, logged.entry, logged.root) == (0, 1, leaf_hash(line).hex(), leaf_hash(line).hex())
    assert logged.head == log.head


def test_heads_proofs_and_checkpoint_speak_of_the_lines() -> None:
    log = opened(sqlite3.connect(":memory:"))
    assert log.head == (0, EMPTY_ROOT.hex())
    heads = [log.append("resumed", phase="train", round=number).head for number in range(20)]
    tree = Tree(leaf_hash(line) for line in log.lines())
    assert heads == [(size, tree.root(size).hex()) for size in range(1, 21)]
    assert Checkpoint.parse(note.open(log.checkpoint(), [SIGNER.verifier])) == Checkpoint(log.origin, 20, heads[-1][1])
    verify_inclusion(leaf_hash(list(log.lines())[7]), 7, 20, log.inclusion_proof(7), tree.root())
    verify_consistency(6, tree.root(6), 20, tree.root(), log.consistency_proof(6))


def test_many_logs_share_one_database() -> None:
    connection = sqlite3.connect(":memory:")
    logs = [opened(connection, f"study.example/{name}") for name in "ab"]
    for number in range(3):
        logs[0].append("stopped", reason=str(number))
    logs[1].append("stopped", reason="other")
    assert [log.head[0] for log in logs] == [3, 1]
    assert logs[0].head == opened(connection, "study.example/a").head


@pytest.mark.parametrize("isolation", ["DEFERRED", None])
def test_nothing_is_committed_here_and_a_rollback_is_noticed(tmp_path: Path, isolation: Literal["DEFERRED"] | None) -> None:
    connection = sqlite3.connect(tmp_path / "db", isolation_level=isolation)
    log = opened(connection)
    connection.execute("BEGIN")
    log.append("stopped", reason="kept")
    connection.commit()
    kept = log.head
    connection.execute("BEGIN")
    log.append("stopped", reason="lost")
    assert opened(sqlite3.connect(tmp_path / "db")).head == kept
    connection.rollback()
    assert log.head == kept
    again = log.append("stopped", reason="other")
    assert (again.index, again.size) == (1, 2)
    connection.commit()
    assert [entry["reason"] for entry in opened(sqlite3.connect(tmp_path / "db")).entries()] == ["kept", "other"]


def test_a_rollback_that_takes_the_table_is_survived() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("BEGIN")
    log = opened(connection)
    log.append("stopped", reason="lost")
    connection.execute("ROLLBACK")
    assert list(log.lines()) == []
    assert log.append("stopped", reason="first").index == 0


def test_entries_of_another_object_on_the_same_log_are_noticed() -> None:
    connection = sqlite3.connect(":memory:")
    one, two = opened(connection), opened(connection)
    one.append("stopped", reason="one")
    two.append("stopped", reason="two")
    assert one.append("stopped", reason="three").index == 2
    assert one.head == two.head


def test_a_full_disk_leaves_the_log_as_it_was() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    log = opened(connection)
    log.append("stopped", reason="kept")
    kept = log.head
    connection.execute("PRAGMA query_only = 1")
    with pytest.raises(sqlite3.OperationalError):
        log.append("stopped", reason="lost")
    connection.execute("PRAGMA query_only = 0")
    assert log.head == kept
    assert log.append("stopped", reason="next").index == 1


def test_an_entry_that_does_not_fit_adds_nothing() -> None:
    log = opened(sqlite3.connect(":memory:"))
    for type, fields in (("stopped", {}), ("stopped", {"reason": "x", "more": 1}), ("nothing", {}), ("stopped", {"reason": "x", "seq": 5})):
        with pytest.raises(WardroundError):
            log.append(type, **fields)
    assert log.head[0] == 0
