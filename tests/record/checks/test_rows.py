"""Which snapshot each answer was computed on: the newest of its site, and in a plan with frozen data only withdrawals bring another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.record.player import PROTOCOL, Player, some
from wardround.record.entries import band
from wardround.record.report import Line, Verdict
from wardround.record.verify import verify
from wardround.study.canonical import canonical, digest

FIRST, SECOND = some("first"), some("second")


def snapshot(data: str, why: str) -> dict[str, Any]:
    counts = {"rows": band(200), "patients": band(150), "withdrew": band(3), "changed": band(0)}
    return {"t": "snapshot", "site": "aarau", "snapshot": data, "source": "table", **counts, "why": why}


def rows_of(tmp_path: Path, second: str | dict[str, Any] | None, train: str, moments: str = FIRST, plan: bytes = PROTOCOL) -> Line:
    """Play a study in which aarau brings a snapshot, and a second one, or another entry, after the moments.

    `train` is what later answers name; `second` is why there is a second, or its entry, or None where aarau brings no snapshot at all.
    """

    def twist(log: str, type: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
        if log == "study":
            return [fields]
        if log != "aarau":
            if type == "snapshot":
                return [{**snapshot(some(log), "approval"), "site": log}]
            return [{**fields, "data": some(log)}] if type == "egress" else [fields]
        if type == "snapshot":
            return [] if second is None else [snapshot(FIRST, "approval")]
        if type == "egress":
            return [{**fields, "data": moments if fields["phase"] == "moments" else train}]
        if type == "adopted" and fields["phase"] == "moments":
            return [fields, *([] if second is None else [snapshot(SECOND, second) if isinstance(second, str) else dict(second)])]
        return [fields]

    directory = Player(twist=twist).play(tmp_path)
    if plan != PROTOCOL:
        (directory / "record" / "protocol.json").write_bytes(plan)
    return next(line for line in verify(directory).lines if line.name == "rows")


def test_answers_on_the_newest_snapshot_pass(tmp_path: Path) -> None:
    line = rows_of(tmp_path, "withdrawal", SECOND)
    assert line.verdict is Verdict.PASS, line
    assert line.text == "3 snapshots of 2 sites; each answer names the newest before it."


@pytest.mark.parametrize("late", [True, False])
def test_an_answer_on_rows_of_a_patient_who_had_withdrawn_fails_and_so_does_one_on_rows_that_were_not_there_yet(
    tmp_path: Path, late: bool
) -> None:
    line = rows_of(tmp_path, "withdrawal", FIRST) if late else rows_of(tmp_path, "withdrawal", SECOND, moments=SECOND)
    assert line.verdict is Verdict.FAIL and "an answer of aarau was computed on another snapshot than the newest" in line.text
    assert "record/sites/aarau/entries.jsonl line" in line.text


def test_newer_rows_fail_where_the_plan_says_frozen_and_pass_where_it_says_rolling(tmp_path: Path) -> None:
    line = rows_of(tmp_path / "frozen", "rolling", SECOND)
    assert line.verdict is Verdict.FAIL and "the plan's data are frozen" in line.text
    rolling = canonical({"study": "played", "data": "rolling", "phases": ["moments", "train"]})
    assert digest(rolling) != digest(PROTOCOL)
    assert rows_of(tmp_path / "rolling", "rolling", SECOND, plan=rolling).verdict is Verdict.PASS


OLD = {"t": "snapshot", "site": "aarau", "snapshot": SECOND, "patients": band(150), "source": "table"}


@pytest.mark.parametrize(
    ("second", "train", "wrong"),
    [
        (OLD, FIRST, "has an entry of an older release, which names no snapshot, after a newer one"),
        (OLD, some("never"), "has an entry of an older release, which names no snapshot, after a newer one"),
        (None, FIRST, "aarau answered before it had brought a snapshot"),
        ({**snapshot(SECOND, "withdrawal"), "changed": band(10)}, SECOND, "its rows or patients grew, or rows changed"),
        ({**snapshot(SECOND, "withdrawal"), "rows": band(500)}, SECOND, "its rows or patients grew, or rows changed"),
        ({**snapshot(SECOND, "withdrawal"), "patients": band(200)}, SECOND, "its rows or patients grew, or rows changed"),
        (snapshot(SECOND, "approval"), SECOND, "for another reason than a withdrawal"),
    ],
)
def test_the_check_cannot_be_passed_around(tmp_path: Path, second: dict[str, Any] | None, train: str, wrong: str) -> None:
    line = rows_of(tmp_path, second, train)
    assert line.verdict is Verdict.FAIL and wrong in line.text, line


def test_a_withdrawal_may_make_the_bands_fall(tmp_path: Path) -> None:
    fewer = {**snapshot(SECOND, "withdrawal"), "rows": band(190), "patients": band(90)}
    assert rows_of(tmp_path, fewer, SECOND).verdict is Verdict.PASS


def test_records_that_do_not_say_it_are_told_apart_from_those_that_do(tmp_path: Path) -> None:
    line = next(line for line in verify(Player().play(tmp_path)).lines if line.name == "rows")
    assert line.verdict is Verdict.INCOMPLETE
    assert line.text.startswith("the log of aarau does not say on which snapshot its answers were computed")
