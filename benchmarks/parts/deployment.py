"""Set up a coordinator and hospitals on loopback for a benchmark: folders, keys, TLS, approvals, one process each."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import protocol, rows
from wardround import centre, hospital
from wardround.coordinator.folder import Folder
from wardround.data.snapshot import write_snapshot
from wardround.site.folder import Brought, SiteFolder
from wardround.site.keys import SiteKeys
from wardround.study.errors import Unreachable
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

POLICY = """purposes = ["*"]
models = ["*"]
sources = ["table"]
min_patients = 1
rounds = 1000
hours = "any"
may_leave = ["sums", "counts", "record"]
release = "auto"
"""


def set_up(folder: Path, sites: int, agreed: Protocol | None = None) -> tuple[Folder, list[SiteFolder]]:
    """Return a coordinator's folder and hospitals' folders with data; they have not joined yet."""
    phases = [{"name": "train", "kind": "fedavg", "rounds": 500}]
    changes: dict[str, Any] = {
        "phases": phases,
        "model": {"normalise": "none"},
        "bounds": {"sites": sites, "examples": 500},
        "privacy": {"counts": True},
        "rounds": {"quorum": sites},
    }
    agreed = agreed or protocol(**changes)
    made = centre.init(folder / "centre", agreed, "centre", "127.0.0.1", free_port(), [], sites + 12)
    with (made.path / "coordinator.toml").open("a") as settings:
        settings.write("max_upload = 1.5\n")
    made, found = Folder(made.path), []
    for number in range(sites):
        place = folder / f"site{number:02d}"
        place.mkdir(parents=True)
        (place / "policy.toml").write_text(POLICY)
        site = SiteFolder(place)
        (place / "keys").mkdir(mode=0o700)  # known, so that two deployments draw the same batches
        (place / "keys" / "identity").write_text(SiteKeys(_key(number), Stream.public(number)).to_bytes().hex())
        dataset = write_snapshot(rows(number, 60), agreed.contract, "table", site.snapshots)[0]
        site.bring(Brought(dataset.digest, dataset.patients, len(dataset.rows("train")), "table"))
        (place / "invite").write_bytes(centre.invite(made, place.name, 1))
        found.append(site)
    return made, found


def _key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(f"site {number}".encode().ljust(32, b"."))


def echo(folder: Path, sites: int, numbers: int, rounds: int, limit: float) -> dict[str, Any]:
    """Run rounds that only echo and return what the coordinator printed, with the gates' peak memory in MB."""
    made, places = set_up(folder, sites)
    coordinator = python("benchmarks.parts.coordinate", str(made.path), str(numbers), str(rounds))
    gates = []
    try:
        for place in places:
            join(place)
        gates = [python("benchmarks.parts.gate", str(place.path)) for place in places]
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


def free_port() -> int:
    """Return a port of loopback that nothing uses now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def words(figures: Sequence[float]) -> str:
    """Return figures as text."""
    return ", ".join(f"{one:.3f}" for one in figures)
