"""Follow the validation scores of a study: which round of a training is kept, and which setting of a grid is chosen.

Who watches a run is told of rounds and their scores; what follows from them stands in the protocol. Here the two meet, by the same rules
by which the study itself decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from wardround.study.protocol import Protocol


class Kept(NamedTuple):
    """Hold the round whose model is kept.

    Attributes:
        round: after how many rounds of training; 0 for the initial model.
        of: rounds of training in all.
        value: of the primary metric on validation patients.
    """

    round: int
    of: int
    value: float


class Scores:
    """Collect validation scores by phase.

    Args:
        protocol: says what is better, what is kept and what is tried.
        earlier: rows of the study's history, when it goes on.
    """

    def __init__(self, protocol: Protocol, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        self._protocol = protocol
        self._scores: dict[str, dict[int, float]] = {}
        for row in earlier:
            self.add(row["phase"], row["round"], row.get(protocol.primary))

    def add(self, phase: str, number: int, value: float | None) -> None:
        """Take note of the score of the model that was sent in a round (counted from 0); None where there is none."""
        if value is not None:
            self._scores.setdefault(phase, {})[number] = value

    def kept(self, phase: str) -> Kept | None:
        """Return what is kept of a phase; None where no round had a score."""
        scores = self._scores.get(phase)
        if not scores:
            return None
        last = max(scores)
        best = last if self._protocol.stop.keep == "last" else max(sorted(scores), key=lambda number: self._rank(scores[number]))
        return Kept(best, last, scores[best])

    def chosen(self, phase: str) -> str | None:
        """Return which of the phases that try settings for this one is chosen; None where it tries none, or none had a score."""
        tried = [name for name in self._protocol.by_phase if name.rpartition(".")[0] == phase and name.rpartition(".")[2].isdigit()]
        known = {name: kept.value for name in tried if (kept := self.kept(name))}
        return max(known, key=lambda name: self._rank(known[name])) if known else None

    def settings(self, phase: str) -> str:
        """Return the tuned options of a phase, in words."""
        options = self._protocol.by_phase[phase].options
        return ", ".join(f"{name} {getattr(options, name)}" for name in self._protocol.evaluation.tune)

    def best(self) -> str:
        """Return what the best value of the primary metric is: the highest or the lowest, in words."""
        return f"{'highest' if self._protocol.direction > 0 else 'lowest'} {self._protocol.primary.replace('_', ' ')}"

    def _rank(self, value: float) -> float:
        return self._protocol.direction * value
