"""Make clean runs of many kinds: whatever happens on the way, nobody cheats in them, so `verify` must not fail on any.

Tasks and answers get lost, gates refuse, runs are interrupted and taken up again, researchers bring rules and models of their own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.parts import hospitals
from benchmarks.parts.hospitals import Shape
from wardround import load_study, simulate
from wardround.coordinator import events
from wardround.engines.inprocess import InProcess, Place
from wardround.simulation import Result, from_module
from wardround.study.arrays import Arrays
from wardround.study.errors import QuorumNotMet
from wardround.study.interfaces import Rule
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal, Task, Update

SHORT = Shape(rounds=4, patients=60)
AGAIN = 20
"""How often a run that lacks its quorum is started again before it counts as stuck."""


@dataclass(frozen=True)
class Middle(Rule):
    """Take the median of the sites' updates."""

    def combine(self, updates: Mapping[str, Arrays], counts: Mapping[str, float]) -> Arrays:
        """Return the median over sites, element by element."""
        names = next(iter(updates.values()))
        return {name: np.median([update[name] for update in updates.values()], axis=0) for name in names}


@dataclass(frozen=True)
class Kind:
    """Say what a clean run is like.

    Attributes:
        name: in a few words.
        shape: of the study.
        lost: share of tasks and of answers that are lost on the way.
        interrupted: after how many answers the run is interrupted, once for each number.
        own_rule: bring an own aggregator.
        own_model: bring an own module.
        workers: worker processes.
    """

    name: str
    shape: Shape
    lost: float = 0.0
    interrupted: tuple[int, ...] = ()
    own_rule: bool = False
    own_model: bool = False
    workers: int = 0


def kinds(count: int) -> list[Kind]:
    """Return so many different kinds of clean runs, at most twenty."""
    tune = "learning_rate = [0.02, 0.2], batch_size = [8, 32]"
    found = [
        Kind("plain", replace(SHORT, seed=1)),
        Kind("answers and tasks lost", replace(SHORT, seed=2, sites=6), lost=0.2),
        Kind("interrupted once", replace(SHORT, seed=3), interrupted=(7,)),
        Kind("tuned", replace(SHORT, seed=4, tune=tune)),
        Kind("tuned and refitted", replace(SHORT, seed=5, tune=tune, refit=True)),
        Kind("three classes", replace(SHORT, seed=6, classes=3)),
        Kind("own aggregator", replace(SHORT, seed=7), own_rule=True),
        Kind("gates refuse", replace(SHORT, seed=8, update=0.06, sites=7)),
        Kind("two sites", replace(SHORT, seed=9, sites=2)),
        Kind("eight sites, much lost", replace(SHORT, seed=10, sites=8, quorum=5), lost=0.3),
        Kind("interrupted often", replace(SHORT, seed=11, sites=5), interrupted=(0, 1, 5, 9, 3)),
        Kind("lost and interrupted", replace(SHORT, seed=12, sites=5), lost=0.2, interrupted=(4, 11)),
        Kind("own model", replace(SHORT, seed=13), own_model=True),
        Kind("refitted, lost", replace(SHORT, seed=14, tune=tune, refit=True, sites=6), lost=0.15),
        Kind("four classes, lost", replace(SHORT, seed=15, classes=4, sites=5), lost=0.15),
        Kind("own aggregator, lost", replace(SHORT, seed=16, sites=6), lost=0.2, own_rule=True),
        Kind("one site", replace(SHORT, seed=17, sites=1, quorum=1)),
        Kind("one setting diverges", replace(SHORT, seed=18, tune="learning_rate = [0.1, 100.0]")),
        Kind("worker processes", replace(SHORT, seed=19), workers=2),
        Kind("tuned, interrupted, three classes", replace(SHORT, seed=20, classes=3, tune=tune), interrupted=(30,)),
    ]
    return found[:count]


class _Interrupted(Exception):
    """Stand for a process that ends here."""


def make(kind: Kind, folder: Path) -> Result:
    """Run a study of a kind to its end, in `folder`/run."""
    made = hospitals.write(folder / "inputs", kind.shape)
    left = list(kind.interrupted)
    dice = random.Random(kind.shape.seed)

    def engine(protocol: Protocol, places: Mapping[str, Place], workers: int = 0) -> InProcess:
        return Lossy(protocol, places, workers, kind.lost, dice)

    for _ in range(AGAIN):
        answers = left.pop(0) if left else -1

        def watch(event: events.Event, answers: list[int] = [answers]) -> None:  # noqa: B006
            if isinstance(event, events.Answered):
                answers[0] -= 1
                if answers[0] == -1:
                    raise _Interrupted

        try:
            with mock.patch("wardround.simulated.InProcess", engine):
                return _simulate(kind, made, folder / "run", watch)
        except (_Interrupted, QuorumNotMet):
            continue
    raise QuorumNotMet(f"The clean run {kind.name!r} is stuck.", "Look into it: a run that nobody disturbs any more should end.")


def _simulate(kind: Kind, made: hospitals.MadeUp, out: Path, watch: events.Watch) -> Result:
    model = None
    if kind.own_model:
        import torch

        torch.manual_seed(1)
        inputs = 4  # age, marker, whether marker is missing, sex
        model = from_module(torch.nn.Sequential(torch.nn.Linear(inputs, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)))
    rule = Middle() if kind.own_rule else None
    return simulate(load_study(made.study), list(made.sites), out, aggregator=rule, model=model, workers=kind.workers, watch=watch)


class Lossy(InProcess):
    """Lose tasks and answers on the way, as a network does.

    Args:
        protocol: the signed plan.
        places: the simulated hospitals.
        workers: worker processes.
        lost: share that is lost.
        dice: chooses.
    """

    def __init__(self, protocol: Protocol, places: Mapping[str, Place], workers: int, lost: float, dice: random.Random) -> None:
        """Take in the sites and what may be lost."""
        super().__init__(protocol, places, workers)
        self._lost, self._dice = lost, dice

    def send(self, tasks: Sequence[Task]) -> None:
        """Hand over what is not lost."""
        super().send([task for task in tasks if self._dice.random() >= self._lost])

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        """Give back what is not lost; a refusal is an answer too."""
        for reply in super().receive(due):
            if self._dice.random() >= self._lost:
                yield reply
