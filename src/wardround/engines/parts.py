"""Move what is long as parts of 512 KiB, each named by its own SHA-256.

A part is stored once, under its digest, in a stream that lets nobody write over it; whoever fetches asks for each part by name, checks it
on arrival and asks again only for what is missing. So a transfer that was cut goes on where it was, the same parameters asked again
travel once, and an altered byte is found where it happened. Several parts are under way at a time on a line that carries them quickly,
one on a line that does not.

The hub makes each part durable by itself, so larger ones cost less: for a round of 500 MB parts of 512 KiB take 6 % more of the
processor's time than parts of 1 MiB, and parts of 256 KiB 20 % more. But beats and pings wait behind the part under way, and must not be
taken for lost: at 1 Mbit/s one of 512 KiB takes 4.2 s.

Source: NATS JetStream direct get and stream limits, docs.nats.io; `SIZE` and `WINDOW` as measured over TLS on two cores.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from wardround.engines.connection import Connection, Missing
from wardround.study.errors import Unreachable, VerificationError
from wardround.study.files import LARGE, Data, Kept, blocks

_Any = TypeVar("_Any")

SIZE = 512 * 1024
"""Bytes in a part; the last one may be shorter."""

WINDOW = 8
"""Parts under way at a time, at most."""

QUICK, SLOW = 0.5, 2.0
"""Seconds for one part: up to here one more may be under way, from here one less."""

LONGEST = 20.0
"""Seconds that one part may take; a line that breaks is noticed before."""

TRIES = 20
"""How often one part is asked for before the transfer is given up; a second apart while the hub is away."""


@dataclass(frozen=True)
class Body:
    """Name some bytes by the digests of their parts.

    Attributes:
        size: in bytes.
        parts: SHA-256 of each part, 64 hex digits, in order.
    """

    size: int
    parts: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, pieces: Iterable[bytes | memoryview]) -> Body:
        """Return the name of the bytes in these pieces."""
        names, size = [], 0
        for part in cut(pieces):
            names.append(hashlib.sha256(part).hexdigest())
            size += len(part)
        return cls(size, tuple(names))

    @property
    def group(self) -> str:
        """Return under which name the parts lie together: 32 hex digits."""
        return hashlib.sha256("".join(self.parts).encode()).hexdigest()[:32]

    def describe(self) -> dict[str, Any]:
        """Return this name as JSON values."""
        return {"size": self.size, "parts": list(self.parts)}

    @classmethod
    def described(cls, values: Mapping[str, Any]) -> Body:
        """Return the name that `describe` described.

        Raises:
            ValueError: it is not one: sizes and number of parts do not fit, or a part is not named by a SHA-256.
        """
        size, parts = values["size"], values["parts"]
        if type(size) is not int or size < 0 or not isinstance(parts, list) or len(parts) != -(-size // SIZE):
            raise ValueError("the size does not fit the number of parts")
        if not all(isinstance(part, str) and re.fullmatch("[0-9a-f]{64}", part) for part in parts):
            raise ValueError("a part is not named by a SHA-256")
        return cls(size, tuple(parts))


def cut(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the bytes in these pieces as parts; copied only where a part reaches over two pieces."""
    part = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        while view:
            if not part and len(view) >= SIZE:
                whole, view = view[:SIZE], view[SIZE:]
                yield whole
                continue
            room = SIZE - len(part)
            part += view[:room]
            view = view[room:]
            if len(part) == SIZE:
                yield bytes(part)
                part.clear()
    if part:
        yield bytes(part)


def put(link: Connection, under: str, body: Body, pieces: Iterable[bytes | memoryview]) -> None:
    """Store the bytes in these pieces as parts; what is there already is not stored again.

    Args:
        link: to the hub.
        under: subject below which the parts are put.
        body: the bytes' name.
        pieces: the bytes.

    Raises:
        Unreachable: the hub did not take a part for a long time.
        StoreError: the hub's disk, or what was agreed for this site, is full.
    """

    async def one(numbered: tuple[int, bytes | memoryview]) -> None:
        number, part = numbered
        await _again(lambda: link.store(f"{under}.{body.group}.{body.parts[number]}", part, once=True, timeout=LONGEST))

    link.run(_windowed(one, enumerate(cut(pieces))))


