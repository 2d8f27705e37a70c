"""A worker process says of which class an error was, so that a hospital's gate can tell that and no more."""

from __future__ import annotations

from pathlib import Path

from tests.support import protocol, rows
from wardround.data.snapshot import write_snapshot
from wardround.engines.workers import Job, Pool
from wardround.study.streams import Stream
from wardround.study.task import Ask, Refusal


def test_a_workers_errors_come_with_their_class(tmp_path: Path) -> None:
    agreed = protocol()
    snapshot = write_snapshot(rows(1), agreed.contract, "table", tmp_path)[1]
    places = {"good": snapshot, "altered": tmp_path / "nowhere"}
    pool = Pool(1, agreed)
    try:
        jobs = [
            Job(site, places[site], phase, Ask({}, ()), {}, Stream.public(0)) for site, phase in (("altered", "moments"), ("good", "no"))
        ]
        found = [reply for _, reply in sorted(pool.run(jobs, 60), key=lambda one: one[0])]
    finally:
        pool.close()
    assert all(isinstance(reply, Refusal) for reply in found)
    kinds = [reply.kind for reply in found if isinstance(reply, Refusal)]
    assert kinds == ["VerificationError", "KeyError"]
    assert isinstance(found[1], Refusal) and found[1].reason == "the worker failed (KeyError)"
