"""Be one hospital's gate, with a worker that only echoes: `python -m benchmarks.parts.gate FOLDER [NUMBERS ROUNDS]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.parts.echo import peak_memory, stand_in
from wardround import hospital
from wardround.site.folder import SiteFolder
from wardround.site.gate import Work
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Reply
from wardround.study.streams import Stream


def main(folder: Path, *size: int) -> None:
    """Take part until the study has ended; say how much memory it took."""
    site = SiteFolder(folder)
    algorithm = stand_in(site.protocol, *size)  # what this hospital expects to be asked

    def worker(work: Work, mine: Mapping[str, Arrays]) -> Reply:
        return algorithm.answer(work.task.body, _NO_ROWS, mine, Stream(bytes(32)))

    hospital.take_part(site, lambda text: None, worker)
    print(peak_memory())


_NO_ROWS: Dataset = Dataset.__new__(Dataset)

if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
