"""Pass a JSON header and byte bodies through a pipe: how a gate and its worker speak.

A frame is the length of the header (8 bytes, big-endian), the header, and each body; the header's `sizes` says how long the bodies are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any


def write_frame(pipe: IO[bytes], header: Mapping[str, Any], bodies: Sequence[bytes]) -> None:
    """Write one frame and flush it."""
    head = json.dumps({**header, "sizes": [len(body) for body in bodies]}).encode()
    pipe.write(len(head).to_bytes(8, "big") + head)
    for body in bodies:
        pipe.write(body)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> tuple[dict[str, Any], list[bytes]] | None:
    """Return the next frame's header and bodies, or None when the other side has ended."""
    size = pipe.read(8)
    if len(size) < 8:
        return None
    head = pipe.read(int.from_bytes(size, "big"))
    try:
        header: dict[str, Any] = json.loads(head)
    except ValueError:
        return None
    bodies = [pipe.read(length) for length in header.pop("sizes")]
    return header, bodies
