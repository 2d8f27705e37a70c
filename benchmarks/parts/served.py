"""A whole deployment by its commands, as in hospitals: `coordinator serve` and `site run`, whose lines are read with their time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.parts import deployment
from wardround.coordinator.folder import Folder
from wardround.site.folder import SiteFolder
from wardround.study.protocol import Protocol


@dataclass
class Spoken:
    """Hold a process and every line it said, with the moment (monotonic seconds) at which it came."""

    words: list[str]
    process: subprocess.Popen[str] = field(init=False)
    lines: list[tuple[float, str]] = field(default_factory=list)

    def start(self) -> float:
        """Start it, or start it again; return the moment."""
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wardround", *self.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            process_group=0,
        )
        began = time.monotonic()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        return began

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append((time.monotonic(), line.rstrip()))

    def after(self, moment: float, wanted: str) -> float | None:
        """Return the moment of the first line since `moment` that holds a text."""
        return next((at for at, line in list(self.lines) if at >= moment and wanted in line), None)

    def end(self) -> None:
        """Kill it and all it started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Served:
    """Hold a coordinator and its sites, all running."""

    folder: Folder
    coordinator: Spoken
    sites: dict[str, Spoken]
    places: dict[str, SiteFolder]

    def first(self, moment: float, wanted: str, seconds: float, only: str = "") -> float | None:
        """Return when any site (or one) first said something after a moment; None when none did in time."""
        return wait_for(lambda: min(self._moments(moment, wanted, only), default=None), time.monotonic() + seconds)

    def _moments(self, moment: float, wanted: str, only: str) -> list[float]:
        asked = [one for name, one in self.sites.items() if only in ("", name)]
        return [at for one in asked if (at := one.after(moment, wanted)) is not None]

    def kill_hub(self) -> None:
        """Kill the hub with the signal that no program can catch."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words, place = (entry / "cmdline").read_bytes().split(b"\0"), os.readlink(entry / "cwd")
                except OSError:
                    continue
                if words[0].endswith(b"nats-server") and Path(place) == self.folder.hub.resolve():
                    os.kill(int(entry.name), signal.SIGKILL)

    def close(self) -> None:
        """End everything."""
        for one in (*self.sites.values(), self.coordinator):
            one.end()
        self.kill_hub()


def serve(path: Path, sites: int, agreed: Protocol) -> Served:
    """Set a deployment up and start it; every site has approved when this returns."""
    made, places = deployment.set_up(path, sites, agreed)
    coordinator = Spoken(["coordinator", "serve", str(made.path)])
    found = Served(made, coordinator, {}, {place.path.name: place for place in places})
    coordinator.start()
    try:
        for name, place in found.places.items():
            deployment.join(place)
            found.sites[name] = Spoken(["site", "run", "--dir", str(place.path)])
            found.sites[name].start()
    except BaseException:
        found.close()
        raise
    return found


def wait_for(what: Callable[[], float | None], until: float) -> float | None:
    """Return what is found before a moment, or None."""
    while time.monotonic() < until:
        found = what()
        if found is not None:
            return found
        time.sleep(0.01)
    return None
