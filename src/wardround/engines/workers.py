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
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from wardround.study.arrays import Arrays, Stored, from_bytes, to_bytes
from wardround.study.errors import ProtocolError, VerificationError
from wardround.study.frames import read_frame, write_frame
from wardround.study.interfaces import Reply
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Refusal


@dataclass(frozen=True)
class Job:
    """Hold what a worker needs for one answer; of each site it keeps the snapshot of the last job in memory, and no older one."""

    site: str
    snapshot: Path
    phase: str
    ask: Ask
    mine: Mapping[str, Arrays]
    rng: Stream


class Pool:
    """Share jobs among processes, each at its next when it has finished one.

    Args:
        workers: how many processes; never more than cores is sensible.
        protocol: the signed plan.
    """

    def __init__(self, workers: int, protocol: Protocol) -> None:
        """Start the processes; they import torch while the coordinator prepares."""
        if protocol.unregistered:
            raise ProtocolError(
                "Own objects cannot go to worker processes.", "Run with workers = 0, or register the model or rule as a plugin."
            )
        self._start = json.dumps({"protocol": protocol.model_dump(mode="json")}).encode()
        self._processes: list[subprocess.Popen[bytes]] = [self._new() for _ in range(workers)]

    def run(self, jobs: Sequence[Job], due: float) -> Iterator[tuple[int, Reply]]:
        """Yield each job's number and reply as they come.

        A job has `due` seconds from when a worker takes it; a worker that is late is ended, and its job is not among the replies.
        """
        waiting = list(range(len(jobs)))
        busy: dict[int, tuple[int, float]] = {}
        with selectors.DefaultSelector() as selector:
            for number in range(len(self._processes)):
                self._watch(selector, number)
                self._feed(number, waiting, busy, jobs, due)
            while busy:
                first = min(until for _, until in busy.values())
                ready = [int(key.data) for key, _ in selector.select(max(0.0, first - time.monotonic()))]
                late = [number for number, (_, until) in busy.items() if until <= time.monotonic() and number not in ready]
                for number in ready:
                    job, _ = busy.pop(number)
                    yield job, self._reply(number, jobs[job])
                for number in late:
                    del busy[number]
                    self._processes[number].kill()
                for number in (*ready, *late):
                    if number in late or self._processes[number].poll() is not None:
                        selector.unregister(_pipe(self._processes[number].stdout))
                        self._replace(number)
                        self._watch(selector, number)
                    self._feed(number, waiting, busy, jobs, due)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            _end(process)

    def _new(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "wardround.learning.worker"]
        # A group of its own: Ctrl-C is for the coordinator, which then ends the workers; they would each print where it struck them.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
        write_frame(_pipe(process.stdin), {}, [self._start])
        return process

    def _watch(self, selector: selectors.BaseSelector, number: int) -> None:
        selector.register(_pipe(self._processes[number].stdout), selectors.EVENT_READ, number)

    def _feed(self, number: int, waiting: list[int], busy: dict[int, tuple[int, float]], jobs: Sequence[Job], due: float) -> None:
        if not waiting:
            return
        job = jobs[waiting[0]]
        phases = list(job.mine)
        header: dict[str, Any] = {"site": job.site, "snapshot": str(job.snapshot), "phase": job.phase, "private": job.rng.key.hex()}
        header["mine"] = phases
        stored = isinstance(job.ask.arrays, Stored)
        if isinstance(job.ask.arrays, Stored):
            header["ask"] = str(job.ask.arrays.path)
        bodies = [b"" if stored else job.ask.wire, *(to_bytes(job.mine[phase]) for phase in phases)]
        with suppress(BrokenPipeError):  # it died while it was idle; its end of the pipe tells, and the job is refused by name
            write_frame(_pipe(self._processes[number].stdin), header, bodies)
        busy[number] = (waiting.pop(0), time.monotonic() + due)

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
            return Refusal("", job.site, "answer", header["reason"], header["remedy"], kind=header["kind"] or "error")
        try:
            return Answer(Stored(Path(header["answer"])) if "answer" in header else from_bytes(bodies[0])), from_bytes(bodies[1]) if len(
                bodies
            ) > 1 else None
        except VerificationError as error:
            return replace(Refusal.of(job.site, error), again=True)

    def _replace(self, number: int) -> None:
        """Start a new process in place of one that ended."""
        _end(self._processes[number])
        self._processes[number] = self._new()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    _pipe(process.stdout).close()
    with suppress(BrokenPipeError):
        _pipe(process.stdin).close()
