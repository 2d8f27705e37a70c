"""A round of the secure sum with every gate in this one process, and what it costs at one of them: time, bytes and memory.

Run as `python -m benchmarks.parts.masking FOLDER SITES NUMBERS TENSOR` for a model of so many float32 parameters, in tensors of at most
`TENSOR`. Coordinator, combiner and gates are the true ones; only the hub is left out. What is measured is the first site's part alone.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from benchmarks.parts.echo import peak_memory, stand_in
from tests.support import protocol, rows, small
from wardround.combining.fixedpoint import packed
from wardround.combining.secure.masks import add
from wardround.combining.secure.session import Session
from wardround.engines.inprocess import InProcess, Place
from wardround.engines.messages import update_message
from wardround.engines.parts import Body
from wardround.site.accept import accept
from wardround.site.gate import Work
from wardround.site.release import release
from wardround.study.arrays import Stored, keep
from wardround.study.dataset import Dataset
from wardround.study.files import Kept, blocks
from wardround.study.task import Answer, Refusal, Task, Update

T = TypeVar("T")


@dataclass
class Costs:
    """Hold what the first site's part of a round costs.

    Attributes:
        steps: process seconds of each exchange at the gate: task taken in, reply signed, logged and committed.
        masks: process seconds in which its masks are derived, expanded and added, by themselves.
        encode: process seconds in which its sums become integers in a file, as in a plain round too; not among the steps.
        said: bytes of all its messages and of what it uploads.
        memory: bytes that encoding, masking and writing the answer take at their peak, beyond what the process held before.
    """

    steps: dict[str, float] = field(default_factory=dict)
    masks: float = 0.0
    encode: float = 0.0
    said: int = 0
    memory: float = 0.0


class Gates(InProcess):
    """Carry tasks by function call to gates that keep what is large in files, and measure the first of them."""

    costs: ClassVar[Costs]
    database: ClassVar[sqlite3.Connection]

    def send(self, tasks: Sequence[Task]) -> None:
        """Let each gate take its task in."""
        for task in tasks:
            place = self._places[task.site]
            accepted = self._measured(task, lambda place=place, task=task: accept(place.site, task))  # type: ignore[misc]
            if isinstance(accepted, Work):
                self._work.append(accepted)
            elif accepted is not None:
                self._ready.append(self._counted(task, accepted))

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        """Have each site answer, and let its answer out; the file in which a worker would put its sums is made before."""
        ready, self._ready = self._ready, []
        yield from ready
        work, self._work = self._work, []
        for one in work:
            place = self._places[one.task.site]
            answer, _ = self._protocol.by_phase[one.task.phase].answer(one.task.body, place.data, {}, one.rng)
            room = room_of(place)
            sums = Stored(keep(answer.sums, room / "sums").path)
            del answer
            if self._first(one.task):
                self._apart(one, place, sums)
            update = self._counted(one.task, self._let_out(one, place, sums))
            yield update
            for file in room.iterdir():
                file.unlink()

    def _first(self, task: Task) -> bool:
        return task.site == self.sites()[0] and task.stage != "close"

    def _measured(self, task: Task, what: Callable[[], T]) -> T:
        began = time.process_time()
        found = what()
        self.database.commit()
        if self._first(task):
            self.costs.steps[task.stage] = self.costs.steps.get(task.stage, 0.0) + time.process_time() - began
        return found

    def _let_out(self, work: Work, place: Place, sums: Stored) -> Update | Refusal:
        if self._first(work.task):
            before = memory_now()
        settled = self._measured(work.task, lambda: release(place.site, work, Answer(sums), None))
        if self._first(work.task):
            self.costs.memory = peak_memory() * 1e6 - before
            self.costs.steps["answer"] -= self.costs.encode
        return settled

    def _apart(self, work: Work, place: Place, sums: Stored) -> None:
        """Measure two parts of letting an answer out by themselves: encoding and masking."""
        layout = work.task.body.layout
        began = time.process_time()
        body = packed(layout, sums, place.site.room)
        self.costs.encode = time.process_time() - began
        if isinstance(body, Kept):
            body.remove()
        zeros = [np.ones(term.shape, f"uint{term.bits}") for term in layout]
        last = place.site.state.sessions.last(work.task.phase, Session.from_json)
        assert last is not None
        began = time.process_time()
        masks = last.session.masks()
        for number, values in enumerate(zeros):
            add(masks, number, values)
        self.costs.masks = time.process_time() - began

    def _counted(self, task: Task, said: Update | Refusal) -> Update | Refusal:
        """Count the bytes of a message as the hub gets it, and of the upload that it names."""
        if self._first(task) and isinstance(said, Update):
            body = Body.of(blocks(said.body)) if task.stage == "answer" else None
            message = update_message(task, said, body).signed(self._places[task.site].site.keys.signing)
            self.costs.said += len(message) + (body.size if body is not None else 0)
        return said


def room_of(place: Place) -> Path:
    """Return a gate's folder for what is large."""
    assert place.site.room is not None
    place.site.room.mkdir(parents=True, exist_ok=True)
    return place.site.room


def memory_now() -> float:
    """Forget the peak so far; return how many bytes this process has resident."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory() * 1e6


def main(folder: Path, sites: int, numbers: int, tensor: int) -> None:
    """Run one round; print what it cost the first site."""
    phases = [{"name": "train", "kind": "fedavg", "rounds": 1}]
    rounds, bounds = {"quorum": sites, "combine": "secure"}, {"sites": sites, "examples": 500}
    agreed = protocol(phases=phases, model={"normalise": "none"}, rounds=rounds, bounds=bounds)
    stand_in(agreed, numbers, 1, tensor)
    folder.mkdir(parents=True)
    Gates.costs = Costs()
    data: dict[str, Dataset] = {f"site{number:02d}": rows(number) for number in range(sites)}
    made = small(folder, agreed, data, kind=Gates)
    Gates.database = made.store.connection
    for name, place in made.places.items():
        made.engine._places[name] = replace(place, site=replace(place.site, room=folder / name))  # type: ignore[attr-defined]
    made.run()
    found: dict[str, Any] = {**asdict(Gates.costs), "refused": [f"{one.site}: {one.reason}" for one in made.refused]}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
