"""Kill or freeze a part of a rival's deployment in the middle of a round and write down what the deployment does about it.

Three sites take part, each "trains" for a while, two answers are enough where a rival can be told so. The fault comes in the second round.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from benchmarks.rivals.processes import Deployment, RivalFailed
from benchmarks.rivals.timing import written

SITES, LEAST, MEGABYTES, ROUNDS, PAUSE = 3, 2, 0.03, 3, 15
LOST = "site3"
NAMED_WITHIN = 120
"""Seconds in which a deployment has to name a lost site; a frozen one is let go on afterwards."""
DOWN = 5
"""Seconds that a killed coordinator is away."""
LONGEST = 240
"""Seconds after the fault in which the run has to end."""
APART = "coordinator killed but not its app"
WHATS = ("site killed", "site frozen", "coordinator killed", APART)
"""The coordinator is killed twice: with all its processes, as when its machine fails, and only the one that sites connect to."""


class Federation(Protocol):
    """What a rival's federation can do here."""

    run: Deployment
    front: str
    """A word in the command of the process that sites connect to, and in no other."""

    def submit_slow(self) -> None:
        """Start a run with `ROUNDS` rounds in which every site takes `PAUSE` seconds."""

    def restart(self) -> None:
        """Start the coordinating side again."""

    def lost(self, site: str) -> bool:
        """Return whether a log or a status tells that a site is gone."""

    def status(self) -> str:
        """Return the state of the run in the rival's words."""


def observe(what: str, make: Callable[[], Federation]) -> dict[str, Any]:
    """Run a federation, inflict a fault in its second round, and return what followed.

    Args:
        what: one of `WHATS`.
        make: starts the federation.
    """
    federation = make()
    run = federation.run
    federation.submit_slow()
    run.wait("first round", lambda: len(written(run.folder)) == 1)
    time.sleep(PAUSE / 2)
    began = time.monotonic()
    of = "coordinator" if what.startswith("coordinator") else LOST
    run.signal(of, signal.SIGSTOP if "frozen" in what else signal.SIGKILL, federation.front if what == APART else "")
    if of == "coordinator":
        time.sleep(DOWN)
        federation.restart()
    named, state, thawed = None, "", "frozen" not in what
    while not state.lower().startswith("finished") and time.monotonic() - began < LONGEST:
        time.sleep(1)
        gone = time.monotonic() - began
        if of == LOST and named is None and gone < NAMED_WITHIN and federation.lost(LOST):
            named = round(time.monotonic() - began, 1)
        if not thawed and gone > NAMED_WITHIN:
            run.signal(LOST, signal.SIGCONT)
            thawed = True
        try:
            state = federation.status()
        except RivalFailed:
            state = "no answer"
    done = written(run.folder)
    rounds = [{"round": one["round"], "answered": one["answered"], "seconds": round(one["seconds"], 1)} for one in done]
    ended = {"status": state, "seconds_after_fault": round(time.monotonic() - began, 1), "all_rounds": len(done) == ROUNDS}
    return {"what": what, "how": "run", "named_s": named, **ended, "round_finished": len(done) > 1, "rounds": rounds}


def observed(folder: Path, start: Callable[[str, Path], tuple[Deployment, Callable[[], Federation]]]) -> list[dict[str, Any]]:
    """Return what followed each fault, each in a deployment of its own.

    Args:
        folder: new folder for all.
        start: takes what will happen and a new folder; returns a deployment and what starts its federation.
    """
    found = []
    for what in WHATS:
        run, make = start(what, folder / what.replace(" ", "-"))
        try:
            with run:
                found.append(observe(what, make))
        except RivalFailed as error:
            found.append({"what": what, "how": "run", "value": None, "why": str(error)})
    return found
