"""Let a rule other than the mean combine updates: a robust rule, or a researcher's own.

Every term that is the sum of a mean (`Term.per`) is handed to the rule, site by site in order of name, as float64; all other terms add
up as ever. This is the only place where floats are combined, so the order is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wardround.combining.fixedpoint import decode
from wardround.combining.gather import gather
from wardround.study.arrays import Arrays
from wardround.study.interfaces import Admit, Collected, Combiner, Engine, Rule
from wardround.study.task import Layout, Refusal, Short, Task, Total


@dataclass(frozen=True)
class Ruled(Combiner):
    """Wrap a `Rule` as a combiner.

    Attributes:
        rule: combines the sites' updates.
    """

    rule: Rule

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return a total whose means are what the rule gives, or `Short`."""
        body = tasks[0].body
        assert body is not None
        answers: dict[str, dict[str, np.ndarray]] = {}
        receipts: list[str] = []
        refusals: list[Refusal] = []
        for update, sent in gather(engine, tasks, admit, due, refusals):
            receipts.append(update.receipt.entry)
            answers[update.site] = {name: np.asarray(value, dtype=np.int64) for name, value in sent.items()}
        if len(answers) < quorum:
            return Short(len(answers), quorum), tuple(refusals)
        integers = {term.name: np.sum([answers[site][term.name] for site in sorted(answers)], axis=0) for term in body.layout}
        sums = {term.name: decode(term, integers[term.name]) for term in body.layout}
        self._combine(body.layout, answers, sums)
        return Total(body.layout, integers, sums, len(answers), tuple(sorted(receipts))), tuple(refusals)

    def _combine(self, layout: Layout, answers: Mapping[str, Arrays], sums: dict[str, np.ndarray]) -> None:
        """Put what the rule gives in place of the plain sums of means; a site without examples has no mean."""
        means = [term for term in layout if term.per is not None]
        if not means:
            return
        counts = {site: float(answers[site][str(means[0].per)]) for site in sorted(answers)}
        counts = {site: count for site, count in counts.items() if count > 0}
        updates = {site: {term.name: decode(term, answers[site][term.name]) / counts[site] for term in means} for site in counts}
        combined = self.rule.combine(updates, counts)
        for term in means:
            sums[term.name] = np.asarray(combined[term.name], dtype=np.float64) * float(sums[str(term.per)])
