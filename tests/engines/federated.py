"""A real hub on loopback, a real coordinator, and four hospitals' gates in threads of this process: nothing is mocked.

Only the worker is not a process of its own, because starting torch four times would take longer than the tests.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import Small, protocol, rows
from wardround import centre, hospital
from wardround.coordinator import events
from wardround.coordinator.folder import Folder
from wardround.data.snapshot import write_snapshot
from wardround.serving import Serving
from wardround.site.folder import SiteFolder
from wardround.site.gate import Brought, Work
from wardround.site.keys import SiteKeys
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Reply
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

POLICY = """purposes = ["*"]
models = ["*"]
sources = ["table"]
min_patients = 10
rounds = 1000
hours = "any"
may_leave = ["sums", "counts", "record"]
release = "auto"
sites = ["*"]
"""


def open_protocol(**changes: object) -> Protocol:
    """Return the small study as hospitals can take part in it: counts may leave in plain sums."""
    return protocol(**{"privacy": {"counts": True}, **changes})


def hospitals(count: int = 4) -> dict[str, Dataset]:
    """Return the same rows as `tests.support.small` uses."""
    return {f"site{number}": rows(number, 60 + 7 * number) for number in range(count)}


def free_port() -> int:
    """Return a port of loopback that nothing uses now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def new_centre(path: Path, agreed: Protocol, gigabytes: float = 20, slots: int = 16) -> Folder:
    """Make a coordinator's folder with a hub on loopback that may keep so much on disk and knows so many sites."""
    centre.init(path, agreed, "centre", "127.0.0.1", free_port(), [], slots)
    settings = path / "coordinator.toml"
    settings.write_text(settings.read_text().replace("max_store = 20 ", f"max_store = {gigabytes:g} "))
    return Folder(path)


def bring(path: Path, name: str, data: Dataset, agreed: Protocol) -> SiteFolder:
    """Make a hospital's folder with rules, a snapshot, and keys that follow from its name, as it is before it joins."""
    path.mkdir(parents=True)
    (path / "policy.toml").write_text(POLICY)
    (path / "keys").mkdir(mode=0o700)
    keys = SiteKeys(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")), Stream.public(7).child(name))
    (path / "keys" / "identity").write_text(keys.to_bytes().hex())
    folder = SiteFolder(path)
    dataset = write_snapshot(data, agreed.contract, "table", folder.snapshots)[0]
    folder.bring(Brought(dataset.digest, dataset.patients, len(dataset.rows("train")), "table", len(dataset)))
    return folder


def let_in(made: Folder, folder: SiteFolder, name: str) -> None:
    """Invite a hospital, have it join and approve."""
    invite = folder.path / f"{name}.invite"
    invite.write_bytes(centre.invite(made, name, 1))
    hospital.join(folder.path, invite)
    hospital.approve(folder, "tester")


def worker(data: Dataset, agreed: Protocol, before: Callable[[Work], None] | None = None) -> Callable[[Work, Mapping[str, Arrays]], Reply]:
    """Return what answers in this process, maybe after something else was done."""

    def answer(work: Work, mine: Mapping[str, Arrays]) -> Reply:
        if before is not None:
            before(work)
        return agreed.by_phase[work.task.phase].answer(work.task.body, data, mine, work.rng)

    return answer


@dataclass
class Gate:
    """Hold one hospital whose gate runs in a thread."""

    name: str
    folder: SiteFolder
    data: Dataset
    agreed: Protocol
    said: list[str] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    before: Callable[[Work], None] | None = None
    _until: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take part."""
        self._until = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop taking part, and wait until that is so."""
        self._until.set()
        if self._thread is not None:
            self._thread.join(20)
            assert not self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Have it stop at its next look."""
        self._until.set()

    def wait(self, seconds: float) -> None:
        """Wait until the gate ended by itself."""
        assert self._thread is not None
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.said

    def _run(self) -> None:
        try:
            hospital.take_part(
                self.folder,
                self.said.append,
                worker(self.data, self.agreed, lambda work: self.before(work) if self.before else None),
                self._until,
            )
        except BaseException as error:
            self.failed.append(error)


@dataclass
class Federation:
    """Hold a coordinator that serves, and its hospitals."""

    centre: Folder
    serving: Serving
    gates: dict[str, Gate]
    seen: list[events.Event]


@contextmanager
def federation(
    path: Path, agreed: Protocol | None = None, data: Mapping[str, Dataset] | None = None, run: bool = True, gigabytes: float = 20
) -> Iterator[Federation]:
    """Serve a study on loopback with hospitals that have joined and approved; their gates run if `run`."""
    agreed = agreed or open_protocol()
    with ExitStack() as stack:
        made = new_centre(path / "centre", agreed)
        seen: list[events.Event] = []
        found = Federation(made, Serving(made, 0, seen.append), {}, seen)
        stack.callback(lambda: found.serving.close())  # whichever serves then
        for name, rows_of in (data or hospitals()).items():
            folder = bring(path / name, name, rows_of, agreed)
            let_in(made, folder, name)
            found.gates[name] = Gate(name, SiteFolder(folder.path), rows_of, made.protocol)
            stack.callback(found.gates[name].stop)
            if run:
                found.gates[name].start()
        stack.callback(_all_stop, found.gates)  # all at once; each looks every other second
        yield found


def _all_stop(gates: Mapping[str, Gate]) -> None:
    for gate in gates.values():
        gate.ask_to_stop()


def federated_small(made: Federation) -> Small:
    """Return a served study as the same thing that `tests.support.small` gives, once its sites have approved."""
    made.serving.gather_approvals()
    book = made.serving.book()
    combiner = made.centre.protocol.combiner
    return Small(made.centre.protocol, made.serving.store, book, {}, made.serving.engine, made.seen, combiner, tuple(sorted(made.gates)))
