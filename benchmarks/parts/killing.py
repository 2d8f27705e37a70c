"""Run a study as a process of its own, kill it at chosen moments with the signal that no program can catch, and run it to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parts.hospitals import MadeUp
from wardround.record.report import Verdict
from wardround.record.verify import verify

LONGEST = 300
"""Seconds after which a run counts as hanging."""


@dataclass(frozen=True)
class Ended:
    """Say how a run ended.

    Attributes:
        digest: of the model it released, or empty when it ended otherwise.
        seconds: of its last process.
        kills: how many of its processes were killed, each while it ran.
        wrong: lines of `verify` that fail, and what a process complained of.
    """

    digest: str
    seconds: float
    kills: int
    wrong: tuple[str, ...]


def start(made: MadeUp, out: Path) -> subprocess.Popen[bytes]:
    """Start a study in a process of its own, with one arithmetic thread."""
    command = [sys.executable, "-m", "wardround", *made.words(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)


def run(made: MadeUp, out: Path, moments: Sequence[float] = ()) -> Ended:
    """Run a study, kill it so many seconds after each start, and let the last start go on to the end.

    Args:
        made: the study.
        out: folder for results.
        moments: seconds after the start; one that comes after the end kills nothing, and nothing is started again then.
    """
    kills = 0
    for moment in moments:
        process = start(made, out)
        try:
            process.communicate(timeout=moment)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    began = time.perf_counter()
    process = start(made, out)
    _, said = process.communicate(timeout=LONGEST)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        return Ended("", seconds, kills, (said.decode(errors="replace").strip(),))
    result = json.loads((out / "result.json").read_text())
    failed = tuple(f"{line.name}: {line.text}" for line in verify(out).lines if line.verdict is Verdict.FAIL)
    return Ended(str(result["model_digest"]), seconds, kills, failed)
