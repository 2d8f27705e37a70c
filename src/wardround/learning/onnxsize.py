"""Count what an ONNX file holds before it is read.

A file of a few megabytes can stand for millions of empty parts, each of which costs memory once it is an object. This follows lengths only
and believes nothing else of the file; what it means is for `onnx` to say, in `onnxfile`.

Source: Protocol Buffers, Encoding (protobuf.dev/programming-guides/encoding): tags, wire types, lengths.
"""

from __future__ import annotations

from typing import Any

MOST_PARTS = 300_000
"""Operators, their attributes, constants and sizes of shapes, together."""

MOST_FIELDS = 10_000_000
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5


def count(data: bytes, kind: Any) -> int:
    """Return how many parts a message holds, at all depths; no more than one above `MOST_PARTS`.

    Args:
        data: the message.
        kind: its descriptor, such as `onnx.ModelProto.DESCRIPTOR`.

    Raises:
        ValueError: a length leads beyond the end, or there are more than `MOST_FIELDS` numbers.
    """
    inner: dict[str, dict[int, Any]] = {}
    todo, parts, fields = [(0, len(data), kind)], 0, 0
    while todo and parts <= MOST_PARTS:
        at, end, kind = todo.pop()
        if kind.full_name not in inner:
            inner[kind.full_name] = {one.number: one.message_type for one in kind.fields if one.message_type is not None}
        known = inner[kind.full_name]
        while at < end:
            fields += 1
            tag, at = _varint(data, at)
            wire = tag & 7
            if wire == _LENGTH:
                size, at = _varint(data, at)
                if (tag >> 3) in known:
                    parts += 1
                    todo.append((at, at + size, known[tag >> 3]))
                at += size
            elif wire == _VARINT:
                _, at = _varint(data, at)
            elif wire in (_EIGHT, _FOUR):
                at += 8 if wire == _EIGHT else 4
            else:
                raise ValueError("a wire type that ONNX does not use")
            if at > end or fields > MOST_FIELDS or parts > MOST_PARTS:
                break
        if at > end or fields > MOST_FIELDS:
            raise ValueError("a length beyond the end, or too many numbers")
    return parts


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    found = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number without end")
        one = data[at]
        at += 1
        found |= (one & 127) << shift
        if one < 128:
            return found, at
        shift += 7
