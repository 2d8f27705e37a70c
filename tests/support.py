"""Small real studies for tests: four hospitals with made-up rows, all the true parts, nothing mocked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.coordinator import events
from wardround.coordinator.book import Book
from wardround.coordinator.followed import book_of
from wardround.coordinator.rounds import Step, run_study
from wardround.coordinator.store import Store
from wardround.data.snapshot import write_snapshot
from wardround.engines.inprocess import InProcess, Place
from wardround.learning.network import initial_parameters
from wardround.record.log import Log
from wardround.record.note import Signer
from wardround.site.following import Following
from wardround.site.gate import Site
from wardround.site.keys import SiteKeys
from wardround.site.policy import Policy
from wardround.site.state import SiteState
from wardround.site.states import States
from wardround.study.arrays import arrays_digest
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Combiner, Engine
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Done

PHASES: list[dict[str, Any]] = [
    {"name": "moments", "kind": "moments"},
    {"name": "train", "kind": "fedavg", "rounds": 3, "learning_rate": 0.1, "batch_size": 16},
    {"name": "local", "kind": "local"},
    {"name": "test", "kind": "evaluate"},
]


def plan(**changes: Any) -> dict[str, Any]:
    """Return a small study as `study.toml` would give it, with some tables changed (merged into the table, lists replaced)."""
    number = {"type": "number", "unit": "1", "range": [-5, 5], "missing": "indicator"}
    tables: dict[str, Any] = {
        "study": "small",
        "question": {"kind": "binary", "title": "Small", "purpose": "Test."},
        "parties": {"coordinator": "Test centre"},
        "contract": {
            "label": "ill",
            "fields": {"a": number, "b": number, "sex": {"type": "code", "codes": ["f", "m"]}, "ill": {"type": "code", "codes": [0, 1]}},
        },
        "model": {"kind": "mlp", "hidden": [5]},
        "phases": PHASES,
        "bounds": {"sites": 6, "examples": 500},
        "rounds": {"quorum": 2, "due_seconds": 60},
        "evaluation": {"metrics": ["auroc", "accuracy"], "replicates": 30},
    }
    for name, change in changes.items():
        tables[name] = {**tables[name], **change} if isinstance(change, dict) and isinstance(tables.get(name), dict) else change
    return tables


def protocol(**changes: Any) -> Protocol:
    """Return the small study's protocol, complete and with initial parameters by digest."""
    draft = Protocol.model_validate(plan(**changes)).complete()
    return draft.changed(initial={"model": arrays_digest(initial_parameters(draft))})


def rows(seed: int, count: int = 60, classes: int = 2) -> Dataset:
    """Return made-up rows whose label depends on both numbers, some values missing, roles 60/20/20 %."""
    rng = np.random.default_rng(seed)
    a, b = np.clip(rng.normal(seed % 3 - 1, 1, count), -5, 5), np.clip(rng.normal(0, 1, count), -5, 5)
    score = a + 0.5 * b + rng.normal(0, 0.5, count)
    label = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes)).astype(np.int32)
    a[rng.random(count) < 0.1] = np.nan
    role = np.repeat([0, 1, 2], [count - 2 * (count // 5), count // 5, count // 5]).astype(np.int8)
    columns: dict[str, np.ndarray] = {"a": a, "b": b, "sex": rng.integers(0, 2, count).astype(np.int32), "ill": label}
    return Dataset(columns, np.arange(count), rng.permutation(role))


@dataclass
class Small:
    """Hold a small study that can be run, and everything in it."""

    protocol: Protocol
    store: Store
    book: Book
    places: dict[str, Place]
    engine: Engine
    seen: list[events.Event]
    combiner: Combiner
    names: tuple[str, ...] = ()

    def run(self) -> dict[str, Done]:
        """Run what is left of it."""
        steps = [Step(algorithm, self.combiner) for algorithm in self.protocol.algorithms]
        return run_study(self.protocol, steps, self.engine, self.book, initial_parameters(self.protocol))

    @property
    def refused(self) -> list[events.Refused]:
        """Return who was refused so far."""
        return [event for event in self.seen if isinstance(event, events.Refused)]


def small(
    folder: Path,
    agreed: Protocol | None = None,
    data: Mapping[str, Dataset] | None = None,
    *,
    workers: int = 0,
    kind: type[InProcess] = InProcess,
    wrap: Callable[[Engine], Engine] = lambda engine: engine,
    combiner: Combiner | None = None,
    following: bool = False,
) -> Small:
    """Return a small study in a folder; the same folder again goes on where the last one stopped."""
    agreed = agreed or protocol()
    data = data or {f"site{number}": rows(number, 60 + 7 * number) for number in range(4)}
    store = Store(folder / "state.sqlite")
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signer = Signer("coordinator.test/small", key)
    log = Log(store.connection, signer.name, signer, agreed.study)
    places = {}
    for name, dataset in sorted(data.items()):
        keys = SiteKeys(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")), Stream.public(7).child(name))
        state = SiteState(store.connection, agreed.digest, name, "snapshot")
        own = Signer(f"{name}.test/small", keys.signing)
        site = Site(
            name,
            agreed,
            keys,
            Policy(frozenset({agreed.digest}), simulation=True),
            state,
            Log(store.connection, own.name, own, agreed.study),
            key.public_key(),
            len(dataset.rows("train")),
            following=Following(agreed, state.sessions, States(folder / f"{name}-following")) if following else None,
        )
        place = write_snapshot(dataset, agreed.contract, "table", folder / "snapshots" / name)[1] if workers else folder
        places[name] = Place(site, dataset, place)
    seen: list[events.Event] = []
    identities = {name: place.site.keys.public for name, place in places.items()}
    book = book_of(agreed, initial_parameters(agreed), store, log, key, identities, seen.append)
    engine = wrap(kind(agreed, places, workers))
    combiner = combiner or agreed.combiner
    return Small(agreed, store, book, places, engine, seen, combiner, tuple(sorted(places)))
