"""How rivals are timed and tried, with a stand-in whose processes are real, so that no rival has to be installed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rivals import faults
from benchmarks.rivals.__main__ import RIVALS
from benchmarks.rivals.processes import Deployment
from benchmarks.rivals.rival import Federation, Rival
from benchmarks.rivals.timing import timed

PYTHON = Path(sys.executable)
ROUND = """import json, sys
for number in range(int(sys.argv[1])):
    line = {"round": number, "seconds": number + 1.0, "answered": int(sys.argv[2]), "right": True}
    open("figures.jsonl", "a").write(json.dumps(line) + chr(10))
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


class Tried:
    """A federation of sleeping processes that writes one round down, and one more when it is looked at."""

    front = "time.sleep"

    def __init__(self, run: Deployment, apart: bool) -> None:
        self.run, self.apart, self.restarted = run, apart, False
        for role in ("coordinator", "site3"):
            run.start(role, SLEEP)

    def submit_slow(self) -> None:
        self.run.call([sys.executable, "-c", ROUND, "1", "3"])

    def restart(self) -> None:
        self.restarted = True

    def lost(self, site: str) -> bool:
        return not self.run.processes(f"{site}/")

    def status(self) -> str:
        self.run.call([sys.executable, "-c", ROUND, "1", "2"])
        return "finished"


class StandIn:
    """A rival without a coordinator of its own."""

    def __init__(self, answered: int = 3) -> None:
        self.SETTINGS: dict[str, str] = {}
        self.answered, self.tried = answered, list[Tried]()

    def begin(self, run: Deployment, sites: int, megabytes: float, rounds: int) -> subprocess.Popen[bytes]:
        return run.start("console", [sys.executable, "-c", ROUND, str(rounds), str(self.answered)])

    def to_be_tried(self, run: Deployment, apart: bool) -> Federation:
        self.tried.append(Tried(run, apart))
        return self.tried[-1]


def test_flower_and_nvflare_offer_what_is_asked_of_them() -> None:
    wanted = {name for name in vars(Rival) if not name.startswith("_")} | set(Rival.__annotations__)
    assert wanted == {"SETTINGS", "begin", "to_be_tried"}
    for name, rival in RIVALS.items():
        assert not (missing := wanted - vars(rival).keys()), (name, missing)


def test_rounds_are_timed_by_what_the_rival_wrote_down(tmp_path: Path) -> None:
    found = timed(StandIn(), PYTHON, 3, 0.03, 5, tmp_path / "run", 20)
    assert (found["value"], found["first"], found["seconds"]) == (3.0, 1.0, [1.0, 2.0, 3.0, 4.0, 5.0])


def test_a_missing_answer_is_no_figure(tmp_path: Path) -> None:
    found = timed(StandIn(answered=2), PYTHON, 3, 0.03, 5, tmp_path / "run", 20)
    assert found["value"] is None and "5 of 5 rounds done" in found["why"]


def test_each_fault_is_inflicted_on_a_deployment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "WHATS", ("site killed", faults.APART))
    monkeypatch.setattr(faults, "PAUSE", 0.2)
    monkeypatch.setattr(faults, "DOWN", 0.1)
    rival = StandIn()
    killed, apart = faults.observed(rival, PYTHON, tmp_path)
    assert [one.apart for one in rival.tried] == [False, True] and [one.restarted for one in rival.tried] == [False, True]
    assert (killed["what"], killed["status"], killed["round_finished"]) == ("site killed", "finished", True)
    assert killed["named_s"] is not None and apart["named_s"] is None
    assert not any(one.run.processes("") for one in rival.tried)
