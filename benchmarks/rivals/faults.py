"""Kill or freeze a part of a rival's deployment in the middle of a round and write down what the deployment does about it.

Three sites take part, each "trains" for a while, two answers are enough where a rival can be told so. The fault comes in the second round.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.rivals.processes import Deployment, RivalFailed
from benchmarks.rivals.rival import Federation, Rival
from benchmarks.rivals.timing import written

SITES, LEAST, MEGABYTES, ROUNDS, PAUSE = 3, 2, 0.03, 3, 15
LOST = "site3"
NAMED_WITHIN = 120
"""Seconds in which a deployment has to name a lost site; a frozen one is let go on afterwards."""
DOWN = 5
"""Seconds that a killed coordinator is away."""
LONGEST = 240
"""Seconds after the fault in which the run has to end."""
LIMIT = 900
"""Seconds after which a deployment is given up."""
APART = "coordinator killed but not its app"
WHATS = ("site killed", "site frozen", "coordinator killed", APART)
"""The coordinator is killed twice: with all its processes, as when its machine fails, and only the one that sites connect to."""


def observe(what: str, run: Deployment, federation: Federation) -> dict[str, Any]:
    """Inflict a fault in a federation's second round, and return what followed.

    Args:
        what: one of `WHATS`.
        run: holds the federation's processes.
        federation: has just been started.
    """
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


def observed(rival: Rival, python: Path, folder: Path) -> list[dict[str, Any]]:
    """Return what a rival does about each fault, each in a deployment of its own.

    Args:
        rival: which one.
        python: of an environment with it.
        folder: new folder for all.
    """
    found = []
    for what in WHATS:
        try:
            with Deployment(folder / what.replace(" ", "-"), python, LIMIT, rival.SETTINGS) as run:
                found.append(observe(what, run, rival.to_be_tried(run, what == APART)))
        except RivalFailed as error:
            found.append({"what": what, "how": "run", "value": None, "why": str(error)})
    return found
