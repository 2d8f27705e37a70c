"""Change one thing in the files of a finished run, at random, as an accident or a forger without keys would.

Kinds: bytes changed, lost or put in; a file cut short or taken away; a line repeated, lost or swapped with another; a number or a text in
JSON changed so that the file is still JSON in its own form.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.study.canonical import canonical

Change = Callable[[bytes, random.Random], bytes | None]
"""Gives a file's new bytes, or None when the file is taken away."""


def _flip(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ dice.randrange(1, 256)]) + data[at + 1 :]


def _lose(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + data[at + dice.randint(1, 20) :]


def _insert(data: bytes, dice: random.Random) -> bytes:
    at = dice.randint(0, len(data))
    return data[:at] + dice.choice([dice.randbytes(dice.randint(1, 20)), b"\n", b" ", b"0"]) + data[at:]


def _cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def _take_away(data: bytes, dice: random.Random) -> None:
    return None


def _lines(change: Callable[[list[bytes], random.Random], None]) -> Change:
    def changed(data: bytes, dice: random.Random) -> bytes:
        lines = data.splitlines(keepends=True)
        change(lines, dice)
        return b"".join(lines)

    return changed


def _repeat(lines: list[bytes], dice: random.Random) -> None:
    lines.insert(dice.randint(0, len(lines)), dice.choice(lines))


def _drop(lines: list[bytes], dice: random.Random) -> None:
    del lines[dice.randrange(len(lines))]


def _swap(lines: list[bytes], dice: random.Random) -> None:
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


BYTES: Mapping[str, Change] = {
    "bytes changed": _flip,
    "bytes lost": _lose,
    "bytes put in": _insert,
    "cut short": _cut,
    "taken away": _take_away,
}
LINES: Mapping[str, Change] = {"line repeated": _lines(_repeat), "line lost": _lines(_drop), "lines swapped": _lines(_swap)}
JSON = ("number changed", "text changed")


def _leaves(value: Any, wanted: type | tuple[type, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every leaf of a type; True and False are no numbers."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(inner, wanted) and not isinstance(inner, bool):
            yield value, key
        yield from _leaves(inner, wanted)


def _other_number(value: float, dice: random.Random) -> float:
    step = dice.choice([1, -1, 10, -value, value])
    return value + (step or 1)


def _other_text(value: str, others: list[str], dice: random.Random) -> str:
    at = dice.randint(0, len(value))
    spelled = value[:at] + dice.choice("0aZ~é ") + value[at + 1 :]
    return dice.choice([spelled, value + "0", value[:-1], value.swapcase(), dice.choice(others)])


def _json(kind: str, written: Callable[[Any], bytes]) -> Change:
    def changed(data: bytes, dice: random.Random) -> bytes:
        value = json.loads(data)
        leaves = list(_leaves(value, str if kind == "text changed" else (int, float)))
        if not leaves:
            return data
        place, key = dice.choice(leaves)
        texts = [inside[name] for inside, name in leaves]
        place[key] = _other_text(place[key], texts, dice) if kind == "text changed" else _other_number(place[key], dice)
        return written(value)

    return changed


def _one_line(change: Change) -> Change:
    def changed(data: bytes, dice: random.Random) -> bytes:
        lines = data.splitlines(keepends=True)
        at = dice.randrange(len(lines))
        lines[at] = (change(lines[at], dice) or b"") + b"\n"
        return b"".join(lines)

    return changed


def _result(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def sort_of(name: str) -> str:
    """Return what a file of a finished run is: entries, note, key, layout, protocol, result, model or report."""
    last = name.rpartition("/")[2]
    named = {"entries.jsonl": "entries", "checkpoint": "note", "vkey": "key", "protocol.json": "protocol", "result.json": "result"}
    return named.get(last) or ("layout" if "/layouts/" in name else "model" if last.endswith(".safetensors") else "report")


def changes(sort: str) -> dict[str, Change]:
    """Return by name what can be done to a sort of file."""
    found = dict(BYTES)
    if sort in ("entries", "note", "result", "report"):
        found.update(LINES)
    for kind in JSON:
        if sort == "entries":
            found[kind] = _one_line(_json(kind, canonical))
        elif sort in ("layout", "protocol"):
            found[kind] = _json(kind, canonical)
        elif sort == "result":
            found[kind] = _json(kind, _result)
    return found


def files_of(run: Path) -> dict[str, bytes]:
    """Return the files that a finished run hands out, by path: its record, model, result and report."""
    paths = [path for path in sorted((run / "record").rglob("*")) if path.is_file()]
    paths += [run / name for name in ("model.safetensors", "result.json", "report.html")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


@dataclass
class Tally:
    """Count mutations by sort of file and kind, and list those that were not found.

    Attributes:
        tried: by (sort, kind).
        missed: a sentence each.
    """

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return a line for each sort of file: how often each kind was tried."""
        sorts = sorted({sort for sort, _ in self.tried})
        rows = []
        for sort in sorts:
            kinds = ", ".join(f"{kind} {count}" for (of, kind), count in sorted(self.tried.items()) if of == sort)
            rows.append(f"  {sort:9} {sum(count for (of, _), count in self.tried.items() if of == sort):5}: {kinds}")
        return "\n".join([*rows, *(f"  NOT FOUND {one}" for one in self.missed)])


def spoil(run: Path, times: int, dice: random.Random) -> Tally:
    """Change one thing, verify, put it back; as often as asked. A change that leaves the bytes as they were does not count.

    Args:
        run: folder of a finished run; it is as before when this returns.
        times: how many changes.
        dice: chooses them: a sort of file, one file of the sort, what is done to it.
    """
    clean = files_of(run)
    by_sort: dict[str, list[str]] = {}
    for name in clean:
        by_sort.setdefault(sort_of(name), []).append(name)
    tally = Tally()
    while tally.tried.total() < times:
        sort = dice.choice(sorted(by_sort))
        name = dice.choice(by_sort[sort])
        kind, change = dice.choice(sorted(changes(sort).items()))
        spoiled = change(clean[name], dice)
        if spoiled == clean[name]:
            continue
        tally.tried[sort, kind] += 1
        if not _found(run, name, spoiled):
            tally.missed.append(f"{kind} in {name}")
        (run / name).write_bytes(clean[name])
    return tally


def _found(run: Path, name: str, spoiled: bytes | None) -> bool:
    """Say whether `verify` fails once a file holds other bytes, or is taken away."""
    if spoiled is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(spoiled)
    return verify(run).verdict is Verdict.FAIL
