"""Run all sites on this machine: the default engine, for simulation, rehearsal and teaching.

The gate is the same code as in a hospital; only the way between coordinator and sites is a function call. Answers are worked out one
after the other, or by worker processes, and are the same bits either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wardround.engines.workers import Job, Pool
from wardround.site.accept import accept
from wardround.site.gate import Site, Work
from wardround.site.release import release
from wardround.study.dataset import Dataset
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Engine, Reply
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal, SiteWork, Task, Update


@dataclass(frozen=True)
class Place:
    """Hold one simulated hospital: its gate, its snapshot in memory, and where the snapshot lies."""

    site: Site
    data: Dataset
    snapshot: Path


class InProcess(Engine):
    """Carry tasks by function call.

    Args:
        protocol: the signed plan.
        places: the simulated hospitals, by name.
        workers: processes that work out answers; 0 for none.
    """

    def __init__(self, protocol: Protocol, places: Mapping[str, Place], workers: int = 0) -> None:
        """Take in the sites; start worker processes if asked for."""
        self._protocol = protocol
        self._places = dict(places)
        self._accepted: list[Work | Update | Refusal | None] = []
        self._pool = Pool(workers, protocol) if workers else None

    def sites(self) -> tuple[str, ...]:
        """Return the names of the sites, sorted."""
        return tuple(sorted(self._places))

    def send(self, tasks: Sequence[Task]) -> None:
        """Let each site's gate accept or refuse its task."""
        self._accepted += [accept(self._places[task.site].site, task) for task in tasks]

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        """Work out what was accepted, and let each answer out through its site's gate.

        Without worker processes a site cannot be interrupted, so `due` counts only with them.
        """
        accepted, self._accepted = self._accepted, []
        work = [one for one in accepted if isinstance(one, Work)]
        yield from (one for one in accepted if isinstance(one, Update | Refusal))
        for number, reply in self._here(work) if self._pool is None else self._pool.run([self._job(one) for one in work], due):
            site = self._places[work[number].task.site].site
            if isinstance(reply, Refusal):
                yield site.refuse(work[number].task, "answer", reply.reason, reply.remedy, reply.again)
            else:
                yield release(site, work[number], *reply)

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.close()

    def _job(self, work: Work) -> Job:
        place = self._places[work.task.site]
        return Job(work.task.site, place.snapshot, work.task.phase, work.task.body, place.site.state.mine(), work.rng)

    def _here(self, work: Sequence[Work]) -> Iterator[tuple[int, Reply]]:
        """Answer in this process, site by site; what fails at one site is that site's refusal."""
        inputs = [SiteWork(self._places[one.task.site].data, self._places[one.task.site].site.state.mine(), one.rng) for one in work]
        done = 0
        while done < len(work):
            try:
                for reply in self._protocol.by_phase[work[done].task.phase].answer_many(work[done].task.body, inputs[done:]):
                    yield done, reply
                    done += 1
                if done < len(work):
                    raise IndexError("answer_many gave too few answers")
            except Exception as error:
                yield done, self._failed(work[done].task.site, error)
                done += 1

    def _failed(self, site: str, error: Exception) -> Refusal:
        if self._protocol.unregistered and not isinstance(error, WardroundError):
            raise error  # a researcher's own code: the traceback is what helps
        return Refusal.of(site, error)
