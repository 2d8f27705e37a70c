from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import small
from wardround.coordinator import events
from wardround.coordinator.store import Store
from wardround.study.errors import StoreError
from wardround.study.task import RoundClosed


class Stop(Exception):
    """Stands for a killed process: nothing after it runs."""


def test_a_study_stopped_after_any_round_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    calm = small(tmp_path / "calm")
    wanted = {name: one.digest for name, one in calm.run().items()}
    closed = sum(isinstance(event, events.RoundClosed) for event in calm.seen)
    for stop in range(closed):
        folder = tmp_path / f"stopped{stop}"
        folder.mkdir()
        study, left = small(folder), [stop]

        def watch(event: events.Event, left: list[int] = left) -> None:
            if isinstance(event, events.Answered):
                if left[0] == 0:
                    raise Stop
            elif isinstance(event, events.RoundClosed):
                left[0] -= 1

        study.book.watch = watch
        with pytest.raises(Stop):
            study.run()
        study.store.close()
        again = small(folder)
        assert {name: one.digest for name, one in again.run().items()} == wanted
        again.store.close()
        shutil.rmtree(folder)


def test_every_site_sees_every_closing_once_it_answers(tmp_path: Path) -> None:
    study = small(tmp_path)
    study.run()
    for place in study.places.values():
        assert set(place.site.state.mine()) == {"local", "test"}
        adopted = [entry["phase"] for entry in place.site.log.entries() if entry["t"] == "adopted"]
        assert adopted == ["local", "test"]


def test_the_study_log_tells_the_rounds_in_order(tmp_path: Path) -> None:
    study = small(tmp_path)
    study.run()
    entries = list(study.book.log.entries())
    rounds = [(entry["phase"], entry["round"]) for entry in entries if entry["t"] == "round_close"]
    assert rounds == [("moments", 0), *(("train", number) for number in range(4)), ("local", 0), ("test", 0)]
    assert [entry["phase"] for entry in entries if entry["t"] == "phase_done"] == ["moments", "train", "local", "test"]
    history = study.store.history()
    assert [row["phase"] for row in history] == [phase for phase, _ in rounds]
    assert all(row["bytes_up"] > 0 and row["bytes_down"] > 0 for row in history)
    assert [row["auroc"] is not None for row in history] == [phase == "train" for phase, _ in rounds]


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    first = Store(tmp_path / "state.sqlite")
    first.put_meta("a", b"1")
    with pytest.raises(StoreError, match="Another process"):
        Store(tmp_path / "state.sqlite").put_meta("a", b"2")
    first.close()


def test_a_damaged_store_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path / "state.sqlite")


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    closing = RoundClosed("train", 1, 0, ("a", "b"), "t", "s", "signature")
    store.put_closing(0, closing)
    store.put_delivered("north", 3)
    store.commit()
    store.put_meta("lost", b"x")
    store.close()
    store = Store(tmp_path / "state.sqlite")
    assert store.closings() == [closing] and store.delivered() == {"north": 3} and store.meta("lost") is None
    assert (tmp_path / "state.sqlite").stat().st_mode & 0o077 == 0
