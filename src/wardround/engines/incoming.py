"""Take in large uploads while they are still under way, so that the last site's answer is not followed by a long fetch.

A site says what it is going to upload before it does. From then on the coordinator listens along and puts each part where it belongs, once
its digest is right. This only saves time: what did not come by this way is fetched from the hub afterwards, as if nobody had listened.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wardround.engines.parts import SIZE, Body


@dataclass
class _Coming:
    body: Body
    path: Path
    handle: int
    places: dict[str, list[int]] = field(default_factory=dict)
    here: set[int] = field(default_factory=set)


class Incoming:
    """Hold what is being uploaded; used in the connection's thread, and read in the coordinator's when it is complete.

    Args:
        room: folder for the files.
        most: bytes that one site may upload at a time.
    """

    def __init__(self, room: Path, most: int) -> None:
        """Expect nothing yet."""
        self._room, self._most = room, most
        self._coming: dict[str, _Coming] = {}

    def expect(self, slot: str, body: Body) -> None:
        """Listen for a site's upload from now on, in place of its last one."""
        earlier = self._coming.get(slot)
        if earlier is not None:
            self.forget(slot)
            if earlier.body != body:
                earlier.path.unlink(missing_ok=True)
        if body.size > self._most:
            return
        with suppress(OSError):
            self._room.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._room / f"{slot}.coming" / f"{body.group}.parts"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            one = _Coming(body, path, os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            for number, name in enumerate(body.parts):
                one.places.setdefault(name, []).append(number)
            os.ftruncate(one.handle, body.size)
            self._coming[slot] = one

    def take(self, slot: str, group: str, name: str, part: bytes) -> None:
        """Put a part where it belongs, if it is expected and is what its name says."""
        one = self._coming.get(slot)
        if one is None or one.body.group != group or name not in one.places or hashlib.sha256(part).hexdigest() != name:
            return
        with suppress(OSError):
            for number in one.places[name]:
                if len(part) != min(SIZE, one.body.size - number * SIZE):
                    continue  # it would reach into its neighbours
                if os.pwrite(one.handle, part, number * SIZE) == len(part):
                    one.here.add(number)

    def hand_over(self, slot: str, body: Body) -> tuple[Path, set[int]]:
        """Return a folder with the file of an upload, which nobody writes into any more, and which parts are in it."""
        one = self._coming.get(slot)
        final = self._room / f"{slot}-{secrets.token_hex(8)}"
        final.mkdir(mode=0o700, parents=True)
        if one is None or one.body != body:
            return final, set()
        self.forget(slot)
        one.path.rename(final / one.path.name)
        return final, one.here

    def forget(self, slot: str) -> None:
        """Listen for this upload no longer; its file stays."""
        one = self._coming.pop(slot, None)
        if one is not None:
            os.close(one.handle)
