"""Add up what left each site, from the record: messages, kinds and bytes, and who was refused or absent.

The sites' own egress logs are the source, not the coordinator's: a hospital reads here what its own gate wrote down before it sent.
Entries of the release are not read, since the page's digest stands in one of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wardround.record.bundle import RECORD, LogFiles, read
from wardround.study.errors import StoreError

Entry = Mapping[str, Any]

AFTER = "after the last"
"""Name of what left when all phases had ended."""


@dataclass(frozen=True)
class RecordView:
    """Hold a record's entries as a page reads them.

    Attributes:
        sites: each site's egress log.
        study: the coordinator's log.
    """

    sites: Mapping[str, Sequence[Entry]]
    study: Sequence[Entry]


@dataclass(frozen=True)
class Traffic:
    """Hold what left one site, or all sites in one phase.

    Attributes:
        name: of the site or phase.
        rounds: how many rounds a site sent anything in; of a phase, how many were closed.
        messages: how many were sent.
        bytes: their content together.
        kinds: how many messages of each kind.
        refused: tasks that the site itself turned down.
    """

    name: str
    rounds: int
    messages: int
    bytes: int
    kinds: tuple[tuple[str, int], ...]
    refused: int = 0


@dataclass(frozen=True)
class Missed:
    """Say that a site's part did not happen, in one or more rounds of a phase, for the same reason."""

    site: str
    phase: str
    rounds: tuple[int, ...]
    where: str
    reason: str
    remedy: str


def read_record(folder: Path) -> tuple[RecordView | None, dict[str, Any]]:
    """Return the record that lies in a results folder, and the protocol; None where there is no record, nothing where no protocol.

    Raises:
        StoreError: a file of it cannot be read as JSON.
    """
    if not (folder / RECORD).is_dir():
        own = folder / "protocol.json"  # in a hospital's folder
        return None, _json(own.read_bytes(), own.name) if own.is_file() else {}
    found = read(folder)
    protocol = _json(found.protocol, f"{RECORD}/protocol.json") if found.protocol else {}
    return RecordView({site: _entries(log) for site, log in found.sites.items()}, _entries(found.study)), protocol


def _entries(log: LogFiles) -> list[Entry]:
    return [_json(line, f"{log.place}/entries.jsonl, line {number}") for number, line in enumerate(log.entries.splitlines(), start=1)]


def _json(data: bytes, place: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        remedy = "The record was altered or cut short; run `wardround verify` on the folder, and restore the file."
        raise StoreError(f"{place} is not a JSON object.", remedy)
    return found


def by_site(record: RecordView) -> tuple[Traffic, ...]:
    """Return what left each site."""
    return tuple(_added(site, entries) for site, entries in record.sites.items())


def by_phase(record: RecordView) -> tuple[Traffic, ...]:
    """Return what left all sites in each phase, in the order in which the phases began; one that only chose among others sent nothing.

    What left after the last phase, the own test figures of sites, stands in a line of its own, so that the lines add up to all.
    """
    entries = [entry for log in record.sites.values() for entry in log if entry.get("t") in {"egress", "refused"}]
    order = [str(entry.get("phase")) for entry in record.study if entry.get("t") in {"round_open", "phase_done"}]
    closed = Counter(str(entry.get("phase")) for entry in record.study if entry.get("t") == "round_close")
    phases = dict.fromkeys([*order, *(str(entry.get("phase")) for entry in entries)])
    found = (_added(phase, [entry for entry in entries if entry.get("phase") == phase]) for phase in phases)
    results = [entry for log in record.sites.values() for entry in log if entry.get("t") == "results"]
    after = (_added(AFTER, results),) if results else ()
    return (*(replace(one, rounds=closed[one.name]) for one in found), *after)


def walked(record: RecordView) -> tuple[int, int]:
    """Return how many rounds were closed and how many phases have ended, as `wardround verify` counts them."""
    ended = {entry.get("phase") for entry in record.study if entry.get("t") == "phase_done"}
    return sum(entry.get("t") == "round_close" for entry in record.study), len(ended)


def in_all(parts: Iterable[Traffic]) -> Traffic:
    """Return the sum of parts that do not overlap."""
    parts = tuple(parts)
    kinds: Counter[str] = Counter()
    for part in parts:
        kinds.update(dict(part.kinds))
    return Traffic(
        "All sites",
        max((part.rounds for part in parts), default=0),
        sum(part.messages for part in parts),
        sum(part.bytes for part in parts),
        tuple(sorted(kinds.items())),
        sum(part.refused for part in parts),
    )


def _added(name: str, entries: Sequence[Entry]) -> Traffic:
    sent = [entry for entry in entries if entry.get("t") in {"egress", "results"}]
    kinds = Counter(str(entry.get("kind")) for entry in sent)
    rounds = {(entry.get("phase"), entry.get("round")) for entry in sent if "phase" in entry}
    refused = sum(entry.get("t") == "refused" for entry in entries)
    return Traffic(name, len(rounds), len(sent), sum(int(entry.get("bytes", 0)) for entry in sent), tuple(sorted(kinds.items())), refused)


def missed(result: Mapping[str, Any], record: RecordView | None) -> tuple[Missed, ...]:
    """Return refusals and absences, those of the record and those of the result, each once, equal ones drawn together."""
    entries: list[Entry] = [entry for entry in record.study if entry.get("t") == "refusal"] if record else []
    entries += result.get("refusals") or []
    found: dict[Missed, set[int]] = {}
    for entry in entries:
        site, phase, where, reason, remedy = (str(entry.get(name, "")) for name in ("site", "phase", "where", "reason", "remedy"))
        found.setdefault(Missed(site, phase, (), where, reason, remedy), set()).add(int(entry.get("round", 0)))
    return tuple(replace(one, rounds=tuple(sorted(rounds))) for one, rounds in found.items())
