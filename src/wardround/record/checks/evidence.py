"""Parse and re-hash a record once, so that every check reads the same evidence.

Entries that cannot be trusted to follow their schema are None; what remains has been checked, so later checks read fields without
fear. Hashes are taken over the bytes as they stand in the file, whatever they say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from wardround.record import envelope
from wardround.record.bundle import ENTRIES, RECORD, STUDY, Bundle, LogFiles
from wardround.record.entries import Book, Entry, check, decode
from wardround.record.merkle import Tree, leaf_hash
from wardround.record.note import VerifierKey
from wardround.record.report import Problem, Verdict
from wardround.study.canonical import canonical
from wardround.study.errors import VerificationError, WardroundError

_UNHEARD = "handed no log over, as the coordinator says: it left, was cut off, or was not there at the end"

Turn = tuple[str, int, int]
"""Phase, round and attempt."""


def turn_of(entry: Entry) -> Turn:
    """Return phase, round and attempt of an entry."""
    return entry["phase"], entry["round"], entry["attempt"]


def spoken(turn: Turn) -> str:
    """Return a turn as a reader says it."""
    phase, number, attempt = turn
    return f"{phase} round {number}" + (f" attempt {attempt}" if attempt else "")


@dataclass(frozen=True)
class LogEvidence:
    """Hold one log, parsed.

    Attributes:
        name: "study", or the site.
        files: the bytes it was read from.
        entries: by index: the entry, or None where it does not follow its schema.
        leaves: by index: leaf hash, 64 hex digits.
        roots: by size, from 0: root, 64 hex digits.
        vkey: the key in its `vkey` file, or None.
        problems: what is wrong with single lines and with the key file.
    """

    name: str
    files: LogFiles
    entries: tuple[Entry | None, ...]
    leaves: tuple[str, ...]
    roots: tuple[str, ...]
    vkey: VerifierKey | None
    problems: tuple[Problem, ...] = field(repr=False)

    def of(self, *types: str) -> Iterator[tuple[int, Entry]]:
        """Give (index, entry) of every entry of these types, oldest first."""
        for index, entry in enumerate(self.entries):
            if entry is not None and entry["t"] in types:
                yield index, entry

    def where(self, index: int) -> str:
        """Return file and line of an entry."""
        return f"{self.files.place}/{ENTRIES} line {index + 1}"


@dataclass(frozen=True)
class Evidence:
    """Hold all that a verifier was given.

    Attributes:
        directory: results folder.
        bundle: the record's files.
        study: the study log.
        sites: each site's log, by site.
    """

    directory: Path
    bundle: Bundle
    study: LogEvidence
    sites: Mapping[str, LogEvidence]

    @property
    def protocol(self) -> str:
        """Return the digest of the plan as the study log states it; empty when it does not."""
        return next((entry["protocol"] for _, entry in self.study.of("protocol")), "")

    @cached_property
    def apart(self) -> Mapping[str, str]:
        """Return by site whose log is not here, and of which the record says why, what it says."""
        keys = {entry["site"]: entry["vkey"] for _, entry in self.study.of("join")}
        said = {entry["site"]: _UNHEARD for _, entry in self.study.of("unheard")}
        for _, entry in self.study.of("kept"):
            if self._signed(keys.get(entry["site"], ""), entry["site"], entry["envelope"]):
                said[entry["site"]] = "keeps its log, as its own rules say and it has signed"
        return {site: said[site] for site in sorted(said.keys() - self.sites.keys())}

    def unseen(self) -> list[Problem]:
        """Name, for whatever compares the two sides, the sites whose side is not there."""
        text = "so what the coordinator says of it is held against nothing"
        return [Problem(f"{site} {why}, {text}", f"{RECORD}/sites/{site}", Verdict.INCOMPLETE) for site, why in self.apart.items()]

    def _signed(self, vkey: str, site: str, said: Mapping[str, Any]) -> bool:
        try:
            found = envelope.open(said, envelope.KEPT, VerifierKey.parse(vkey).public)
        except VerificationError:
            return False
        return found == canonical({"protocol": self.protocol, "site": site})

    def log_of(self, site: str) -> LogEvidence:
        """Return a site's log; an empty one when the record holds none, which the keys check names."""
        return self.sites.get(site) or parse_log(site, LogFiles(f"{RECORD}/sites/{site}", b"", b"", b""))


def gather(directory: Path, bundle: Bundle) -> Evidence:
    """Parse and re-hash every log of a record."""
    sites = {site: parse_log(site, files) for site, files in bundle.sites.items()}
    return Evidence(directory, bundle, parse_log(STUDY, bundle.study), sites)


def parse_log(name: str, files: LogFiles) -> LogEvidence:
    """Parse one log: every line against its schema and its place, every hash anew."""
    lines = files.entries.split(b"\n")
    problems = []
    if lines.pop():
        problems.append(Problem("the last line does not end in a newline", f"{files.place}/{ENTRIES} line {len(lines) + 1}"))
    book: Book = "study" if name == STUDY else "site"
    entries: list[Entry | None] = []
    tree = Tree()
    roots = [tree.root().hex()]
    for index, line in enumerate(lines):
        try:
            entries.append(_placed(line, index, book, name))
        except WardroundError as error:
            entries.append(None)
            problems.append(Problem(error.message.rstrip("."), f"{files.place}/{ENTRIES} line {index + 1}"))
        tree.append(leaf_hash(line))
        roots.append(tree.root().hex())
    leaves = tuple(leaf_hash(line).hex() for line in lines)
    vkey = None
    try:
        vkey = _key(files.vkey)
    except VerificationError as error:
        problems.append(Problem(error.message.rstrip("."), f"{files.place}/vkey"))
    return LogEvidence(name, files, tuple(entries), leaves, tuple(roots), vkey, tuple(problems))


def _placed(line: bytes, index: int, book: Book, name: str) -> Entry:
    entry = decode(line)
    if check(entry) != book:
        raise VerificationError(f"a {entry['t']} entry does not belong in a {book} log", "")
    if entry["seq"] != index:
        raise VerificationError(f"an entry is numbered {entry['seq']} where {index} should stand", "")
    if book == "site" and entry["site"] != name:
        raise VerificationError("an entry speaks for another site", "")
    return entry


def _key(data: bytes) -> VerifierKey:
    try:
        key = VerifierKey.parse(data.removesuffix(b"\n").decode())
    except UnicodeDecodeError:
        raise VerificationError("a verifier key is not text", "") from None
    if data != f"{key.text}\n".encode():
        raise VerificationError("a verifier key is not one line", "")
    return key
