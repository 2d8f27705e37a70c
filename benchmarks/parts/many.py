"""Twenty hospitals on one machine: gates in processes of their own, one killed and one frozen on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.parts import deployment
from tests.support import protocol
from wardround.standing import FILE

SITES = 20


def twenty(place: Path, rounds: int) -> dict[str, Any]:
    """Run a study of so many rounds among twenty gates that only echo; one is killed, one frozen, and both stay away.

    Returns:
        "rounds" that were closed, "gates": peak memory of each gate that ended by itself, in MB, and "text".
    """
    phases = [{"name": "train", "kind": "fedavg", "rounds": 500}]
    changes = {"quorum": SITES - 2, "due_seconds": 60, "lost_seconds": 8}
    agreed = protocol(
        phases=phases, model={"normalise": "none"}, rounds=changes, bounds={"sites": SITES, "examples": 500}, privacy={"counts": True}
    )
    made, places = deployment.set_up(place, SITES, agreed)
    coordinator = deployment.python("benchmarks.parts.coordinate", str(made.path), "7500", str(rounds), "0.5")
    gates: list[subprocess.Popen[str]] = []
    try:
        for one in places:
            deployment.join(one)
        gates = [deployment.python("benchmarks.parts.gate", str(one.path)) for one in places]
        _under_way(made.path / FILE)
        gates[0].kill()
        os.kill(gates[1].pid, signal.SIGSTOP)
        found: dict[str, Any] = deployment.last_line(coordinator, 300)
        peaks = [float(gate.communicate(timeout=60)[0].split()[-1]) for gate in gates[2:]]
    finally:
        for process in (*gates, coordinator):
            process.kill()
            process.wait()
    absent = sorted({line.partition(":")[0] for line in found["refused"]})
    text = (
        f"{len(found['seconds'])} rounds closed in {found['whole']:.1f} s, without {', '.join(absent)} (one killed, one frozen); "
        f"gates of the others {min(peaks):.0f} to {max(peaks):.0f} MB at most, coordinator {found['peak']:.0f} MB"
    )
    return {"rounds": len(found["seconds"]), "gates": peaks, "text": text}


def _under_way(status: Path) -> None:
    """Wait until all have approved and the first rounds are run.

    Raises:
        TimeoutError: after 60 s they were not.
    """
    until = time.monotonic() + 60
    while not (status.exists() and ", round " in json.loads(status.read_text(encoding="utf-8"))["text"]):
        if time.monotonic() > until:
            raise TimeoutError("the first round did not begin within 60 s")
        time.sleep(0.1)