def put_data(link: Connection, under: str, data: Data) -> Body:
    """Store bytes, or what lies in a file, and return their name."""
    body = Body.of(blocks(data))
    put(link, under, body, blocks(data))
    return body


def get(link: Connection, stream: str, under: str, body: Body, room: Path) -> Data:
    """Return the bytes of this name; large ones in a file in `room`, where an earlier try is gone on with.

    Args:
        link: to the hub.
        stream: that holds the parts.
        under: subject below which they lie.
        body: name of the bytes.
        room: folder for large ones.

    Raises:
        Unreachable: the hub does not answer, or does not have all parts.
        VerificationError: a part is not what its name says.
        OSError: the disk refused; what is there stays for the next try.
    """
    if body.size >= LARGE:
        room.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = room / f"{body.group}.parts"
        get_into(link, stream, under, body, path)
        return Kept(path)
    data = bytearray(body.size)

    def take(number: int, part: bytes) -> None:
        data[number * SIZE : number * SIZE + len(part)] = part

    link.run(_fetch(link, stream, under, body, range(len(body.parts)), take))
    return bytes(data)


def get_into(link: Connection, stream: str, under: str, body: Body, path: Path) -> None:
    """Write the bytes of this name into a file; parts that are there from an earlier try are kept.

    Raises:
        Unreachable: the hub does not answer, or does not have all parts.
        VerificationError: a part is not what its name says.
        OSError: the disk refused; what is there stays for the next try.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        held = os.fstat(handle).st_size
        there = {
            number
            for number, name in enumerate(body.parts)
            if number * SIZE < held and hashlib.sha256(os.pread(handle, SIZE, number * SIZE)).hexdigest() == name
        }
        os.ftruncate(handle, body.size)
        missing = [number for number in range(len(body.parts)) if number not in there]
        link.run(_fetch(link, stream, under, body, missing, lambda number, part: _write_at(handle, part, number * SIZE)))
    finally:
        os.close(handle)


async def _fetch(link: Connection, stream: str, under: str, body: Body, wanted: Iterable[int], take: Callable[[int, bytes], None]) -> None:
    async def one(number: int) -> None:
        name = body.parts[number]
        part = await _again(lambda: link.direct(stream, f"{under}.{body.group}.{name}", LONGEST))
        if hashlib.sha256(part).hexdigest() != name or len(part) != min(SIZE, body.size - number * SIZE):
            raise VerificationError("A part of what was sent is not what its name says.", "Report this to the coordinating centre.")
        take(number, part)

    await _windowed(one, wanted)


async def _windowed(work: Callable[[_Any], Awaitable[None]], items: Iterable[_Any]) -> None:
    """Do work for each item, one at a time and more as they prove quick; the first failure ends the rest."""
    under_way: dict[asyncio.Future[None], float] = {}
    window, todo = 1, iter(items)
    try:
        while True:
            for item in islice(todo, window - len(under_way)):
                under_way[asyncio.ensure_future(work(item))] = time.monotonic()
            if not under_way:
                return
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                took = time.monotonic() - under_way.pop(one)
                one.result()
                window = min(window + 1, WINDOW) if took <= QUICK else max(window - 1, 1) if took >= SLOW else window
    finally:
        for one in under_way:
            one.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _again(what: Callable[[], Awaitable[_Any]]) -> _Any:
    """Try until it works, a second apart while the hub is away."""
    for left in range(TRIES, 0, -1):
        try:
            return await what()
        except Missing:
            raise Unreachable("The hub does not have all of what was named.", "Ask the coordinating centre to send it again.") from None
        except Unreachable:
            if left == 1:
                raise
            await asyncio.sleep(1)
    raise AssertionError


def _write_at(handle: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, place)
        view, place = view[done:], place + done
