"""Walk through studies with made-up totals, the same everywhere, and print the digest of each state: what every site must repeat.

Run as `python -m tests.system.walk`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.support import plan
from wardround.combining.fixedpoint import decoded
from wardround.combining.secure.groups import combined
from wardround.learning.network import initial_parameters
from wardround.study.arrays import Arrays, arrays_digest
from wardround.study.layout import Layout
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Done, State, Total

SITES = 5
TRAIN: dict[str, Any] = {"name": "train", "kind": "fedavg", "rounds": 4, "learning_rate": 0.1, "batch_size": 16}
KINDS: dict[str, dict[str, Any]] = {
    "mean": {},
    "momentum": {"server_momentum": 0.9},
    "adam": {"server_optimiser": "adam", "server_learning_rate": 0.1},
}


def protocols() -> Iterator[tuple[str, Protocol]]:
    """Yield studies of several kinds, by name."""
    for name, options in KINDS.items():
        phases = [{"name": "moments", "kind": "moments"}, {**TRAIN, **options}, {"name": "test", "kind": "evaluate"}]
        yield name, Protocol.model_validate(plan(phases=phases)).complete()
    tuned = {"tune": {"learning_rate": [0.1, 0.3]}, "refit": True}
    yield "tuned", Protocol.model_validate(plan(evaluation=tuned)).complete()


def totals(layout: Layout, rng: np.random.Generator) -> Arrays:
    """Return a total within the limits: whole numbers, drawn without any arithmetic on floats."""
    found = {}
    for term in layout:
        most = int(np.min(np.asarray(term.limit) / np.asarray(term.step))) // 64
        value = rng.integers(0 if term.kind == "count" else -most, max(most, 1), term.shape, dtype=np.int64)
        found[term.name] = value.astype(f"int{term.bits}")
    for per in {term.per for term in layout if term.per is not None}:
        found[per] = np.asarray(40 * SITES, found[per].dtype)
    return found


def walk(protocol: Protocol) -> Iterator[str]:
    """Yield the digest of what is asked in each round, and of each phase's end."""
    rng = np.random.Generator(np.random.Philox(key=7))
    shapes = {name: (value.shape, value.dtype) for name, value in initial_parameters(protocol).items()}
    initial = {
        name: (rng.integers(-1024, 1024, shape) / 1024).astype(kind) if np.issubdtype(kind, np.floating) else np.zeros(shape, kind)
        for name, (shape, kind) in shapes.items()
    }
    known = {"initial": Done("initial", 0, initial)}
    for algorithm in protocol.algorithms:
        state: State | Done = algorithm.begin(protocol, known, Stream.public(protocol.evaluation.seed).child("phase", algorithm.phase))
        while isinstance(state, State):
            ask = algorithm.ask(state)
            yield f"{algorithm.phase} {state.round} {ask.digest} {ask.layout_digest}"
            integers = totals(ask.layout, rng)
            groups = [decoded(ask.layout, totals(ask.layout, rng)) for _ in range(SITES)]
            yield f"groups {arrays_digest(combined(ask.layout, groups))}"
            state = algorithm.advance(state, Total(ask.layout, integers, decoded(ask.layout, integers), SITES))
        known[algorithm.phase] = state
        yield f"{algorithm.phase} ends after {state.round}: {state.stopped} {state.digest} {arrays_digest(state.results)}"


def features() -> dict[str, bool]:
    """Return which vector instructions numpy chooses among on this machine, and whether it uses them in this process."""
    umath = importlib.import_module("numpy._core._multiarray_umath")
    return {name: bool(umath.__cpu_features__.get(name)) for name in umath.__cpu_dispatch__}


if __name__ == "__main__":
    print(" ".join(name for name, used in features().items() if used), file=sys.stderr)
    for kind, agreed in protocols():
        for line in walk(agreed):
            print(kind, line)
