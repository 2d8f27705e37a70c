"""Carry the record out of the database as a folder of text that other people's tools can read.

    DIR/record/protocol.json                 the signed plan, canonical JSON
    DIR/record/layouts/<hex>.json            what a round's messages were allowed to hold, named by its SHA-256
    DIR/record/study/entries.jsonl           one canonical JSON entry a line
    DIR/record/study/checkpoint              signed note: origin, size, root
    DIR/record/study/vkey                    the key that signs it
    DIR/record/sites/<site>/...              the same three files for each site's egress log

There is one way to write each of these files, so every byte counts: what is changed, added or taken away, `verify` finds. Beside
the folder lie `model.safetensors`, `result.json` and `report.html`, whose digests stand in the study log.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wardround.record.entries import SITE
from wardround.record.log import Log
from wardround.record.report import Problem
from wardround.study.canonical import digest
from wardround.study.errors import StoreError

RECORD = "record"
PROTOCOL = "protocol.json"
LAYOUTS = "layouts"
STUDY = "study"
SITES = "sites"
ENTRIES, CHECKPOINT, VKEY = "entries.jsonl", "checkpoint", "vkey"
DEPTH = 2
LOG_FILES = (ENTRIES, CHECKPOINT, VKEY)


def export(directory: Path, study: Log, sites: Mapping[str, Log | LogFiles], protocol: bytes, layouts: Mapping[str, bytes]) -> Path:
    """Write `directory/record`, whole or not at all, over an older one.

    Nothing is forced to disk here: the database holds the same and can export again.

    Args:
        directory: results folder of the study; made if it is not there.
        study: the coordinator's log.
        sites: each site's egress log, by site, or the files of it that the site handed over.
        protocol: the signed plan's canonical JSON.
        layouts: by digest, the canonical JSON of each layout that an entry names.

    Returns:
        The folder that was written.

    Raises:
        StoreError: a site's name cannot name a folder, a layout is not what its digest says, or the disk refused.
            An older record is untouched then.
    """
    target, fresh, old = directory / RECORD, directory / f"{RECORD}.new", directory / f"{RECORD}.old"
    files = {f"{RECORD}.new/{name}": data for name, data in _files(study, sites, protocol, layouts)}
    try:
        _clear(fresh)
        for name, data in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        _clear(old)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        _clear(old)
    except OSError as error:
        raise StoreError(
            f"The record could not be written to {directory}: {error.strerror}.",
            "Make room or give access, then run the same command again; no entry is lost.",
        ) from error
    return target


def _files(study: Log, sites: Mapping[str, Log | LogFiles], protocol: bytes, layouts: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    yield PROTOCOL, protocol
    for name, data in layouts.items():
        if digest(data) != name:
            raise StoreError("A layout is not what its digest says.", "Give each layout under the SHA-256 of its canonical JSON.")
        yield f"{LAYOUTS}/{name.removeprefix('sha256:')}.json", data
    yield from _log_files(STUDY, study)
    for site, log in sites.items():
        if not SITE.fits(site):
            raise StoreError(f"{site!r} cannot name a site's folder.", f"Use {SITE.says}.")
        yield from _log_files(f"{SITES}/{site}", log)


def _log_files(folder: str, log: Log | LogFiles) -> Iterator[tuple[str, bytes]]:
    if not isinstance(log, LogFiles):
        log = LogFiles(folder, b"".join(line + b"\n" for line in log.lines()), log.checkpoint().encode(), f"{log.signer.vkey}\n".encode())
    yield f"{folder}/{ENTRIES}", log.entries
    yield f"{folder}/{CHECKPOINT}", log.checkpoint
    yield f"{folder}/{VKEY}", log.vkey


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@dataclass(frozen=True)
class LogFiles:
    """Hold the three files of one log as they were found; an empty one for each that is missing.

    Attributes:
        place: folder, relative to the results folder.
        entries: bytes of entries.jsonl.
        checkpoint: bytes of the signed note.
        vkey: bytes of the key line.
    """

    place: str
    entries: bytes
    checkpoint: bytes
    vkey: bytes


@dataclass(frozen=True)
class Bundle:
    """Hold every file of a record as it was found, nothing checked but names.

    Attributes:
        protocol: bytes of protocol.json.
        layouts: by digest as the file's name claims it, the bytes.
        study: the study log.
        sites: each site's log, by folder name.
        problems: files that are missing, unreadable or do not belong.
    """

    protocol: bytes
    layouts: Mapping[str, bytes]
    study: LogFiles
    sites: Mapping[str, LogFiles]
    problems: tuple[Problem, ...]


def read(directory: Path) -> Bundle:
    """Read `directory/record` without trusting it: links and special files are named, never opened.

    Args:
        directory: results folder of the study.
    """
    problems: list[Problem] = []
    found = dict(_walk(directory / RECORD, RECORD, problems))
    taken: dict[str, bytes] = {}

    def take(name: str) -> bytes:
        if name not in found:
            problems.append(Problem("a file is missing", name))
        return taken.setdefault(name, found.get(name, b""))

    def log(place: str) -> LogFiles:
        return LogFiles(place, *(take(f"{place}/{name}") for name in LOG_FILES))

    protocol = take(f"{RECORD}/{PROTOCOL}")
    study = log(f"{RECORD}/{STUDY}")
    names = {name.split("/")[2] for name in found if name.startswith(f"{RECORD}/{SITES}/") and name.count("/") == 3}
    sites = {site: log(f"{RECORD}/{SITES}/{site}") for site in sorted(names) if SITE.fits(site)}
    layouts = {}
    for name in found:
        folder, _, file = name.rpartition("/")
        if folder == f"{RECORD}/{LAYOUTS}" and file.endswith(".json"):
            layouts[f"sha256:{file.removesuffix('.json')}"] = take(name)
    problems += [Problem("a file does not belong to a record; take it away", name) for name in found if name not in taken]
    return Bundle(protocol, layouts, study, sites, tuple(problems))


def _walk(folder: Path, place: str, problems: list[Problem]) -> Iterator[tuple[str, bytes]]:
    """Give every regular file below a folder, sorted; name everything else."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        problems.append(Problem("there is no such folder, or it cannot be read", place))
        return
    if not paths:
        problems.append(Problem("an empty folder does not belong to a record", place))
    for path in paths:
        name = f"{place}/{shown(path.name)}"
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode) and place.count("/") < DEPTH:
                yield from _walk(path, name, problems)
            elif stat.S_ISREG(mode):
                yield name, path.read_bytes()
            else:
                problems.append(Problem("not a file or folder of a record", name))
        except OSError:
            problems.append(Problem("a file cannot be read", name))


def shown(name: str) -> str:
    """Return a file's name as it may be printed: what is not printable is escaped."""
    return "".join(letter if letter.isprintable() and letter != "\\" else ascii(letter)[1:-1] for letter in name)
