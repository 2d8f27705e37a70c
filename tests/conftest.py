"""What every test shares: one arithmetic thread, patient property tests, and the shared data sets where they are present."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Before any test imports torch or numpy: with more threads, tiny batches on a busy machine take twenty times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# A busy machine is no failure, so no deadline; in continuous integration the same examples every time.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("house")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Return a function from the name of a shared data set to its folder; the test is skipped where that is absent."""

    def folder(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"the data set {name} is not here; it belongs in ../shared/data/{name} beside the checkout")
        return SHARED / name

    return folder
