from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.study.arrays import arrays_digest, from_bytes, put_under, to_bytes, under
from wardround.study.canonical import canonical, digest
from wardround.study.errors import VerificationError
from wardround.study.layout import Term
from wardround.study.streams import Stream
from wardround.study.task import Ask, RoundClosed, Task


def test_the_digest_of_arrays_is_that_of_their_file() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a": np.asarray(7)}
    data = to_bytes(arrays)
    assert arrays_digest(arrays) == "sha256:" + hashlib.sha256(data).hexdigest()
    assert to_bytes(dict(reversed(arrays.items()))) == data
    back = from_bytes(data)
    assert back["a"].shape == () and np.array_equal(back["b"], arrays["b"])


def test_bytes_that_are_no_arrays_are_refused() -> None:
    for data in (b"", b"abc", b"\xff" * 100):
        with pytest.raises(VerificationError):
            from_bytes(data)


def test_names_go_under_a_prefix_and_back() -> None:
    arrays = {"w": np.ones(2), "deep/b": np.zeros(1)}
    assert under({**put_under("params", arrays), "paramsx/w": np.ones(1)}, "params").keys() == arrays.keys()


def test_canonical_json_follows_the_specification() -> None:
    assert canonical({"b": 1.0, "a": "é", "c": [1e21, None, False]}) == '{"a":"é","b":1,"c":[1e+21,null,false]}'.encode()


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_streams_of_different_names_differ(one: list[str], other: list[str]) -> None:
    root = Stream.public(1)
    assert (root.child(*one) == root.child(*other)) == (one == other)


def test_a_stream_gives_the_same_numbers_whatever_was_drawn_before() -> None:
    root = Stream.public(3)
    first = root.generator("batches", 2).permutation(10)
    root.generator("other").random(5)
    assert np.array_equal(first, root.generator("batches", 2).permutation(10))
    assert "key" not in repr(root)


def test_an_ask_travels_as_bytes_and_comes_back_the_same() -> None:
    layout = (Term.sized("x", (2,), np.array([1.0, 2.0]), 3, bits=64, per="n"), Term.count("n", (), 10, 3))
    ask = Ask({"w": np.ones((2, 2), dtype=np.float32)}, layout, {"train": True, "roles": ["train"]})
    back = Ask.from_wire(ask.wire)
    assert back.digest == ask.digest == digest(ask.wire) and back.layout_digest == ask.layout_digest
    for data in (b"", b"\0" * 7, ask.wire[:30], b"\0" * 8 + ask.wire):
        with pytest.raises(VerificationError):
            Ask.from_wire(data)


def test_a_task_s_digest_covers_its_header() -> None:
    task = Task("s", "p", "train", 1, 0, "answer", "north", 5.0, "a", "r")
    changes: dict[str, object] = {"study": "t", "protocol": "q", "phase": "x", "round": 2, "attempt": 1}
    changes |= {"stage": "close", "site": "south", "ask": "b", "roster": "q"}
    digests = {replace(task, **{name: value}).digest for name, value in changes.items()}  # type: ignore[arg-type]
    assert len(digests | {task.digest}) == len(changes) + 1


def test_a_closing_signs_everything_but_its_signature() -> None:
    closing = RoundClosed("train", 1, 0, ("a", "b"), "t", "s")
    assert replace(closing, signature="x").signed_part("p") == closing.signed_part("p")
    assert closing.signed_part("q") != closing.signed_part("p")
    assert replace(closing, receipts=("a",)).signed_part("p") != closing.signed_part("p")
