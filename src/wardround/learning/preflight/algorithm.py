"""Be asked once what a hospital's data look like, keep each hospital's answer apart, and say what does not fit together.

What a hospital tells, `site.py`; how it is compared, `numbers.py` and `codes.py`; with which thresholds, `measures.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wardround.data.notes import keeps
from wardround.learning.preflight.layout import Shape
from wardround.learning.preflight.seen import Seen, sites_of
from wardround.learning.preflight.site import summarised, told_apart
from wardround.learning.preflight.unnamed import unnamed
from wardround.learning.preflight.verdicts import Compared
from wardround.learning.statistics.statistic import Statistic
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State


@dataclass(frozen=True)
class PreflightOptions:
    """Say what the study is to predict.

    Attributes:
        label: field of the contract, "" for none; where its shares differ it is called prevalence, and label cards speak of it.
    """

    label: str = ""


@dataclass(frozen=True)
class Preflight(Statistic):
    """Compare hospitals' fields before a study begins."""

    Options = PreflightOptions
    apart = True
    options: PreflightOptions

    def check(self) -> None:
        """Refuse a plan that adds hospitals up, that hides them, or that refuses what a preflight looks for."""
        where = f"phases.{self.phase}"
        if self.options.label:
            self.named("label", (self.options.label,))
        if self.protocol.rounds.combine != "append":
            raise ProtocolError("rounds.combine: a preflight compares hospitals, and a sum has none.", 'Write combine = "append".')
        if self.protocol.evaluation.site_results == "own":
            remedy = 'Write [evaluation] with site_results = "blinded" (without names) or "open".'
            raise ProtocolError("evaluation.site_results: a preflight shows each hospital beside the others.", remedy)
        for name, field in self.protocol.contract.fields.items():
            if not keeps(field) or field.missing != "count":
                raise ProtocolError(
                    f"contract.fields.{name}.outside: {where} looks for values that do not fit, so they must not be refused.",
                    'Write outside = "keep" and leave missing out; wardround study preflight STUDY --plan FILE does it.',
                )

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        return 1, (
            "for each field how many patients have it, a value that many share far from others or at an end, rounded means of groups "
            "of patients by rank, counts by code, rounded mean ranks that say how fields go together, and the label card"
        )

    def ask(self, state: State) -> Ask:
        """Ask for what `site.py` tells."""
        bounds = self.protocol.bounds
        return Ask({}, Shape.of(self.protocol).terms(bounds.examples, bounds.sites))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return what this hospital tells; it keeps the same, to find itself among the others, and what rows can be told apart by."""
        found = summarised(self.protocol, data)
        return Answer(found), {**found, **told_apart(self.protocol, data)}

    def sites(self, results: Arrays) -> list[Seen]:
        """Return what each hospital told."""
        return sites_of(Shape.of(self.protocol), results)

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return verdicts by field and hospital, by name."""
        return Compared(self.protocol, self.options.label, self.sites(results)).told()

    def shared(self, results: Arrays) -> dict[str, Any]:
        """Return the same as it may be released among hospitals: by name, or without names, as the plan says."""
        told = self.told(results)
        return told if self.protocol.evaluation.site_results == "open" else unnamed(told)
