"""Run a shortened study on made-up rows in a process of its own, and say what each round took: seconds, bytes and memory.

Nothing of a patient is read. Sites, gates, sums and messages are the true ones, in one process, so that bytes come out exactly and seconds
are this machine's. The process is given a JSON document on its standard input and answers with one on its standard output.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wardround.coordinator import events
from wardround.coordinator.store import Store
from wardround.data.site_file import SiteFile
from wardround.engines.inprocess import Place
from wardround.engines.messages import Message, task_message, update_message
from wardround.engines.parts import SIZE, Body
from wardround.simulated import SimulatedStudy
from wardround.study.arrays import from_bytes
from wardround.study.canonical import canonical
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Engine
from wardround.study.protocol import Protocol
from wardround.study.protocol.plugged import Plugged
from wardround.study.task import Refusal, Task, Update

SIGNATURE = 160
"""Bytes of a message beside its header: the signature and what stands around it."""

Turn = tuple[str, int]


@dataclass
class Taken:
    """Hold what one round took, all its attempts together.

    Attributes:
        stages: by exchange, seconds by site.
        up: bytes by site, messages and sums.
        down: the same towards the site.
        counting: seconds that went into counting and belong to no study.
    """

    stages: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    up: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    down: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    counting: float = 0.0


class Counting(Engine):
    """Carry tasks like the engine within, and note how long each site takes and how long the messages are that a hub would carry.

    Args:
        within: does the work.
        hides: how the protocol's sums are hidden.
    """

    def __init__(self, within: Engine, hides: str) -> None:
        """Begin with nothing counted."""
        self._within, self._hides = within, hides
        self._open: dict[str, Task] = {}
        self._had: dict[str, set[str]] = defaultdict(set)
        self.taken: dict[Turn, Taken] = defaultdict(Taken)
        self.helpers = 0
        """Peak memory of worker processes, bytes; 0 without, or where the system does not say."""

    def sites(self) -> tuple[str, ...]:
        """Return the names of the sites."""
        return self._within.sites()

    def send(self, tasks: Sequence[Task]) -> None:
        """Hand over each task by itself, so that each gate's time is known."""
        self._open = {task.digest: task for task in tasks}
        for task in tasks:
            taken, began = self.taken[task.phase, task.round], time.perf_counter()
            taken.down[task.site] += self._asked(task)
            sent = time.perf_counter()
            taken.counting += sent - began
            self._within.send([task])
            if task.stage != "close":  # which is no exchange of that round
                taken.stages[task.stage][task.site] += time.perf_counter() - sent

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        """Give back answers as they come."""
        began = time.perf_counter()
        for reply in self._within.receive(due):
            now, task = time.perf_counter(), self._open[reply.task]
            taken = self.taken[task.phase, task.round]
            taken.stages[task.stage][reply.site] += now - began
            if isinstance(reply, Update):
                taken.up[reply.site] += self._answered(task, reply)
            self.helpers = max(self.helpers, *(peak(one) for one in children()), 0)
            taken.counting += time.perf_counter() - now
            yield reply
            began = time.perf_counter()

    def close(self) -> None:
        """Let go of worker processes."""
        self._within.close()

    def _asked(self, task: Task) -> int:
        """Return the bytes of a task: its message, and what it asks, or what it takes to work that out and is not at the site yet."""
        if task.supplies is None:
            size = len(task.body.wire) if task.stage == "answer" else 0
            return _length(task_message(task, _body(size) if size else None)) + size
        fresh = {name: data for name, data in task.supplies.items() if name not in self._had[task.site]}
        self._had[task.site] |= fresh.keys()
        named = {name: _body(len(data)) for name, data in task.supplies.items()}
        return _length(task_message(task, None, named)) + sum(len(data) for data in fresh.values())

    def _answered(self, task: Task, update: Update) -> int:
        """Return the bytes of an update: its message, and its sums beside it where they do not travel within."""
        short = task.stage in ("keys", "shares", "agree") or (task.stage == "open" and self._hides != "window")
        message = update_message(task, update, None if short else _body(len(update.body)))
        return _length(message) + (0 if short else len(update.body))


