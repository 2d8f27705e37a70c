"""Measure commands from outside: how long they take, how much memory they need, what they load."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

LOADS_TORCH = """\
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
raise SystemExit("torch" in sys.modules)
"""


def command(*words: str) -> list[str]:
    """Return the command line of an installed `wardround`."""
    installed = Path(sys.executable).with_name("wardround")
    return [str(installed), *words] if installed.exists() else [sys.executable, "-m", "wardround", *words]


def once(words: Sequence[str]) -> tuple[float, float]:
    """Run a command with one arithmetic thread; return seconds of wall time and the memory of its largest process at its peak, in MB.

    Args:
        words: of the command line.

    Raises:
        RuntimeError: the command did not end with 0.
    """
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words[1:])} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e6


def typical(words: Sequence[str], times: int) -> tuple[float, float, float]:
    """Return median, least and most seconds of several runs."""
    found = [once(words)[0] for _ in range(times)]
    return median(found), min(found), max(found)


def rooms_with_torch(rooms: Sequence[str]) -> list[str]:
    """Return those of our rooms whose import, with every module in them, loads torch."""
    import wardround

    loaded = []
    for room in rooms:
        folder = Path(wardround.__file__).parent / room
        modules = ["wardround." + ".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in sorted(folder.rglob("*.py"))]
        names = [name.removesuffix(".__init__") for name in modules]
        if subprocess.run([sys.executable, "-c", LOADS_TORCH, *names], check=False).returncode != 0:
            loaded.append(room)
    return loaded
