"""What a broken or hostile site sends is refused by name, and the model is the one that the others make without it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engines.faulty import Faulty, drop, forge
from tests.support import protocol, rows, small
from wardround.study.dataset import Dataset
from wardround.study.errors import QuorumNotMet
from wardround.study.task import Task, Update

Arrays = dict[str, np.ndarray]


def fresh(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def reference(tmp_path: Path) -> str:
    """Return the model that three of four sites make when the fourth never answers."""
    return small(fresh(tmp_path, "reference"), wrap=lambda engine: Faulty(engine, drop("site1"))).run()["train"].digest


FORGERIES: dict[str, Callable[[Arrays], Arrays]] = {
    "wrong shape": lambda found: {name: np.zeros(3, dtype=value.dtype) for name, value in found.items()},
    "wrong type": lambda found: {name: value.astype(np.float64) for name, value in found.items()},
    "a name missing": lambda found: dict(list(found.items())[1:]),
    "a name too many": lambda found: {**found, "more": np.zeros(1, dtype=np.int32)},
    "beyond the bound": lambda found: {name: np.full(value.shape, np.iinfo(value.dtype).max, value.dtype) for name, value in found.items()},
    "below the bound": lambda found: {name: np.full(value.shape, np.iinfo(value.dtype).min, value.dtype) for name, value in found.items()},
}


@pytest.mark.parametrize("how", sorted(FORGERIES))
def test_what_a_hostile_site_forges_is_refused_by_name(tmp_path: Path, how: str) -> None:
    study = small(fresh(tmp_path, "forged"))
    study.engine = Faulty(study.engine, forge("site1", FORGERIES[how], study.places["site1"].site.keys.signing))
    done = study.run()
    assert {refused.site for refused in study.refused} == {"site1"}
    assert {refused.where for refused in study.refused if refused.phase != "test"} == {"admit"}
    assert done["train"].digest == reference(tmp_path)


@pytest.mark.parametrize("value", [np.inf, 1e30])
def test_a_site_whose_rows_make_nonsense_is_refused_by_its_own_gate(tmp_path: Path, value: float) -> None:
    """A snapshot with nonsense in it (which the loader would refuse) makes NaN or huge updates; the others go on."""
    data = {f"site{number}": rows(number, 60 + 7 * number) for number in range(4)}
    broken = data["site1"]
    bad = Dataset({**broken.columns, "a": np.full(len(broken), value)}, broken.patient, broken.role)
    study = small(fresh(tmp_path, "nan"), protocol(), {**data, "site1": bad})
    done = study.run()
    assert {refused.site for refused in study.refused} == {"site1"}
    assert {refused.where for refused in study.refused} <= {"release", "answer"}
    assert all(np.all(np.isfinite(one)) for one in done["train"].results.values() if one.dtype == np.float32)


def test_an_update_that_is_not_signed_by_its_site_is_refused(tmp_path: Path) -> None:
    def unsigned(update: Update) -> Update:
        return replace(update, signature="00" * 64) if update.site == "site1" else update

    study = small(fresh(tmp_path, "unsigned"), wrap=lambda engine: Faulty(engine, unsigned))
    done = study.run()
    assert {refused.site for refused in study.refused} == {"site1"}
    assert done["train"].digest == reference(tmp_path)


def test_a_body_other_than_the_committed_one_is_refused(tmp_path: Path) -> None:
    def swapped(update: Update) -> Update:
        assert isinstance(update.body, bytes)
        return replace(update, body=update.body[:-1] + bytes([update.body[-1] ^ 1])) if update.site == "site1" else update

    study = small(fresh(tmp_path, "swapped"), wrap=lambda engine: Faulty(engine, swapped))
    assert study.run()["train"].digest == reference(tmp_path)
    reasons = {refused.reason for refused in study.refused if refused.phase != "test"}
    assert reasons == {"the payload is not what the site committed to"}


@pytest.mark.parametrize("change", [{"salt": "zz"}, {"salt": 5}, {"entry": "f" * 63}, {"index": -1}, {"index": 2**60}, {"size": "3"}])
def test_a_receipt_that_is_not_well_formed_is_refused_by_name(tmp_path: Path, change: dict[str, object]) -> None:
    def malformed(update: Update) -> Update:
        return replace(update, receipt=replace(update.receipt, **change)) if update.site == "site1" else update  # type: ignore[arg-type]

    study = small(fresh(tmp_path, "malformed"), wrap=lambda engine: Faulty(engine, malformed))
    assert study.run()["train"].digest == reference(tmp_path)
    assert {refused.site for refused in study.refused} == {"site1"}


def test_one_hostile_site_cannot_cut_training_short(tmp_path: Path) -> None:
    """Where the quorum needs everybody, a forged signature is an absence to be seen to, not the end of training."""
    study = small(tmp_path, protocol(rounds={"quorum": 4, "attempts": 2}))
    asked: list[tuple[str, int]] = []

    def unsigned(update: Update) -> Update:
        return replace(update, signature="00" * 64) if update.site == "site1" and asked[-1] == ("train", 2) else update

    study.engine = Faulty(study.engine, unsigned)
    inner = study.engine.send

    def send(tasks: Sequence[Task]) -> None:
        asked.append((tasks[0].phase, tasks[0].round))
        inner(tasks)

    study.engine.send = send  # type: ignore[method-assign]
    with pytest.raises(QuorumNotMet):
        study.run()
    assert asked[-2:] == [("train", 2)] * 2 and study.store.done("train") is None


def test_a_negative_count_is_refused(tmp_path: Path) -> None:
    def negative(found: Arrays) -> Arrays:
        return {name: np.asarray(-150, dtype=value.dtype) if name == "examples" else value for name, value in found.items()}

    study = small(fresh(tmp_path, "negative"))
    study.engine = Faulty(study.engine, forge("site1", negative, study.places["site1"].site.keys.signing))
    study.run()
    assert {(refused.site, refused.reason) for refused in study.refused if refused.phase == "train"} == {
        ("site1", "examples is a count and holds a negative number")
    }


def test_order_and_repeats_change_no_bit(tmp_path: Path) -> None:
    calm = small(fresh(tmp_path, "calm")).run()
    for seed in range(3):
        dice = random.Random(seed)
        stormy = small(
            fresh(tmp_path, f"storm{seed}"),
            wrap=lambda engine: Faulty(engine, lambda update: update, lambda replies: dice.sample(replies * 2, 2 * len(replies))),  # noqa: B023
        )
        done = stormy.run()
        assert not stormy.refused
        assert {name: one.digest for name, one in done.items()} == {name: one.digest for name, one in calm.items()}


def test_absent_sites_are_named_and_the_quorum_decides(tmp_path: Path) -> None:
    agreed = protocol(rounds={"quorum": 4, "due_seconds": 60, "attempts": 2})
    study = small(tmp_path, agreed, wrap=lambda engine: Faulty(engine, drop("site2")))
    with pytest.raises(QuorumNotMet):
        study.run()
    assert [(refused.site, refused.where) for refused in study.refused] == [("site2", "deadline")] * 2
    study.store.close()
    back = small(tmp_path, agreed)  # the site is back: the same command goes on
    done = back.run()
    assert not back.refused
    assert done["train"].digest == small(fresh(tmp_path, "calm"), agreed).run()["train"].digest
