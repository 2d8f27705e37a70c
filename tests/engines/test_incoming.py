"""Uploads that are taken in on the way: only what was announced, where it belongs, and never after it was handed over."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from wardround.engines.incoming import Incoming
from wardround.engines.parts import SIZE, Body

DATA = os.urandom(2 * SIZE + 1000)
BODY = Body.of([DATA])
PARTS = [DATA[at : at + SIZE] for at in range(0, len(DATA), SIZE)]


def test_parts_are_put_where_they_belong_in_any_order(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path, 10**9)
    incoming.expect("slot001", BODY)
    for part in reversed(PARTS):
        incoming.take("slot001", BODY.group, hashlib.sha256(part).hexdigest(), part)
    room, here = incoming.hand_over("slot001", BODY)
    assert here == {0, 1, 2}
    assert (room / f"{BODY.group}.parts").read_bytes() == DATA


def test_nothing_is_taken_that_was_not_announced_or_is_not_what_it_is_called(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path, 10**9)
    incoming.take("slot001", BODY.group, BODY.parts[0], PARTS[0])
    incoming.expect("slot001", BODY)
    incoming.take("slot002", BODY.group, BODY.parts[0], PARTS[0])
    incoming.take("slot001", "0" * 32, BODY.parts[0], PARTS[0])
    incoming.take("slot001", BODY.group, BODY.parts[0], PARTS[1])
    assert incoming.hand_over("slot001", BODY)[1] == set()


def test_a_part_of_the_wrong_length_does_not_reach_into_its_neighbours(tmp_path: Path) -> None:
    long = os.urandom(2 * SIZE)
    named = Body(BODY.size, (hashlib.sha256(long).hexdigest(), *BODY.parts[1:]))
    incoming = Incoming(tmp_path, 10**9)
    incoming.expect("slot001", named)
    incoming.take("slot001", named.group, named.parts[0], long)
    incoming.take("slot001", named.group, named.parts[1], PARTS[1])
    assert incoming.hand_over("slot001", named)[1] == {1}


def test_what_was_handed_over_is_written_by_nobody(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path, 10**9)
    incoming.expect("slot001", BODY)
    for part in PARTS:
        incoming.take("slot001", BODY.group, hashlib.sha256(part).hexdigest(), part)
    room, _ = incoming.hand_over("slot001", BODY)
    incoming.expect("slot001", Body.of([bytes(SIZE)]))
    incoming.take("slot001", BODY.group, BODY.parts[0], PARTS[0])
    incoming.expect("slot001", BODY)
    assert (room / f"{BODY.group}.parts").read_bytes() == DATA


def test_more_than_was_agreed_is_not_listened_to(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path, SIZE)
    incoming.expect("slot001", BODY)
    incoming.take("slot001", BODY.group, BODY.parts[0], PARTS[0])
    assert incoming.hand_over("slot001", BODY)[1] == set()
