"""Killed at any moment, a study goes on with the same command and comes to the same model; the record stays whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.parts import hospitals, killing
from benchmarks.parts.hospitals import MadeUp, Shape
from wardround import publish, simulate
from wardround.coordinator.store import Store
from wardround.record import bundle
from wardround.record.report import Verdict
from wardround.record.verify import verify


def kills_change_nothing(folder: Path, made: MadeUp, moments: Callable[[float], list[float]], times: int) -> None:
    """Kill runs until so many processes were killed while they ran; each run must end as the undisturbed one."""
    calm = killing.run(made, folder / "calm")
    assert calm.digest and not calm.wrong
    kills = runs = 0
    while kills < times:
        runs += 1
        ended = killing.run(made, folder / str(runs), moments(calm.seconds))
        assert (ended.digest, ended.wrong) == (calm.digest, ())
        kills += ended.kills


def test_two_kills_change_no_bit(tmp_path: Path) -> None:
    dice = random.Random()
    made = hospitals.write(tmp_path / "inputs", Shape(rounds=15, patients=60))
    kills_change_nothing(tmp_path, made, lambda seconds: [dice.uniform(0.3, 0.9) * seconds, dice.uniform(0.3, 0.7) * seconds], 2)


@pytest.mark.slow
def test_twenty_kills_change_no_bit(tmp_path: Path) -> None:
    dice = random.Random()
    kills_change_nothing(tmp_path, hospitals.write(tmp_path / "inputs"), lambda seconds: [dice.uniform(0, seconds)], 20)


class Killed(BaseException):
    """Stands for the end of a process: nothing after it runs."""


STEPS: dict[str, tuple[Any, str]] = {
    "files": (publish, "_write"),
    "record": (bundle, "export"),
    "report": (publish, "write_report"),
    "database": (Store, "commit"),
}
"""Everything that makes results durable, by what it writes."""


class Dying:
    """Calls a function, and kills at one of the calls, before or after it does its work."""

    def __init__(self, step: Callable[..., Any], after: bool) -> None:
        self._step, self._after = step, after
        self.calls, self.at = 0, 0

    def method(self) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.at and not self._after:
                raise Killed
            found = self._step(*given, **named)
            if self.calls == self.at:
                raise Killed
            return found

        return called


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", sorted(STEPS))
def test_a_run_killed_while_it_writes_goes_on(what: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = hospitals.write(tmp_path / "inputs", Shape(rounds=1, patients=40, sites=2))
    owner, name = STEPS[what]
    dying = Dying(getattr(owner, name), after)
    monkeypatch.setattr(owner, name, dying.method())
    calm = simulate(made.study, list(made.sites), tmp_path / "calm").result["model_digest"]
    calls = dying.calls
    assert calls
    for at in range(1, calls + 1):
        dying.calls, dying.at = 0, at
        out = tmp_path / str(at)
        with pytest.raises(Killed):
            simulate(made.study, list(made.sites), out)
        shown = entries(out)
        assert simulate(made.study, list(made.sites), out).result["model_digest"] == calm
        assert not [line for line in verify(out).lines if line.verdict is Verdict.FAIL]
        assert (out / "report.html").exists()
        assert entries(out).startswith(shown), "the log signed a head, and then another one of that size"


def entries(out: Path) -> bytes:
    """Return the study log as it was exported, if it was."""
    path = out / "record" / "study" / "entries.jsonl"
    return path.read_bytes() if path.exists() else b""
