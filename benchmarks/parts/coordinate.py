"""The coordinator of a study that only echoes, in a process of its own.

Run as `python -m benchmarks.parts.coordinate FOLDER NUMBERS ROUNDS [PAUSE]`.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.parts.echo import peak_memory, stand_in
from wardround.coordinator import events
from wardround.coordinator.folder import Folder
from wardround.coordinator.rounds import Step, run_study
from wardround.serving import Serving
from wardround.study.errors import QuorumNotMet


def main(folder: Path, numbers: int, rounds: int, pause: float = 0.0) -> None:
    """Run the rounds, with a pause after each; print seconds of each, and how much memory they took."""
    seconds: list[float] = []
    refused: list[str] = []
    opened = [0.0]

    def watch(event: events.Event) -> None:
        if isinstance(event, events.RoundOpened):
            opened[0] = time.perf_counter()
        if isinstance(event, events.RoundClosed):
            seconds.append(time.perf_counter() - opened[0])
            time.sleep(pause)
        if isinstance(event, events.Refused):
            refused.append(f"{event.site}: {event.reason}")

    made = Folder(folder)
    serving = Serving(made, 0, watch)
    try:
        serving.gather_approvals()
        before = peak_memory()
        began = time.perf_counter()
        combiner = made.protocol.combiner
        step = Step(stand_in(made.protocol, numbers, rounds), combiner)
        with suppress(QuorumNotMet):  # who was refused and why is printed
            run_study(made.protocol, [step], serving.engine, serving.book(), made.initial)
        whole = time.perf_counter() - began
        peak = peak_memory()
        serving.engine.end({}, "The benchmark has ended.")
        serving.wait_for_sites(10)
    finally:
        serving.close()
    print(json.dumps({"seconds": seconds, "peak": peak, "before": before, "whole": whole, "refused": refused}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:]))
