"""The ledger of what studies were told outlives crashes, and says so where it has lost something; it never begins anew in silence."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.site.counted import asking, join, phase, ready, study
from tests.site.test_telling import SEX, SHIFTED, TENS, table, told
from wardround import hospital
from wardround.bringing import prepare
from wardround.site import ledger as ledgers
from wardround.site.folder import SiteFolder
from wardround.site.ledger import FILE, KEY, Ledger, cohorts
from wardround.site.noted import FILE as NOTED
from wardround.study.errors import StoreError
from wardround.study.task import Refusal, Update

CRASH = """
import os, signal, sys
from pathlib import Path
from wardround.site.ledger import Ledger
columns = "protocol, snapshot, study, mode, identifier, tags, patients"
with Ledger(Path(sys.argv[1])).writing() as connection:
    for number in range(8):
        row = (str(number), "s", "x", "plain", "patient", "[]", os.urandom(800_000))
        connection.execute(f"INSERT INTO cohorts ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("lost", [KEY, FILE])
def test_one_file_without_the_other_is_never_begun_anew(tmp_path: Path, lost: str) -> None:
    told(tmp_path / "a", TENS)
    (tmp_path / "ledger" / lost).unlink()
    before = sorted(path.name for path in (tmp_path / "ledger").iterdir())
    with pytest.raises(StoreError, match=f"no {lost}") as error:
        prepare(join(tmp_path / "b", SHIFTED, table()))
    assert "allow no further study" in error.value.remedy
    assert sorted(path.name for path in (tmp_path / "ledger").iterdir()) == before


def test_another_ledgers_key_is_found_out(tmp_path: Path) -> None:
    told(tmp_path / "a", TENS)
    Ledger(tmp_path / "other").make()
    shutil.copy(tmp_path / "other" / KEY, tmp_path / "ledger" / KEY)
    with pytest.raises(StoreError, match="belongs to another key"):
        prepare(join(tmp_path / "b", SHIFTED, table()))


def test_making_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    made = Ledger(tmp_path / "ledger").make()
    (tmp_path / "ledger" / KEY).unlink()
    name = made.make().name
    assert made.make().name == name, "what is there stays"
    (tmp_path / "ledger" / KEY).unlink()
    (tmp_path / "ledger" / FILE).write_bytes(b"")
    with made.make().reading() as connection:
        assert cohorts(connection) == []


def older(path: Path) -> None:
    shutil.rmtree(path / "ledger")
    shutil.copytree(path / "copy", path / "ledger")


def fresh(path: Path) -> None:
    shutil.rmtree(path / "ledger")
    Ledger(path / "ledger").make()


@pytest.mark.parametrize("loses", [older, fresh])
def test_a_study_that_was_answered_finds_out_that_its_ledger_has_forgotten(tmp_path: Path, loses: Callable[[Path], None]) -> None:
    two = study(phase("histogram", 'fields = ["sex"]', "one") + phase("describe", 'fields = ["age"]'), "two")
    told(tmp_path / "zero", SEX)
    shutil.copytree(tmp_path / "ledger", tmp_path / "copy")
    folder = ready(join(tmp_path / "a", two, table()))
    with asking(folder) as asked:
        assert isinstance(asked.ask("one"), Update)
    loses(tmp_path)
    with asking(folder) as asked:
        found = asked.ask("describe")
    assert isinstance(found, Refusal) and found.reason == "the hospital's ledger cannot be used"
    with pytest.raises(StoreError, match="has forgotten what this study was told"):
        prepare(SiteFolder(folder.path))
    assert (folder.path / NOTED).stat().st_mode & 0o077 == 0


def test_a_busy_ledger_is_no_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "WAIT", 0.1)
    folder = ready(join(tmp_path / "a", SEX, table()))
    with closing(sqlite3.connect(tmp_path / "ledger" / FILE)) as other, asking(folder) as asked:
        other.execute("BEGIN IMMEDIATE")
        found = asked.ask("histogram")
        assert isinstance(found, Refusal) and found.again and found.reason == "the hospital's ledger is busy"
        other.rollback()
        assert isinstance(asked.ask("histogram"), Update)


def test_a_crash_in_the_middle_of_writing_leaves_a_ledger_that_can_be_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger").make()
    done = subprocess.run([sys.executable, "-c", CRASH, str(ledger.folder)], check=False)
    assert done.returncode == -signal.SIGKILL and (ledger.folder / f"{FILE}-journal").stat().st_size > 0, "or nothing is tested"
    with ledger.reading() as connection:
        assert cohorts(connection) == []
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM cohorts")


def test_a_ledger_put_back_from_a_copy_is_for_this_user_only(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger").make()
    for name in (KEY, FILE):
        os.chmod(ledger.folder / name, 0o644)
    ledger.make()
    assert all(path.stat().st_mode & 0o077 == 0 for path in ledger.folder.iterdir())


def test_who_withdrew_stays_in_the_ledger_and_one_withdrawal_bars_a_later_study(tmp_path: Path) -> None:
    """The two totals would tell of exactly that patient; with others left out too, drawn at random, they tell of k."""
    told(tmp_path / "a", SEX)
    one_less = SEX.changed(study="later")
    folder = join(tmp_path / "b", one_less, table()[1:])
    prepare(folder)
    with pytest.raises(Exception, match="drawn at random"):
        hospital.approve(folder, "officer")
    ready(join(tmp_path / "c", one_less.changed(study="fewer"), table()[10:]))
