from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from benchmarks.parts import spoiling
from benchmarks.parts.spoiling import BYTES, JSON, LINES, changes, files_of, sort_of, spoil
from tests.house.reading import ROOT
from wardround.record.report import Line, Report, Verdict

PLAYED = ROOT / "tests" / "vectors" / "record" / "played"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shutil.copytree(PLAYED, tmp_path / "run")


def test_every_mutation_is_found_and_put_back(run: Path) -> None:
    before = files_of(run)
    tally = spoil(run, 150, random.Random(0))
    assert tally.tried.total() == 150 and tally.missed == []
    assert files_of(run) == before
    assert {sort for sort, _ in tally.tried} == {"entries", "note", "key", "layout", "protocol", "result", "model", "report"}
    assert {kind for _, kind in tally.tried} == {*BYTES, *LINES, *JSON}


def test_what_a_verifier_overlooks_is_listed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoiling, "verify", lambda path: Report((Line("x", Verdict.INCOMPLETE, ""),)))
    tally = spoil(run, 5, random.Random(0))
    assert len(tally.missed) == 5 and tally.table().count("NOT FOUND") == 5


@pytest.mark.parametrize("kind", JSON)
def test_changed_json_is_still_json_in_its_own_form(kind: str) -> None:
    dice = random.Random(1)
    for name, data in files_of(PLAYED).items():
        change = changes(sort_of(name)).get(kind)
        if change is None:
            continue
        for _ in range(20):
            spoiled = change(data, dice)
            assert spoiled is not None
            lines = spoiled.splitlines() if name.endswith(".jsonl") else [spoiled]
            assert all(json.loads(line) is not None for line in lines)
            assert len(lines) == (len(data.splitlines()) if name.endswith(".jsonl") else 1)
