"""Let a rule other than the mean combine updates: a robust rule, or a researcher's own.

Every term that is the sum of a mean (`Term.per`) is handed to the rule, site by site in order of name, as float64; all other terms add
up as ever. Only here and in the rules are floats combined, so the order is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wardround.combining.fixedpoint import decode, unpack
from wardround.combining.gather import gather
from wardround.study.arrays import Arrays
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Admit, Collected, Combiner, Engine, Rule
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Short, Task, Total


@dataclass(frozen=True)
class Ruled(Combiner):
    """Wrap a `Rule` as a combiner.

    Attributes:
        rule: combines the sites' updates.
    """

    rule: Rule

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return a total whose means are what the rule gives, or `Short`."""
        return collect_by(self.rule, engine, tasks, admit, quorum, due)


def collect_by(
    rule: Rule, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float, *, fewest: int = 1, apart: bool = False
) -> Collected:
    """Return a total whose means are what a rule gives, or `Short`.

    Args:
        rule: combines the sites' updates.
        engine: carries tasks and answers.
        tasks: one a site.
        admit: holds an update against its task.
        quorum: fewest answers.
        due: seconds that a site has.
        fewest: sites with examples that the rule needs, where there is a mean to combine.
        apart: put each site's own sums that are no means beside the total, as `apart/SITE/TERM`.
    """
    layout = tasks[0].body.layout
    answers: dict[str, dict[str, np.ndarray]] = {}
    receipts: list[str] = []
    refusals: list[Refusal] = []
    for update, sent in gather(engine, tasks, admit, unpack, due, refusals):
        receipts.append(update.receipt.entry)
        answers[update.site] = {name: np.asarray(value, dtype=np.int64) for name, value in sent.items()}
    if len(answers) < quorum:
        return Short(len(answers), quorum), tuple(refusals)
    voting = [sum(bool(one[per] > 0) for one in answers.values()) for per in _counted(layout)]
    if any(0 < count < fewest for count in voting):
        why = f"{min(voting)} sites with examples, and {fewest} are needed to withstand the hostile ones"
        return Short(len(answers), quorum, why), tuple(refusals)
    integers = {term.name: np.sum([answers[site][term.name] for site in sorted(answers)], axis=0) for term in layout}
    sums = {term.name: decode(term, integers[term.name]) for term in layout}
    _combine(rule, layout, answers, sums)
    used = {**integers, **{term.name: sums[term.name] for term in layout if term.per is not None}}
    plain = [term for term in layout if term.per is None] if apart else []
    for site in sorted(answers):
        used |= {f"apart/{site}/{term.name}": answers[site][term.name] for term in plain}
        sums |= {f"apart/{site}/{term.name}": decode(term, answers[site][term.name]) for term in plain}
    return Total(layout, used, sums, len(answers), tuple(sorted(receipts))), tuple(refusals)


def _counted(layout: Layout) -> list[str]:
    """Return the names of the counts by which sums of means are divided."""
    return sorted({term.per for term in layout if term.per is not None})


def _combine(rule: Rule, layout: Layout, answers: Mapping[str, Arrays], sums: dict[str, np.ndarray]) -> None:
    """Put what the rule gives in place of the plain sums of means; a site without examples has no mean."""
    for per in _counted(layout):
        means = [term for term in layout if term.per == per]
        counts = {site: float(answers[site][per]) for site in sorted(answers) if answers[site][per] > 0}
        if not counts:
            continue
        updates = {
            site: {term.name.removeprefix("update/"): decode(term, answers[site][term.name]) / counts[site] for term in means}
            for site in counts
        }
        combined = rule.combine(updates, counts)
        for term in means:
            value = np.asarray(combined.get(term.name.removeprefix("update/")), dtype=np.float64)
            if value.shape != term.shape or not bool(np.all(np.isfinite(value))):
                message = f"The rule {type(rule).__name__} gave no finite array of the right shape for {term.name!r}."
                raise WardroundError(message, "Return one array for each name and shape that every site's update has.")
            sums[term.name] = value * float(sums[per])
