"""Time rounds without training in a rival's deployment, from the lines that its app writes at the end of each round."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.rivals.processes import Deployment, RivalFailed
from benchmarks.rivals.rival import Rival


def written(folder: Path) -> list[dict[str, Any]]:
    """Return the rounds that a rival's app wrote down."""
    file = folder / "figures.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def timed(rival: Rival, python: Path, sites: int, megabytes: float, rounds: int, folder: Path, limit: float = 900) -> dict[str, Any]:
    """Run rounds without training to their end and return the figures.

    Args:
        rival: which one.
        python: of an environment with it.
        sites: how many take part and have to answer in each round.
        megabytes: size of the model.
        rounds: how many there have to be.
        folder: new folder for its files.
        limit: seconds after which all is ended.

    Returns:
        Seconds of the rounds and peak memory of the coordinating processes; or `{"value": None, "why": ...}` if there was no end within the
        limit, a round or an answer is missing, or the mean was wrong.
    """
    deployment = Deployment(folder, python, limit, rival.SETTINGS)
    try:
        with deployment as run:
            console = rival.begin(run, sites, megabytes, rounds)
            run.wait("end of the rounds", lambda: console.poll() is not None)
            done = written(run.folder)
            if len(done) != rounds or not all(one["right"] and one["answered"] == sites for one in done):
                said = (run.folder / "logs" / "console.log").read_text()[-500:]
                raise RivalFailed(f"{len(done)} of {rounds} rounds done: {done[-3:]}; its console said: {said}")
    except RivalFailed as error:
        return {"value": None, "why": str(error)}
    seconds, memory = [round(one["seconds"], 3) for one in done], deployment.memory("coordinator")
    found = {"value": statistics.median(seconds), "unit": "s", "first": seconds[0], "seconds": seconds}
    return {**found, "peak_mb": round(sum(memory.values()), 1), "peaks_mb": memory}
