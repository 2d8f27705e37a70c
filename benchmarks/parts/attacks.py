"""Let some simulated sites send what a hostile one would, to measure what the robust rules withstand.

Only a benchmark: these sites are played inside the simulation, whose every part we hold, and know all honest updates of the round before
they send their own, which no site does. Everything else (gates, log, admission, rule) is the true code.

Source: sign flip and Gaussian: Li et al., RSA, AAAI 2019; inner-product manipulation (IPM): Xie et al., Fall of empires, UAI 2019; a little
is enough (ALIE): Baruch et al., NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wardround.engines.inprocess import InProcess
from wardround.site.gate import Work
from wardround.site.release import release, send
from wardround.study.arrays import Arrays, put_under, to_bytes, under
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Reply
from wardround.study.layout import Layout
from wardround.study.task import Answer, Refusal, Update

Made = Callable[[Arrays, Sequence[Arrays], float, np.random.Generator], Mapping[str, np.ndarray]]
"""Makes a hostile site's mean update of its own, those of all honest sites, a strength, and chance."""


def _flipped(own: Arrays, honest: Sequence[Arrays], strength: float, dice: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: -strength * value for name, value in own.items()}


def _against(own: Arrays, honest: Sequence[Arrays], strength: float, dice: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: -strength * np.mean([one[name] for one in honest], axis=0) for name in own}


def _a_little(own: Arrays, honest: Sequence[Arrays], strength: float, dice: np.random.Generator) -> dict[str, np.ndarray]:
    columns = {name: np.stack([one[name] for one in honest]) for name in own}
    return {name: np.mean(values, axis=0) - strength * np.std(values, axis=0) for name, values in columns.items()}


def _noise(own: Arrays, honest: Sequence[Arrays], strength: float, dice: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: dice.normal(0, strength, value.shape) for name, value in own.items()}


def _scaled(own: Arrays, honest: Sequence[Arrays], strength: float, dice: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: strength * value for name, value in own.items()}


@dataclass(frozen=True)
class Attack:
    """Describe what hostile sites do.

    Attributes:
        name: for the table.
        made: makes the mean update that a hostile site sends; None for its honest one.
        strength: a factor; of noise the deviation; of a little is enough how many deviations.
        labels: train on the other label.
        most: claim as many examples as a site may have.
        lies: validation sums say the opposite of what honest sites see.
        broken: the body holds NaN, past the site's own gate.
    """

    name: str
    made: Made | None = None
    strength: float = 1.0
    labels: bool = False
    most: bool = False
    lies: bool = False
    broken: bool = False

    def __str__(self) -> str:
        """Return name and strength."""
        return self.name if self.strength == 1 or self.made is None else f"{self.name} x {self.strength:g}"


NOBODY = Attack("nobody hostile")

ATTACKS = (
    Attack("sign flip", _flipped, 1.0),
    Attack("sign flip", _flipped, 4.0),
    Attack("sign flip", _flipped, 16.0),
    Attack("inner product", _against, 1.0),
    Attack("inner product", _against, 4.0),
    Attack("inner product", _against, 16.0),
    Attack("a little is enough", _a_little, 1.5),
    Attack("a little is enough", _a_little, 3.0),
    Attack("a little is enough", _a_little, 6.0),
    Attack("Gaussian", _noise, 0.5),
    Attack("other labels", _scaled, 1.0, labels=True),
    Attack("other labels, updates", _scaled, 8.0, labels=True),
    Attack("sign flip, most examples claimed", _flipped, 4.0, most=True),
    Attack("inner product, lies about validation", _against, 4.0, most=True, lies=True),
    Attack("honest update, lies about validation", lies=True),
    Attack("NaN", broken=True),
)


def with_other_labels(data: Dataset, label: str) -> Dataset:
    """Return a site's rows with every 0 a 1 and every 1 a 0."""
    return replace(data, columns={**data.columns, label: (1 - data.columns[label]).astype(data.columns[label].dtype)}, cache={})


