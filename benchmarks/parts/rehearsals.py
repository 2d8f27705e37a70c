"""Play the rehearsal of a study with hospitals in processes of their own, of which some have a fault that is made here."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wardround import centre, hospital
from wardround.coordinator.folder import Folder
from wardround.simulation import load_study
from wardround.site.folder import MEMBERSHIP

FAULTY = """import resource, sys, time
fault, real = sys.argv[1], time.time
if fault == "clock":
    time.time = lambda: real() + 600
if fault == "disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
from wardround.cli.main import main
sys.argv = ["wardround", *sys.argv[2:]]
main()"""
FAULTS = ("blocked", "clock", "disk")
DUE = 120.0


@dataclass
class Played:
    """Hold what came of it.

    Attributes:
        document: what the coordinating centre printed.
        code: its exit code.
        seconds: from its start to its end.
        said: by hospital, what its command printed.
        codes: by hospital, its exit code.
    """

    document: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    seconds: float = 0.0
    said: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def found(self, site: str) -> str:
        """Return what the coordinating centre found wrong with a hospital."""
        return " ".join(one["what"] for one in self.document["faults"] if one["site"] == site)


def play(work: Path, study: Path, hospitals: Mapping[str, str], wait: float, policies: Path | None = None) -> Played:
    """Rehearse a study on loopback.

    Args:
        work: empty folder.
        study: its file.
        hospitals: by name the fault, or nothing.
        wait: seconds for which the coordinating centre waits for hospitals.
        policies: folder with a folder a hospital that holds its policy.toml, or None.
    """
    made = _centre(work / "centre", study)
    began = time.monotonic()
    serving = _wardround("", "study", "rehearse", made.path, "--wait", wait, "--json", errors=work / "centre.txt")
    gates: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, fault in hospitals.items():
            _joined(made, work / name, name, policies)
            if fault == "blocked":
                _block(work / name / MEMBERSHIP)
            gates[name] = _wardround(fault, "site", "rehearse", "--dir", work / name)
        out, _ = serving.communicate(timeout=DUE)
        played = Played(json.loads(out), serving.returncode, time.monotonic() - began)
        for name, gate in gates.items():
            played.said[name] = gate.communicate(timeout=DUE)[0]
            played.codes[name] = gate.returncode
    finally:
        for process in (serving, *gates.values()):
            if process.poll() is None:
                process.kill()
                process.communicate()
    return played


def _centre(place: Path, study: Path) -> Folder:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    return centre.init(place, load_study(study).protocol, "centre", "127.0.0.1", port, [], 16)


def _joined(made: Folder, place: Path, name: str, policies: Path | None) -> None:
    """Have a hospital join the study while its rehearsal is served; its first tries may come before the hub listens."""
    place.mkdir()
    if policies is not None:
        shutil.copy(policies / name / "policy.toml", place / "policy.toml")
    invite = place.with_suffix(".invite")
    until = time.monotonic() + DUE
    invite.write_bytes(centre.invite(made, name, 1))
    while True:
        try:
            hospital.join(place, invite)
            return
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def _block(membership: Path) -> None:
    """Have a hospital call its hub at a port where nothing listens, as behind a firewall that turns connections away."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    known = json.loads(membership.read_text())
    membership.write_text(json.dumps({**known, "url": f"tls://127.0.0.1:{port}"}))


def _wardround(fault: str, *words: object, errors: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FAULTY, fault, *map(str, words)]
    if errors is None:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with errors.open("w") as file:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
