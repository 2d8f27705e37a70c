from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from wardround.data.rowstore import RowStore, blocks, chosen, gathered
from wardround.study.errors import StoreError

ROWS = np.random.default_rng(0).integers(0, 65_536, (7, 1, 3, 4)).astype(np.uint16)


@pytest.mark.parametrize("memory", [10**6, 10])
def test_rows_come_back_as_they_were_put(tmp_path: Path, memory: int) -> None:
    store = RowStore(8, (1, 3, 4), ROWS.dtype, memory, tmp_path)
    for row in ROWS:
        store.put(row)
    store.put(None)
    found = store.array()
    assert isinstance(found, np.memmap) == (memory == 10)
    assert np.array_equal(found[:7], ROWS)
    assert not found[7].any()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("memory", [10**6, 10])
def test_some_rows_are_chosen(memory: int) -> None:
    stays = np.array([1, 0, 1, 1, 0, 0, 1], dtype=bool)
    assert np.array_equal(chosen(ROWS, stays, memory), ROWS[stays])
    assert len(chosen(ROWS, ~stays & stays, memory)) == 0
    assert np.array_equal(gathered(iter(ROWS), 7, ROWS.shape[1:], ROWS.dtype, memory), ROWS)


def test_blocks_are_the_whole_in_order() -> None:
    large = np.zeros((5, 20_000_000), dtype=np.uint8)
    large[:, 0] = range(5)
    found = list(blocks(large))
    assert [len(one) for one in found] == [3, 2]
    assert np.concatenate(found)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_full_disk_is_an_error_in_words(tmp_path: Path) -> None:
    store = RowStore(1, (4,), np.dtype(np.uint8), 0, tmp_path)

    class Full:
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert store._file is not None
    store._file.close()
    store._file = Full()  # type: ignore[assignment]
    with pytest.raises(StoreError, match="No space left") as refused:
        store.put(np.zeros(4, dtype=np.uint8))
    assert refused.value.remedy