@dataclass
class Liar:
    """Say of each model the opposite of what honest sites say: that a poor one is perfect, a good one worthless.

    Attributes:
        best: highest score so far.
    """

    best: float = field(default=-np.inf)

    def told(self, histograms: Sequence[np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
        """Return validation sums with as many examples as may be.

        Args:
            histograms: of honest sites, [2, bins].
            layout: of the round.
        """
        from wardround.learning.questions.curves import auroc

        score = float(auroc(np.sum(histograms, axis=0)))
        terms = {term.name: term for term in layout}
        good, found = score <= self.best, np.zeros(terms["validation/histogram"].shape)
        self.best = max(self.best, score)
        most = float(np.max(terms["validation/histogram"].limit))
        found[0, 0 if good else -1] = found[1, -1 if good else 0] = most
        return {"validation/histogram": found}


class Attacked(InProcess):
    """Carry tasks as ever, but let hostile sites answer as an attack says.

    Attributes:
        attack: what they do.
        hostile: their names.
        seed: of their chance.
    """

    attack: Attack = NOBODY
    hostile: frozenset[str] = frozenset()
    seed: int = 0

    def __init__(self, *args: Any) -> None:
        """Take in the sites, and chance."""
        super().__init__(*args)
        self._liar, self._dice = Liar(), np.random.default_rng(self.seed)

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        """Work out all honest answers, then those of hostile sites, and let each out; NaN goes past the gate."""
        accepted, self._accepted = self._accepted, []
        work = [one for one in accepted if isinstance(one, Work)]
        yield from (one for one in accepted if isinstance(one, Update | Refusal))
        answers = dict(self._here(work))
        spoilt = self._spoilt(work, answers)
        for number, one in enumerate(work):
            site, reply = self._places[one.task.site].site, spoilt.get(number, answers[number])
            if isinstance(reply, Refusal):
                yield site.refuse(one.task, "answer", reply.reason, reply.remedy, reply.again)
            elif number in spoilt and self.attack.broken:
                floats = {term.name: np.full(term.shape, np.nan, dtype=np.float32) for term in one.task.body.layout}
                yield send(site, one.task, to_bytes(floats), None)
            else:
                yield release(site, one, *reply)

    def _spoilt(self, work: Sequence[Work], answers: Mapping[int, Reply]) -> dict[int, Reply]:
        """Return the hostile sites' replies by number of the work; of rounds without a model none."""
        sums = {number: reply[0].sums for number, reply in answers.items() if not isinstance(reply, Refusal)}
        hostile = [number for number in sums if work[number].task.site in self.hostile]
        honest = [sums[number] for number in sums if number not in hostile]
        if self.attack is NOBODY or not hostile or "validation/histogram" not in honest[0]:
            return {}
        layout = work[0].task.body.layout
        lies = self._liar.told([one["validation/histogram"] for one in honest], layout) if self.attack.lies else {}
        means = [mean for one in honest if (mean := _mean(one))]
        return {number: (Answer({**sums[number], **self._trained(sums[number], means, layout), **lies}), None) for number in hostile}

    def _trained(self, own: Arrays, honest: Sequence[Arrays], layout: Layout) -> dict[str, np.ndarray]:
        """Return a hostile site's update times the examples that it claims; nothing in a round that only validates."""
        if self.attack.made is None or not honest or not (mean := _mean(own)):
            return {}
        terms = {term.name: term for term in layout}
        claimed = float(np.max(terms["examples"].limit)) if self.attack.most else float(own["examples"])
        reach = {name: 0.999 * float(np.max(terms[f"update/{name}"].limit)) / float(np.max(terms["examples"].limit)) for name in mean}
        made = self.attack.made(mean, honest, self.attack.strength, self._dice)
        bounded = {name: claimed * np.clip(value, -reach[name], reach[name]) for name, value in made.items()}
        return {**put_under("update", bounded), "examples": np.asarray(claimed)}


def _mean(sums: Arrays) -> dict[str, np.ndarray]:
    """Return a site's mean update; nothing where it has no examples or none was asked for."""
    count = float(sums.get("examples", 0.0))
    return {name: value / count for name, value in under(sums, "update").items()} if count else {}
