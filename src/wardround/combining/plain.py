"""Add up answers as they come: the plain sum, in which the coordinator sees each site's update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wardround.combining.fixedpoint import decoded, unpack
from wardround.combining.gather import gather
from wardround.study.interfaces import Admit, Collected, Combiner, Engine
from wardround.study.task import Refusal, Short, Task, Total


@dataclass(frozen=True)
class Plain(Combiner):
    """Sum integers in order of arrival; any order gives the same bits."""

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return the exact total over the admitted sites, or `Short`."""
        layout = tasks[0].body.layout
        integers = {term.name: np.zeros(term.shape, term.total_type(len(tasks))) for term in layout}
        receipts: list[str] = []
        refusals: list[Refusal] = []
        for update, sent in gather(engine, tasks, admit, unpack, due, refusals):
            receipts.append(update.receipt.entry)
            for name, value in sent.items():
                integers[name] += value
        if len(receipts) < quorum:
            return Short(len(receipts), quorum), tuple(refusals)
        return Total(layout, integers, decoded(layout, integers), len(receipts), tuple(sorted(receipts))), tuple(refusals)
