"""What the module of a rival offers, so that all are timed and tried alike."""

from __future__ import annotations

import subprocess
from typing import Protocol

from benchmarks.rivals.processes import Deployment


class Federation(Protocol):
    """What a rival's federation can do when something in it dies."""

    front: str
    """A word in the command of the process that sites connect to, and in no other."""

    def submit_slow(self) -> None:
        """Start a run with `faults.ROUNDS` rounds in which every site takes `faults.PAUSE` seconds."""

    def restart(self) -> None:
        """Start the coordinating side again."""

    def lost(self, site: str) -> bool:
        """Return whether a log or a status tells that a site is gone."""

    def status(self) -> str:
        """Return the state of the run in the rival's words."""


class Rival(Protocol):
    """What `flower` and `nvflare` offer as modules."""

    SETTINGS: dict[str, str]
    """Environment variables of all its processes."""

    def begin(self, run: Deployment, sites: int, megabytes: float, rounds: int) -> subprocess.Popen[bytes]:
        """Start a federation and rounds without training; the process returned ends with them.

        Args:
            run: holds the processes.
            sites: how many take part.
            megabytes: size of the model, as ten float32 arrays.
            rounds: how many, one after the other.
        """

    def to_be_tried(self, run: Deployment, apart: bool) -> Federation:
        """Start a federation of `faults.SITES` sites that outlives its faults as well as the rival can.

        Args:
            run: holds the processes.
            apart: whether the coordinator's app runs apart from the process that sites connect to, where it can be told so.
        """