class Calibrated(SimulatedStudy):
    """Be a simulated study whose engine counts."""

    def _engine(self, places: Mapping[str, Place]) -> Engine:
        self.counting = Counting(super()._engine(places), self.protocol.combiner.hides)
        return self.counting


def _body(size: int) -> Body:
    """Return a body of so many bytes, whose parts have names of the right length."""
    return Body(size, ("0" * 64,) * -(-size // SIZE))


def _length(message: Message) -> int:
    """Return how many bytes travel for a message."""
    head = {name: getattr(message, name) for name in ("kind", "study", "protocol", "sender", "to")}
    body = None if message.body is None else message.body.describe()
    return len(canonical({**head, "turn": dict(message.turn), "content": dict(message.content), "body": body})) + SIGNATURE


def peak(process: int | str = "self") -> int:
    """Return the most memory that a process ever had, bytes; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM")), 0)
    return 0


def children() -> list[int]:
    """Return this process's children, as far as the system says."""
    with suppress(OSError, ValueError):
        return [int(one) for one in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()]
    return []


def run(protocol: Protocol, rows: Mapping[str, int], workers: int) -> dict[str, Any]:
    """Run a study on made-up rows, and return what it took.

    Args:
        protocol: shortened, complete, without initial parameters.
        rows: of each site.
        workers: worker processes.
    """
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place) / "state.sqlite")
        try:
            study = Calibrated(protocol, made_up(rows), Path(place), store, None, None, workers, events.nobody)
            result = study.run()
        finally:
            store.close()
        return {
            "rounds": [_round(row, study.counting.taken[row["phase"], row["round"]]) for row in result["history"]],
            "judging": result["seconds"]["judging"],
            "fixed": result["seconds"]["this_run"] - result["seconds"]["judging"] - result["seconds"]["rounds"],
            "parameters": sum(value.nbytes for value in study.initial.values()),
            "refused": [one["reason"] for one in result["refusals"]],
            "worker": study.counting.helpers,
        }


def made_up(rows: Mapping[str, int], seed: int = 0) -> list[SiteFile]:
    """Return sites whose rows are made up from the contract alone.

    Args:
        rows: of each site.
        seed: of the first one's rows.
    """
    return [
        SiteFile(name=name, source=Plugged(kind="synthetic", options={"rows": count, "seed": seed + number}).complete("source", "source"))
        for number, (name, count) in enumerate(sorted(rows.items()))
    ]


def _round(row: Mapping[str, Any], taken: Taken) -> dict[str, Any]:
    """Return one round: its seconds, of these how long sites took in each exchange, and its bytes."""
    stages = {stage: dict(sites) for stage, sites in taken.stages.items()}
    own = {name: row[name] for name in ("phase", "round", "bytes_up", "bytes_down")}
    return {**own, "seconds": row["seconds"] - taken.counting, "stages": stages, "up": dict(taken.up), "down": dict(taken.down)}


def _resident(part: str, protocol: Protocol) -> int:
    """Return the memory of a hospital's gate or of the coordinator, once its program is loaded and the plan read."""
    if part == "gate":
        import wardround.hospital
    else:
        import wardround.serving  # noqa: F401
    assert protocol.algorithms
    return peak()


def main() -> int:
    """Do what standard input asks, and print what it took."""
    asked = json.load(sys.stdin)
    try:
        found = _found(asked)
    except WardroundError as error:
        found = {"error": error.message, "remedy": error.remedy}
    print(json.dumps(found))
    return 0


def _found(asked: Mapping[str, Any]) -> dict[str, Any]:
    if asked["part"] != "study":
        return {"peak": _resident(asked["part"], Protocol.model_validate(asked["protocol"]))}
    plans = {int(most): Protocol.model_validate(plan) for most, plan in asked["plans"].items()}
    if asked.get("model"):
        model = from_bytes(Path(asked["model"]).read_bytes())
        plans = {most: plan.bringing(model, "model" if plan.evaluates else "start") for most, plan in plans.items()}
    runs = [{**run(plans[most], asked["rows"], workers), "most": most} for most, workers in asked["runs"]]
    return {"runs": runs, "peak": peak()}


if __name__ == "__main__":
    sys.exit(main())
