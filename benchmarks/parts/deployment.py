"""Set up a coordinator and hospitals on loopback for a benchmark: folders, keys, TLS, approvals, one process each."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.engines.federated import bring, new_centre
from tests.support import protocol, rows
from wardround import centre, hospital
from wardround.coordinator.folder import Folder
from wardround.site.folder import SiteFolder
from wardround.study.errors import Unreachable
from wardround.study.protocol import Protocol


def set_up(folder: Path, sites: int, agreed: Protocol | None = None, combine: str = "plain") -> tuple[Folder, list[SiteFolder]]:
    """Return a coordinator's folder and hospitals' folders with data; they have not joined yet."""
    phases = [{"name": "train", "kind": "fedavg", "rounds": 500}]
    changes: dict[str, Any] = {
        "phases": phases,
        "model": {"normalise": "none"},
        "bounds": {"sites": sites, "examples": 500},
        "privacy": {"counts": True},
        "rounds": {"quorum": sites, "combine": combine},
    }
    agreed = agreed or protocol(**changes)
    made = new_centre(folder / "centre", agreed, slots=sites + 12)
    with (made.path / "coordinator.toml").open("a") as settings:
        settings.write("max_upload = 1.5\n")
    made, found = Folder(made.path), []
    for number in range(sites):
        name = f"site{number:02d}"
        site = bring(folder / name, name, rows(number, 60), agreed)
        (site.path / "invite").write_bytes(centre.invite(made, name, 1))
        found.append(site)
    return made, found


def echo(folder: Path, sites: int, numbers: int, rounds: int, limit: float, combine: str = "plain") -> dict[str, Any]:
    """Run rounds that only echo and return what the coordinator printed, with the gates' peak memory in MB."""
    made, places = set_up(folder, sites, combine=combine)
    coordinator = python("benchmarks.parts.coordinate", str(made.path), str(numbers), str(rounds))
    gates = []
    try:
        for place in places:
            join(place)
        gates = [python("benchmarks.parts.gate", str(place.path), str(numbers), str(rounds)) for place in places]
        found = last_line(coordinator, limit)
        peaks = [float(gate.communicate(timeout=30)[0].split()[-1]) for gate in gates]
    finally:
        for process in (*gates, coordinator):
            process.kill()
            process.wait()
    return {**found, "gates": peaks}


def join(place: SiteFolder) -> None:
    """Join as soon as the coordinator is there, and approve."""
    until = time.monotonic() + 30
    while True:
        try:
            hospital.join(place.path, place.path / "invite")
            break
        except Unreachable:  # the coordinator is still starting
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    hospital.approve(place, "benchmark")


def last_line(process: subprocess.Popen[str], limit: float) -> dict[str, Any]:
    """Return the JSON document that a process prints last, before so many seconds are over."""
    found: dict[str, Any] = json.loads(process.communicate(timeout=limit)[0].splitlines()[-1])
    return found


def python(module: str, *words: str) -> subprocess.Popen[str]:
    """Start a module as a process."""
    return subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True)
