"""Arrays in files: byte for byte what the library writes, read one at a time, and refused where they are something else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from wardround.study.arrays import Stored, arrays_digest, keep, pieces, size_of, to_bytes
from wardround.study.canonical import digest
from wardround.study.errors import VerificationError
from wardround.study.files import LARGE, Kept, blocks

TYPES = ("bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32", "float64", "int64", "uint64")
SHAPES = ((), (0,), (3,), (2, 5))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(TYPES), st.sampled_from(SHAPES)),
        max_size=6,
    ),
    st.text(max_size=20),
)
def test_piece_by_piece_gives_the_librarys_bytes(specs: dict[str, tuple[str, tuple[int, ...]]], text: str) -> None:
    arrays = {name: np.ones(shape, dtype=kind) for name, (kind, shape) in specs.items()}
    assert b"".join(pieces(arrays, text)) == save(arrays, {"wardround": text} if text else None) == to_bytes(arrays, text)


def test_a_file_is_read_array_by_array(tmp_path: Path) -> None:
    arrays = {f"a{number}": np.random.default_rng(number).random((number, 3)).astype(np.float32) for number in range(4)}
    kept = keep(arrays, tmp_path / "x", "head")
    stored = Stored(kept.path)
    assert b"".join(blocks(kept)) == to_bytes(arrays, "head") and len(kept) == len(to_bytes(arrays, "head"))
    assert stored.metadata == {"wardround": "head"} and size_of(stored) == size_of(arrays)
    assert all(np.array_equal(stored[name], arrays[name]) for name in arrays) and set(stored) == set(arrays)
    assert to_bytes(stored, "head") == to_bytes(arrays, "head")
    with pytest.raises(KeyError):
        stored["other"]


def test_large_and_small_arrays_have_the_same_kind_of_digest(tmp_path: Path) -> None:
    large = {"a": np.arange(LARGE // 8 + 1, dtype=np.int64)}
    assert arrays_digest(large) == digest(to_bytes(large)) == arrays_digest(Stored(keep(large, tmp_path / "x").path))


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "C64", "NEW"])
def test_a_type_that_nobody_asked_for_is_refused_with_a_sentence(tmp_path: Path, kind: str) -> None:
    text = json.dumps({"a": {"dtype": kind, "shape": [8], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(VerificationError):
        Stored(Kept(tmp_path / "x").path)


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path: Path) -> None:
    class Broken(dict[str, np.ndarray]):
        def __getitem__(self, name: str) -> np.ndarray:
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        keep(Broken(a=np.ones(3)), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
