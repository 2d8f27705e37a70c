"""Keep worker processes that answer: each sees snapshots and asks, one torch thread, and speaks through its pipe alone.

Frames are a JSON header and safetensors bodies, never pickle, so the same worker serves a hospital's gate.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wardround.study.arrays import Arrays, from_bytes, to_bytes
from wardround.study.errors import ProtocolError
from wardround.study.frames import read_frame, write_frame
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Refusal

Reply = tuple[Answer, Arrays | None] | Refusal


@dataclass(frozen=True)
class Job:
    """Hold what a worker needs for one answer."""

    site: str
    phase: str
    ask: Ask
    mine: Mapping[str, Arrays]
    rng: Stream


class Pool:
    """Share jobs among processes, each at its next when it has finished one.

    Args:
        workers: how many processes; never more than cores is sensible.
        protocol: the signed plan.
        snapshots: folder of each site's snapshot.
    """

    def __init__(self, workers: int, protocol: Protocol, snapshots: Mapping[str, Path]) -> None:
        """Start the processes; they import torch while the coordinator prepares."""
        if protocol.unregistered:
            raise ProtocolError(
                "Own objects cannot go to worker processes.", "Run with workers = 0, or register the model or rule as a plugin."
            )
        start = json.dumps(
            {"protocol": protocol.model_dump(mode="json"), "snapshots": {name: str(path) for name, path in snapshots.items()}}
        )
        self._start = start.encode()
        self._processes: list[subprocess.Popen[bytes]] = [self._new() for _ in range(workers)]

    def run(self, jobs: Sequence[Job], due: float) -> Iterator[tuple[int, Reply]]:
        """Yield each job's number and reply as they come, until all are done or `due` seconds have passed; late workers are ended."""
        waiting = list(range(len(jobs)))
        busy: dict[int, int] = {}
        until = time.monotonic() + due
        with selectors.DefaultSelector() as selector:
            for number, process in enumerate(self._processes):
                selector.register(_pipe(process.stdout), selectors.EVENT_READ, number)
                self._feed(number, waiting, busy, jobs)
            while busy:
                events = selector.select(max(0.0, until - time.monotonic()))
                if not events:
                    self._replace_all(busy)
                    return
                for key, _ in events:
                    number = int(key.data)
                    job = busy.pop(number)
                    reply = self._reply(number, jobs[job])
                    if self._processes[number].poll() is not None:
                        selector.unregister(key.fileobj)
                        self._processes[number] = self._new()
                        selector.register(_pipe(self._processes[number].stdout), selectors.EVENT_READ, number)
                    yield job, reply
                    self._feed(number, waiting, busy, jobs)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _pipe(pipe).close()

    def _new(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "wardround.learning.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        write_frame(_pipe(process.stdin), {}, [self._start])
        return process

    def _feed(self, number: int, waiting: list[int], busy: dict[int, int], jobs: Sequence[Job]) -> None:
        if not waiting:
            return
        busy[number] = waiting.pop(0)
        job = jobs[busy[number]]
        phases = list(job.mine)
        header = {"site": job.site, "phase": job.phase, "private": job.rng.key.hex(), "mine": phases}
        write_frame(_pipe(self._processes[number].stdin), header, [job.ask.wire, *(to_bytes(job.mine[phase]) for phase in phases)])

    def _reply(self, number: int, job: Job) -> Reply:
        frame = read_frame(_pipe(self._processes[number].stdout))
        if frame is None:
            self._processes[number].wait()
            return Refusal(
                "",
                job.site,
                "answer",
                "the worker process ended",
                "Look for memory that ran out; the site is asked again next round.",
                again=True,
            )
        header, bodies = frame
        if "reason" in header:
            return Refusal("", job.site, "answer", header["reason"], header["remedy"])
        return Answer(from_bytes(bodies[0])), from_bytes(bodies[1]) if len(bodies) > 1 else None

    def _replace_all(self, busy: Mapping[int, int]) -> None:
        for number in busy:
            self._processes[number].kill()
            self._processes[number].wait()
            self._processes[number] = self._new()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
