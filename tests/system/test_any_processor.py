"""What every site repeats comes to the same bits on any processor: with the widest vector instructions of this one, and without."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.house.reading import ROOT
from tests.system.walk import features


def walked(off: list[str]) -> list[str]:
    """Return the digests of a process in which some of the processor's instructions are not used."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.system.walk"],
        cwd=ROOT,
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(off)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(off) & set(found.stderr.split()), "numpy used what was switched off"
    return found.stdout.splitlines()


def test_what_sites_repeat_does_not_depend_on_vector_instructions() -> None:
    wide = [name for name, used in features().items() if used]
    if not wide:
        pytest.skip("this processor has no vector instructions beyond those that numpy takes for granted")
    lines = walked([])
    assert len(lines) > 60
    assert walked(wide) == lines
    assert walked(wide[-1:]) == lines
