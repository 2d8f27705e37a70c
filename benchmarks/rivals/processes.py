"""Start, watch and end the processes of a deployment.

Rivals start processes of their own, some in sessions of their own, so a process group does not hold them all. Every process that we start
gets an environment variable that names its deployment and its role; its children inherit it, and by it they are found in /proc: to measure
their memory, to kill or freeze a whole site, and to leave nothing behind.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

MARK = "RIVAL_ROLE"
LOOK_EVERY = 0.25
SMALL = 10
"""MB below which a process is a shell or a sleep, and not listed."""


class RivalFailed(Exception):
    """Say why a rival gave no figure."""


class Deployment:
    """Hold all processes of one federation, by role: "coordinator", "site1", ..., "console"."""

    def __init__(self, folder: Path, python: Path, limit: float, settings: dict[str, str]) -> None:
        """Prepare empty folders; nothing runs yet.

        Args:
            folder: for everything that the rival writes.
            python: of the rival's environment.
            limit: seconds after which waiting ends with `RivalFailed`.
            settings: environment variables of all processes; nothing else is inherited.
        """
        self.folder, self.bin = folder, python.parent
        self.limit, self.deadline = limit, time.monotonic() + limit
        self.name, self.settings = secrets.token_hex(8), settings
        self.started: list[subprocess.Popen[bytes]] = []
        self.peaks: dict[tuple[str, int], tuple[str, float]] = {}
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        for part in ("home", "tmp", "logs"):
            (folder / part).mkdir(parents=True)

    def __enter__(self) -> Deployment:
        self.watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ended.set()
        self.watcher.join()
        while self.processes(""):
            self.signal("", signal.SIGKILL)
            time.sleep(0.1)
        for process in self.started:
            process.wait()

    def environment(self, role: str) -> dict[str, str]:
        """Return the environment of a process: its own home, no outside settings, one thread of arithmetic."""
        home = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp")}
        return {**home, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **self.settings, MARK: f"{self.name}/{role}/"}

    def start(self, role: str, command: Sequence[str], **more: str) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own; what it says goes to `logs/<role>.log`."""
        for earlier in self.started:
            earlier.poll()  # A killed process that is not reaped still looks alive to scripts that ask by its number.
        env, none = {**self.environment(role), **more}, subprocess.DEVNULL
        with (self.folder / "logs" / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=none, stdout=log, stderr=log, env=env, cwd=self.folder, start_new_session=True)
        self.started.append(process)
        return process

    def call(self, command: Sequence[str]) -> str:
        """Run a short command to its end and return what it printed."""
        left = max(self.deadline - time.monotonic(), 1)
        try:
            done = subprocess.run(
                command, env=self.environment("console"), cwd=self.folder, capture_output=True, text=True, timeout=left, check=True
            )
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", "") or getattr(error, "stdout", "")
            raise RivalFailed(f"{Path(command[0]).name} {command[1]} failed: {str(said)[-300:]}") from error
        return done.stdout

    def wait(self, what: str, ready: Callable[[], bool], every: float = 0.2) -> None:
        """Wait until something is so."""
        while not ready():
            if time.monotonic() > self.deadline:
                raise RivalFailed(f"no {what} within the limit of {self.limit:.0f} s for the whole run")
            time.sleep(every)

    def processes(self, role: str) -> list[tuple[int, str]]:
        """Return process numbers and roles that belong to a role ("" for all)."""
        found = []
        for entry in os.scandir("/proc"):
            try:
                environ = Path(entry.path, "environ").read_bytes() if entry.name.isdigit() else b""
                marked = next((part for part in environ.split(b"\0") if part.startswith(f"{MARK}={self.name}/{role}".encode())), None)
                if marked:
                    found.append((int(entry.name), marked.decode().split("/")[1]))
            except (OSError, ProcessLookupError):
                continue  # It ended while we looked, or is not ours.
        return found

    def signal(self, role: str, number: signal.Signals, word: str = "") -> None:
        """Send a signal to the processes of a role ("" for all) whose command holds a word."""
        for process, _ in self.processes(f"{role}/" if role else ""):
            try:
                if word in Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace"):
                    os.kill(process, number)
            except (FileNotFoundError, ProcessLookupError):
                continue  # It ended meanwhile.

    def memory(self, role: str) -> dict[str, float]:
        """Return the peak resident MB of each process of a role, largest first."""
        mine = {f"{name} {number}": peak for (of, number), (name, peak) in self.peaks.items() if of == role}
        return dict(sorted(mine.items(), key=lambda one: -one[1]))

    def _watch(self) -> None:
        while not self.ended.wait(LOOK_EVERY):
            for process, role in self.processes(""):
                try:
                    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
                    words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                name = next(
                    (Path(word.decode()).name for word in words[1:] if word[:1].isalpha() or word[:1] == b"/"), status["Name"].strip()
                )
                peak = int(status.get("VmHWM", "0 kB").split()[0]) / 1024
                if peak > SMALL:
                    self.peaks[role, process] = (name, round(peak, 1))
