"""Hospitals in studies of statistics, for tests: true folders, rules, ledgers and gates, and a coordinator that only asks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround import hospital
from wardround.bringing import prepare
from wardround.combining.fixedpoint import decoded, unpack
from wardround.data.snapshot import read_snapshot
from wardround.record.note import Signer
from wardround.site.desk import Desk
from wardround.site.folder import MEMBERSHIP, PROTOCOL, Membership, SiteFolder
from wardround.site.gate import Work
from wardround.site.journal import Journal
from wardround.study.arrays import Arrays
from wardround.study.canonical import digest
from wardround.study.interfaces import Algorithm, Reply
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.streams import Stream
from wardround.study.task import Ask, Refusal, State, Task, Update

COORDINATOR = Signer("coordinator.centre/counted", Ed25519PrivateKey.from_private_bytes(bytes(32)))
POLICY = """purposes = ["*"]
models = ["nothing"]
sources = ["table"]
min_patients = 10
rounds = 1000
hours = "any"
may_leave = ["sums", "counts", "record"]
release = "auto"
sites = ["*"]
[statistics]
ledger = "{ledger}"
studies = {studies}
counts = {counts}
smallest_count = {least}
"""


def study(
    phases: str, name: str = "counted", least: int = 10, combine: str = "plain", fields: str = "", patient: str = "patient"
) -> Protocol:
    """Return a study of statistics with these phases."""
    fields = fields or 'age = { type = "number", unit = "a", range = [0, 100] }\nsex = { type = "code", codes = ["f", "m"] }'
    text = f"""
kind = "statistics"
study = "{name}"
[question]
title = "Counted"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract]
patient = "{patient}"
[contract.fields]
{fields}
[bounds]
sites = 3
examples = 2000
[rounds]
quorum = {1 if combine == "plain" else 3}
combine = "{combine}"
[privacy]
counts = true
smallest_count = {least}
{phases}
"""
    return read_protocol(text, "study.toml")


def phase(kind: str, options: str = "", name: str = "") -> str:
    """Return one phase."""
    return f'[[phases]]\nname = "{name or kind}"\nkind = "{kind}"\n{options}\n'


def policy(ledger: str = "../ledger", studies: int = 1000, counts: int = 1_000_000, least: int = 10) -> str:
    """Return rules that allow a study of statistics."""
    return POLICY.format(ledger=ledger, studies=studies, counts=counts, least=least)


def join(path: Path, agreed: Protocol, table: Sequence[dict[str, object]], rules: str = "", where: str = "") -> SiteFolder:
    """Make a hospital's folder that has joined a study, with its table; `where` is what stands under [map] of its site file."""
    path.mkdir(parents=True)
    member = Membership(agreed.study, "north", "s1", "tls://127.0.0.1:1", "", COORDINATOR.vkey, agreed.digest, "1", 2**40, "")
    (path / MEMBERSHIP).write_text(json.dumps(asdict(member)))
    (path / PROTOCOL).write_bytes(agreed.canonical)
    (path / "policy.toml").write_text(rules or policy())
    (path / "site.toml").write_text(f'name = "north"\n[source]\nkind = "table"\npath = "rows.csv"\n[map]\n{where}\n')
    put(path, table)
    folder = SiteFolder(path)
    folder.make_keys()
    return folder


def put(path: Path, table: Sequence[dict[str, object]]) -> None:
    """Write a hospital's table."""
    lines = [",".join(table[0]), *(",".join(str(cell) for cell in row.values()) for row in table)]
    (path / "rows.csv").write_text("\n".join(lines) + "\n")


@dataclass
class Asking:
    """Ask one hospital's gate, as its coordinator would; no round is ever closed, so the site adopts nothing."""

    folder: SiteFolder
    desk: Desk
    connection: sqlite3.Connection

    def ask(self, phase: str) -> Update | Refusal:
        """Ask the first round of a phase."""
        agreed = self.folder.protocol
        algorithm = agreed.by_phase[phase]
        return self.send(task(agreed, algorithm.ask(first(algorithm)), phase, 0))

    def counts(self, phase: str) -> Arrays:
        """Return the counts that the gate let out for a phase: what travels, read as the coordinator would."""
        update, algorithm = self.ask(phase), self.folder.protocol.by_phase[phase]
        assert isinstance(update, Update), update
        layout = algorithm.ask(first(algorithm)).layout
        return decoded(layout, unpack(layout, update.body))

    def send(self, one: Task) -> Update | Refusal:
        """Send a task."""
        found = self.desk.settle(one)
        assert isinstance(found, Update | Refusal), found
        return found


def first(algorithm: Algorithm) -> State:
    """Return the first state of a statistic."""
    state = algorithm.begin(algorithm.protocol, {}, Stream.public(0))
    assert isinstance(state, State)
    return state


def task(agreed: Protocol, ask: Ask, phase: str, round: int) -> Task:
    """Return a task of the plain sum."""
    header = (agreed.study, agreed.digest, phase, round, 0)
    return Task(*header, "answer", "north", 60.0, ask.digest, digest(b""), (0, "0" * 64), body=ask, layout=ask.layout_digest)


@contextmanager
def asking(folder: SiteFolder) -> Iterator[Asking]:
    """Open a hospital's gate: what `site run` does, without a connection to a hub."""
    with closing(folder.database()) as connection:
        rules = folder.rules
        gate = folder.gate(connection, frozenset({folder.protocol.digest}), rules)
        data = read_snapshot(folder.snapshot)

        def worker(work: Work) -> Reply:
            return folder.protocol.by_phase[work.task.phase].answer(work.task.body, data, hospital.known(gate), work.rng)

        yield Asking(folder, Desk(gate, Journal(connection), connection, worker, rules), connection)


def ready(folder: SiteFolder) -> SiteFolder:
    """Prepare and approve."""
    prepare(folder)
    hospital.approve(folder, "officer")
    return folder
