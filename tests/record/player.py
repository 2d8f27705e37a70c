"""Play a small study into logs as honest parties would, or with a twist, and write its results folder."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.record import envelope, note
from wardround.record.bundle import export
from wardround.record.entries import band
from wardround.record.log import Log, Logged
from wardround.record.merkle import Tree, leaf_hash
from wardround.record.report import Report, Verdict
from wardround.study.canonical import canonical, digest

STUDY = "played"
PROTOCOL = canonical({"study": STUDY, "phases": ["moments", "train"]})
LAYOUT = canonical([{"name": "sum", "shape": [3], "bits": 64}])
MODEL, RESULT, REPORT = b"the model", b'{"study":"played"}', b"<html>the report</html>"

Twist = Callable[[str, str, dict[str, Any]], "list[dict[str, Any]]"]
"""(log, type, fields) -> the fields to append instead: none, one or several entries."""


def honest(log: str, type: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [fields]


def key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())


def some(*names: object) -> str:
    """Return a digest that stands for something."""
    return digest(canonical([str(name) for name in names]))


@dataclass
class Player:
    """Two sites (or more) and a coordinator, each with a log; phases of (name, rounds)."""

    sites: tuple[str, ...] = ("aarau", "basel")
    phases: tuple[tuple[str, int], ...] = (("moments", 1), ("train", 2))
    twist: Twist = honest
    release: bool = True
    refuses: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    """(site, phase, round) -> where its part ends."""
    kept: tuple[str, ...] = ()
    """Sites whose own rules keep their logs."""
    unheard: tuple[str, ...] = ()
    """Sites that handed no log over."""
    keeper: str = ""
    """Whose key signs that, if another's."""

    def __post_init__(self) -> None:
        ticks = itertools.count(1_795_000_000)
        self.connection = sqlite3.connect(":memory:")
        self.logs = {
            name: Log(self.connection, f"study.example/{STUDY}/{name}", self.signer(name), STUDY, clock=lambda: next(ticks))
            for name in ("study", *self.sites)
        }
        self.state = some("initial")
        self.layout = digest(LAYOUT)

    def signer(self, name: str) -> note.Signer:
        return note.Signer(f"study.example/{STUDY}/{name}", key(name))

    def add(self, log: str, type: str, **fields: Any) -> Logged | None:
        logged = None
        for one in self.twist(log, type, fields):
            logged = self.logs[log].append(one.pop("t", type), **one)
        return logged

    def play(self, directory: Path) -> Path:
        """Play the whole study, export it, and return the results folder."""
        self.agree()
        for phase, rounds in self.phases:
            for number in range(rounds):
                self.round(phase, number, last=number == rounds - 1)
            self.add("study", "phase_done", phase=phase, result=self.state, rounds=rounds, stopped="rounds")
        for site in self.unheard:
            self.add("study", "unheard", site=site)
        for site in self.kept:
            statement = canonical({"protocol": digest(PROTOCOL), "site": site})
            self.add("study", "kept", site=site, envelope=envelope.seal(envelope.KEPT, statement, key(self.keeper or site)))
        directory.mkdir(parents=True, exist_ok=True)
        if self.release:
            results = {"model.safetensors": MODEL, "result.json": RESULT, "report.html": REPORT}
            for name, data in results.items():
                (directory / name).write_bytes(data)
            model, result, report = (digest(data) for data in results.values())
            self.add("study", "release", phase=self.phases[-1][0], model=model, result=result, report=report)
        return self.export(directory)

    def export(self, directory: Path) -> Path:
        export(
            directory,
            self.logs["study"],
            {site: self.logs[site] for site in self.sites if site not in (*self.kept, *self.unheard)},
            PROTOCOL,
            {digest(LAYOUT): LAYOUT},
        )
        return directory

    def agree(self) -> None:
        protocol = digest(PROTOCOL)
        vkey = self.signer("study").vkey
        self.add("study", "protocol", protocol=protocol, initial={"parameters": self.state}, unregistered=[], coordinator=vkey)
        for site in self.sites:
            self.add("study", "join", site=site, vkey=self.signer(site).vkey)
            self.add(site, "snapshot", site=site, snapshot=some(site), patients=band(150), source="table")
            approved = envelope.seal(
                envelope.APPROVAL, canonical({"protocol": protocol, "site": site, "role": "data protection"}), key(site)
            )
            logged = self.add(site, "approval", site=site, protocol=protocol, role="data protection", envelope=approved)
            if logged:
                self.add("study", "approval_seen", site=site, protocol=protocol, entry=logged.entry, head=logged.head)

    def round(self, phase: str, number: int, last: bool = False, attempt: int = 0) -> None:
        turn = {"phase": phase, "round": number, "attempt": attempt}
        asked = {"ask": some("ask", phase, number), "layout": self.layout}
        self.add("study", "round_open", **turn, **asked, state=self.state, roster=some(self.sites), sites=len(self.sites), due=60)
        receipts, refused = {}, 0
        for site in self.sites:
            place = self.refuses.get((site, phase, number), "")
            if place in ("accept", "answer", "release"):
                task = some("task", site, phase, number, attempt)
                self.add(site, "refused", **turn, site=site, task=task, where=place, reason="too few patients", bytes=0)
            elif place != "deadline":
                logged = self.answer(site, turn)
                if logged and place != "admit":
                    receipts[site] = logged.entry
            if place:
                self.add("study", "refusal", site=site, **turn, where=place, reason="no", remedy="ask the site")
                refused += 1
        self.state = digest(MODEL) if last and phase == self.phases[-1][0] else some("state", phase, number)
        closing = {"total": some("total", phase, number), "state": self.state, "receipts": digest(canonical(sorted(receipts.values())))}
        self.add("study", "round_close", **turn, **closing, sites=len(receipts), refused=refused)
        for site, receipt in receipts.items():
            self.add(site, "adopted", site=site, **turn, receipt=receipt)

    def answer(self, site: str, turn: dict[str, Any]) -> Logged | None:
        message = {
            **turn,
            "site": site,
            "stage": "answer",
            "kind": "sums",
            "task": some("task", site, *turn.values()),
            "layout": self.layout,
            "commit": some("commit", site, *turn.values()),
            "bytes": 1000 + turn["round"],
        }
        logged = self.add(
            site,
            "egress",
            **message,
            protocol=digest(PROTOCOL),
            to="coordinator",
            ask=some("ask", turn["phase"], turn["round"]),
            examples=band(150),
            bounds={"bits": [64], "refused_over": "the limit of each term"},
            privacy={"mode": "none"},
            study_head=self.logs["study"].head,
        )
        if logged:
            self.add("study", "ingress", **message, entry=logged.entry, index=logged.index, head=logged.head)
        return logged


def rewrite(directory: Path, place: str, lines: list[bytes], signer: note.Signer) -> None:
    """Write a log's lines anew under a checkpoint of its own, as a dishonest owner would."""
    folder = directory / "record" / place
    tree = Tree(leaf_hash(line) for line in lines)
    (folder / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (folder / "checkpoint").write_text(signer.sign(note.Checkpoint(signer.name, len(lines), tree.root().hex()).text()))


def lines_of(directory: Path, place: str) -> list[bytes]:
    return (directory / "record" / place / "entries.jsonl").read_bytes().splitlines()


def golden() -> Player:
    """Return the study whose bytes stand in tests/vectors/record/played; `golden().play(...)` writes them."""
    return Player(refuses={("basel", "train", 0): "answer"})


def failing(report: Report) -> dict[str, str]:
    """Return the text of each line that fails, by name."""
    return {line.name: line.text for line in report.lines if line.verdict is Verdict.FAIL}
