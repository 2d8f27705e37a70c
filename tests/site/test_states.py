"""What stands behind a state is written down with it, and lost with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wardround.combining.secure.vouching import Behind
from wardround.site.states import States
from wardround.study.arrays import Stored, keep
from wardround.study.task import Done, State

GROUPS = Behind(False, "ab" * 32, ((3, ("a", "b", "c", "d")), (4, ("e", "f", "g", "h", "i"))))


@pytest.mark.parametrize("behind", [Behind(), Behind(False), GROUPS])
@pytest.mark.parametrize("done", [False, True])
def test_who_was_in_the_last_closing_outlives_the_gate(behind: Behind, done: bool, tmp_path: Path) -> None:
    arrays = {"x": np.arange(3.0)}
    states = States(tmp_path / "following")
    states.put(1, Done("train", 2, arrays) if done else State("train", 2, arrays), behind)
    assert states.behind(1) == behind
    states.save()
    again = States(tmp_path / "following")
    assert again.behind(1) == behind
    assert (again.state(1, "train") is None) == done == (again.done(1, "train") is not None)


def test_what_was_not_saved_is_not_believed_later(tmp_path: Path) -> None:
    states = States(tmp_path / "following")
    states.put(0, State("moments", 0, {"x": np.zeros(1)}), Behind())
    states.save()
    states.put(0, State("moments", 1, {"x": np.ones(1)}), GROUPS)
    assert states.behind(0) == GROUPS
    states.drop()
    assert states.behind(0) == Behind()


def test_a_state_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    path = tmp_path / "0-000001.state"
    keep({"x": np.zeros(1)}, path, json.dumps({"checked": False}))
    assert json.loads(Stored(path).metadata["wardround"]) == {"checked": False}
    assert States(tmp_path).behind(0) == Behind(False)
