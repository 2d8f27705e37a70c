"""Estimate three studies, then run them: hours, bytes and memory beside what was said before.

Heart disease at four hospitals (real data, FLamby's split, seed 42, five settings), the statistics example and the three hospitals are
simulated in a process of their own; the three hospitals also run as processes over a hub on loopback. A figure is the estimate over what
then happened; 1 is right.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import flamby_heart
from benchmarks.__main__ import BUSY
from wardround.calibration import peak
from wardround.data.load import inspect
from wardround.data.site_file import load_site
from wardround.estimate import estimate
from wardround.simulation import load_study
from wardround.study.protocol import Protocol

EXAMPLES = Path(__file__).parent.parent / "examples"
HEART, STATISTICS, THREE, HUB = (
    "heart disease, simulated",
    "statistics, simulated",
    "three hospitals, simulated",
    "three hospitals, over a hub",
)
SIMULATED = """import json, sys
from pathlib import Path
from wardround import simulate
from wardround.calibration import peak
from wardround.study.protocol import Protocol
asked = json.load(sys.stdin)
result = simulate(Protocol.model_validate(asked["protocol"]), asked["sites"], Path(asked["out"])).result
print(json.dumps({"history": result["history"], "seconds": result["seconds"], "memory": peak()}))"""


def run(data: Path, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Return a figure for every goal under [estimate].

    Args:
        data: folder of the data sets.
        quick: without heart disease, which takes a minute.
    """
    figures: list[dict[str, Any]] = []
    text: list[str] = []
    busy = os.getloadavg()[0] / (os.cpu_count() or 1) > BUSY  # then two timings of the same thing differ by more than the goal
    with tempfile.TemporaryDirectory() as place:
        for name in (STATISTICS, THREE) if quick else (STATISTICS, THREE, HUB, HEART):
            said, happened = _played(name, Path(place), data)
            for what, value in said.items():
                ratio = value / happened[what]
                figures.append(_figure(f"{name}: {what} over what happened", None if busy and what == "seconds" else ratio))
                text.append(f"{name:<28} {what:<18} estimated {value:>14,.2f}  happened {happened[what]:>14,.2f}  {ratio:.2f}")
    return figures, "\n".join(text)


Figures = Mapping[str, float]


def _played(name: str, place: Path, data: Path) -> tuple[Figures, Figures]:
    if name == HEART:
        return _heart(place, data)
    if name == HUB:
        return _hub(place)
    return _statistics(place) if name == STATISTICS else _three(place)


def _simulated(protocol: Protocol, sites: Sequence[Path], out: Path) -> tuple[Figures, Figures]:
    """Return estimate and truth of a simulation in a process of its own."""
    rows = {(one := load_site(path)).name: len(_rows(inspect(one, protocol).dataset)) for path in sites}
    found = estimate(protocol, rows)["simulation"]
    said = {"seconds": found["seconds"], "bytes": found["bytes_up"] + found["bytes_down"], "memory": found["memory"]}
    asked = {"protocol": protocol.model_dump(mode="json"), "sites": [str(path) for path in sites], "out": str(out)}
    done = subprocess.run([sys.executable, "-c", SIMULATED], input=json.dumps(asked), capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    size = sum(row["bytes_up"] + row["bytes_down"] for row in result["history"])
    return said, {"seconds": result["seconds"]["this_run"], "bytes": size, "memory": result["memory"]}


def _rows(dataset: Any) -> Any:
    assert dataset is not None
    return dataset


def _heart(place: Path, data: Path) -> tuple[Figures, Figures]:
    protocol = flamby_heart.protocol("FedAvg", "federated", 42).complete()
    sites = [flamby_heart.write_site(place, name, data) for name in flamby_heart.SITES]
    return _simulated(protocol, sites, place / "heart")


def _statistics(place: Path) -> tuple[Figures, Figures]:
    folder = EXAMPLES / "statistics"
    sites = [folder / f"{name}.toml" for name in ("north", "south", "east")]
    return _simulated(load_study(folder / "study.toml").protocol, sites, place / "statistics")


def _three(place: Path) -> tuple[Figures, Figures]:
    folder = EXAMPLES / "three-hospitals"
    sites = [folder / name / "site.toml" for name in ("north", "south", "east")]
    return _simulated(load_study(folder / "study.toml").protocol, sites, place / "simulated")


def _hub(place: Path) -> tuple[Figures, Figures]:
    """Return estimate and truth of the three hospitals, each a process: rounds, sums, memory of the largest site and of the centre.

    The seconds are those of hospitals with a machine each; here they share one, and so there is no goal for them.
    """
    folder = EXAMPLES / "three-hospitals"
    protocol = load_study(folder / "study.toml").protocol
    sites = [load_site(folder / name / "site.toml") for name in ("north", "south", "east")]
    found = estimate(protocol, {one.name: int(one.source.options["rows"]) for one in sites})
    hospitals, simulation = found["hospitals"], found["simulation"]
    said = {"seconds, on one machine": hospitals["seconds"], "bytes": simulation["bytes_up"] + simulation["bytes_down"]}
    said |= {"memory of a site": hospitals["site"]["memory"], "memory of the centre": hospitals["coordinator"]["memory"]}
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(folder / "run.sh"), str(place / "three"), str(port)]
    process = subprocess.Popen(command, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watched = Watched(str(place / "three"), process)
    watched.start()
    process.wait(300)
    watched.join()
    result = json.loads((place / "three" / "centre" / "result.json").read_text())
    size = sum(row["bytes_up"] + row["bytes_down"] for row in result["history"])
    truth = {"seconds, on one machine": result["seconds"]["rounds"], "bytes": size}
    return said, truth | {"memory of a site": watched.site, "memory of the centre": watched.centre}


class Watched(threading.Thread):
    """Look at the memory of the hospitals' processes and the coordinator's while the example runs."""

    def __init__(self, work: str, process: subprocess.Popen[bytes]) -> None:
        """Take note of whom to look at."""
        super().__init__(daemon=True)
        self._work, self._process = work, process
        self.site, self.centre = 0, 0

    def run(self) -> None:
        """Look ten times a second until the example has ended."""
        while self._process.poll() is None:
            for number, words, folder in _processes():
                if not folder.startswith(self._work):
                    continue
                if words[-2:] == ["site", "run"]:
                    self.site = max(self.site, peak(number) + sum(peak(one) for one, _, _ in _processes() if _parent(one) == number))
                elif "serve" in words:
                    self.centre = max(self.centre, peak(number))
            time.sleep(0.1)


def _processes() -> list[tuple[int, list[str], str]]:
    """Return number, words and folder of each process that this user may look at."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            found.append((int(path.name), words, str((path / "cwd").readlink())))
    return found


def _parent(number: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _figure(what: str, value: float | None) -> dict[str, Any]:
    shown = None if value is None else round(value, 3)
    return {"what": what, "value": shown, "unit": "x", "n": 1, "seeds": [42], "low": shown, "high": shown}
