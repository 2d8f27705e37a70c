"""Add up answers as they come: the plain sum, in which the coordinator sees each site's update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wardround.combining.fixedpoint import check_total, decoded, unpack
from wardround.combining.gather import gather
from wardround.study.arrays import Arrays, Specs
from wardround.study.interfaces import Admit, Collected, Combiner, Engine
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Short, Task, Total


@dataclass(frozen=True)
class Plain(Combiner):
    """Sum integers in order of arrival; any order gives the same bits."""

    publishes: ClassVar[bool] = True

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return the exact total over the admitted sites, or `Short`."""
        layout = tasks[0].body.layout
        integers = {term.name: np.zeros(term.shape, term.total_type(len(tasks))) for term in layout}
        receipts, refusals = list[str](), list[Refusal]()
        for update, sent in gather(engine, tasks, admit, unpack, due, refusals):
            receipts.append(update.receipt.entry)
            for name, value in sent.items():
                integers[name] += value
        if len(receipts) < quorum:
            return Short(len(receipts), quorum), tuple(refusals)
        found = {term.name: integers[term.name].astype(term.total_type(len(receipts)), copy=False) for term in layout}
        return Total(layout, found, decoded(layout, found), len(receipts), tuple(sorted(receipts))), tuple(refusals)

    def specs(self, layout: Layout, sites: int) -> Specs:
        """Return type and shape of each sum of so many sites."""
        return {term.name: (np.dtype(term.total_type(sites)), term.shape) for term in layout}

    def sums(self, layout: Layout, integers: Arrays, sites: int) -> Arrays:
        """Return the sums that a published total stands for."""
        check_total(layout, integers, sites)
        return decoded(layout, integers)
