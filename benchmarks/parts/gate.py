"""One hospital's gate in a process of its own, with a worker that only echoes. Run as `python -m benchmarks.parts.gate FOLDER NUMBERS`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.parts.echo import Echo, peak_memory
from wardround import hospital
from wardround.site.accept import Work
from wardround.site.folder import SiteFolder
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Reply
from wardround.study.streams import Stream


def main(folder: Path) -> None:
    """Take part until the study has ended; say how much memory it took."""
    site = SiteFolder(folder)
    algorithm = Echo("train", site.protocol)

    def worker(work: Work, mine: Mapping[str, Arrays]) -> Reply:
        return algorithm.answer(work.task.body, _NO_ROWS, mine, Stream(bytes(32)))

    hospital.take_part(site, lambda text: None, worker)
    print(peak_memory())


_NO_ROWS: Dataset = Dataset.__new__(Dataset)

if __name__ == "__main__":
    main(Path(sys.argv[1]))
