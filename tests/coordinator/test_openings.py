"""The attempt whose total is being opened is kept whole, in the round's transaction, and is not taken for another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wardround.coordinator import openings
from wardround.coordinator.openings import Door, Openings
from wardround.coordinator.store import Store
from wardround.record.commitment import commit
from wardround.study import arrays
from wardround.study.errors import StoreError
from wardround.study.files import Kept
from wardround.study.interfaces import Read, T
from wardround.study.task import Receipt, Refusal, State, Task, Update

TURN = ("train", 1, 4)
SUMS: dict[str, np.ndarray] = {"0/update/w": np.arange(9, dtype=np.uint32), "0/seal": np.arange(6, dtype=np.uint64)}
FACTS = {"attempts": [{"over": ""}], "refusals": [], "survivors": ["north", "south"]}
RECEIPT = Receipt("1" * 64, 3, 4, "2" * 64, "sha256:" + "3" * 64, "4" * 64)
SAID = Update("sha256:" + "5" * 64, "north", b"{}", {}, RECEIPT, "6" * 128)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state.sqlite")
    made.put_state(State("train", 1, {}), 5)
    made.commit()
    yield made
    with suppress(sqlite3.ProgrammingError):
        made.close()


def reopened(store: Store, folder: Path) -> Store:
    """Return the store as it is after the coordinator was killed."""
    store.close()
    return Store(folder / "state.sqlite")


@pytest.mark.parametrize("large", [False, True])
def test_an_attempt_outlives_the_coordinator_and_comes_next(
    large: bool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "LARGE", 0 if large else 2**20)
    Openings(store).put(TURN, FACTS, SUMS)
    again = reopened(store, tmp_path)
    found = Openings(again)
    assert found.turn() == TURN
    assert (again.state("train") or (None, -1))[1] == TURN[2], "its number comes again, and no other"
    standing = found.standing()
    assert dict(standing.facts) == FACTS and not standing.said
    assert {name: standing.sums[name].tolist() for name in SUMS} == {name: value.tolist() for name, value in SUMS.items()}
    assert (tmp_path / "opening.safetensors").exists() == large
    again.close()


@pytest.mark.parametrize("committed", [False, True])
def test_what_was_said_since_is_kept_with_the_entry_that_says_so(committed: bool, store: Store, tmp_path: Path) -> None:
    made = Openings(store)
    made.put(TURN, FACTS, SUMS)
    arrays.keep(SUMS, tmp_path / "said")
    made.add("open", SAID)
    fits = replace(RECEIPT, commit=commit(bytes.fromhex(RECEIPT.salt), Kept(tmp_path / "said")))
    made.add("open", Update(SAID.task, "south", Kept(tmp_path / "said"), {}, fits, ""))
    (tmp_path / "said").unlink()
    if committed:
        store.commit()
    again = reopened(store, tmp_path)
    said = Openings(again).standing().said
    assert [(stage, one.site) for stage, one in said] == ([("open", "north"), ("open", "south")] if committed else [])
    if committed:
        assert said[0][1] == SAID
        assert arrays.arrays_digest(arrays.from_bytes(said[1][1].body)) == arrays.arrays_digest(SUMS)
    again.close()


@pytest.mark.parametrize("left", [b"", None])
def test_a_message_whose_file_is_not_as_it_came_is_unheard_and_not_false(left: bytes | None, store: Store, tmp_path: Path) -> None:
    made = Openings(store)
    made.put(TURN, FACTS, SUMS)
    arrays.keep(SUMS, tmp_path / "said")
    fits = replace(RECEIPT, commit=commit(bytes.fromhex(RECEIPT.salt), Kept(tmp_path / "said")))
    made.add("open", Update(SAID.task, "south", Kept(tmp_path / "said"), {}, fits, ""))
    (kept,) = tmp_path.glob("opening.*")
    kept.unlink() if left is None else kept.write_bytes(left)
    assert not made.standing().said


def test_it_goes_with_the_closing_and_its_files_only_after_that(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openings, "LARGE", 0)
    made = Openings(store)
    made.put(TURN, FACTS, SUMS)
    made.tidy()
    made.drop()
    again = reopened(store, tmp_path)  # killed before the closing was durable
    assert Openings(again).standing().sums["0/seal"].tolist() == SUMS["0/seal"].tolist()
    Openings(again).drop()
    again.commit()
    Openings(again).tidy()
    assert Openings(again).turn() is None and not list(tmp_path.glob("opening*"))
    assert not Openings(again).bound("train", 1)
    again.close()


def test_a_total_that_never_came_out_binds_its_round_only(store: Store) -> None:
    made = Openings(store)
    made.put(TURN, FACTS, SUMS)
    made.drop(unopened=True)
    made.drop(unopened=True)
    assert made.bound("train", 1) == ["north", "south"]
    assert made.bound("train", 2) == made.bound("test", 1) == []


def test_sums_that_are_gone_are_said_to_be(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openings, "LARGE", 0)
    made = Openings(store)
    made.put(TURN, FACTS, SUMS)
    (tmp_path / "opening.safetensors").unlink()
    with pytest.raises(StoreError, match=r"is gone from opening\.safetensors") as found:
        made.standing()
    assert "copy" in found.value.remedy


def test_another_attempt_is_not_taken_up_and_what_is_false_is_noted_without_what_it_says(store: Store) -> None:
    made, told = Openings(store), list[Refusal]()
    refusal = Refusal("", "north", "admit", "it is not well formed", "")

    def admit(task: Task, update: Update, read: Read[T]) -> T | Refusal:
        return refusal

    door, other = (Door(admit, {}, made, turn, told.append) for turn in (TURN, ("train", 1, 5)))
    task = Task("small", "sha256:" + "0" * 64, *TURN, "open", "north", 60.0, "sha256:" + "1" * 64, "sha256:" + "2" * 64)
    assert door(task, SAID, lambda layout, body: None) is refusal and door.standing() is None
    door.keep(FACTS, SUMS)
    assert other.standing() is None
    door(task, SAID, lambda layout, body: None)
    standing = door.standing()
    assert standing is not None and [(stage, one.site, one.body) for stage, one in standing.said] == [("open", "north", b"")]
    door.tell([refusal])
    assert told == [refusal]
