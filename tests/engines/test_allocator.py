"""Freed memory is kept where the C library can be told so; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from wardround.engines.allocator import keep_freed

FAULTS = """
import resource
from wardround.engines.allocator import keep_freed

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        made = [bytearray(b"x") * (8 * 2**20) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults(20)
assert keep_freed()
faults(2)
print(given_back, faults(20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library has no mallopt: nothing to set")
def test_a_buffer_that_is_made_again_is_not_faulted_in_again() -> None:
    said = subprocess.run([sys.executable, "-c", FAULTS], check=True, stdout=subprocess.PIPE, text=True).stdout
    given_back, kept = map(int, said.split())
    pages = 20 * 4 * 2048
    assert kept < pages / 4 < given_back


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed()
