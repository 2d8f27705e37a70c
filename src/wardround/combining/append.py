"""Keep each site's sums beside those of the others, under the site's name: for what compares sites and adds nothing up.

Such a total hides nothing, so only a phase that says it is made for that (`Algorithm.apart`) may use it, and what a site sends there is
safe by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wardround.combining.fixedpoint import decoded, unpack
from wardround.combining.gather import gather
from wardround.study.interfaces import Admit, Collected, Combiner, Engine
from wardround.study.task import Refusal, Short, Task, Total


@dataclass(frozen=True)
class Append(Combiner):
    """Put `site/name` in place of each name of the layout; the order of arrival changes nothing."""

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return all admitted sites' sums side by side, or `Short`."""
        layout = tasks[0].body.layout
        integers: dict[str, np.ndarray] = {}
        sums: dict[str, np.ndarray] = {}
        receipts: list[str] = []
        refusals: list[Refusal] = []
        for update, sent in gather(engine, tasks, admit, unpack, due, refusals):
            receipts.append(update.receipt.entry)
            integers.update({f"{update.site}/{name}": value for name, value in sent.items()})
            sums.update({f"{update.site}/{name}": value for name, value in decoded(layout, sent).items()})
        if len(receipts) < quorum:
            return Short(len(receipts), quorum), tuple(refusals)
        ordered = [{name: each[name] for name in sorted(each)} for each in (integers, sums)]
        return Total(layout, ordered[0], ordered[1], len(receipts), tuple(sorted(receipts))), tuple(refusals)
