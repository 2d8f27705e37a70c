"""Give sites with a larger loss more say, so that the worst-off hospital gains: q-FFL, by q-FedAvg.

What is minimised is the sum over sites of loss^(q + 1) / (q + 1), each site counted alike: q = 0 is federated averaging of equal sites, a
large q nearly minimises the largest loss of any site.

Source: Li, Sanjabi, Beirami, Smith: Fair resource allocation in federated learning, ICLR 2020, equation 2 and algorithm 2 (here with both
sums multiplied by the learning rate).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from wardround.learning.algorithms.fedavg import FedAvg, Visit
from wardround.learning.options import FedAvgOptions
from wardround.study.arrays import Arrays, under
from wardround.study.layout import Term
from wardround.study.task import Total

LARGEST = 16.0
"""A site's mean training loss counts as at most this; guessing a class of ten at random has 2.3."""

HEAVIEST = 2.0**20
"""A loss to the power q counts as at most this, so from q = 5 on a loss as less than 16 (q = 8: 5.7, q = 10: 4): a sum that must hold the
heaviest update has no place for light ones else."""

LEAST = 1e-6


@dataclass(frozen=True)
class QfflOptions(FedAvgOptions):
    """Add how much the worst-off count.

    Attributes:
        q: 0 for all sites alike, larger for more equal losses. At q = 10 what a site with a loss under 0.1 sends is rounded away.
    """

    q: Annotated[float, Field(ge=0, le=10)] = 1.0


@dataclass(frozen=True)
class Qffl(FedAvg):
    """Average updates, each counted by a power of its site's loss."""

    Options: ClassVar[type] = QfflOptions
    options: QfflOptions = field(default_factory=QfflOptions)
    ruled: ClassVar[bool] = False

    @property
    def heaviest(self) -> float:
        """Return the most that a site's loss to the power q counts as."""
        return float(min(LARGEST**self.options.q, HEAVIEST))

    def leaves(self) -> tuple[int, str]:
        """Say what a site's loss does to what it sends."""
        answers, what = super().leaves()
        return (
            answers,
            f"{what}; each change of the model times a power of the hospital's mean training loss, and a number that bounds its step",
        )

    def terms(self, shapes: Mapping[str, tuple[int, ...]]) -> list[Term]:
        """Return the update times the loss to the power q, the sum of their denominators, and how many sites trained.

        A denominator may be a millionth or many millions, so what is left of it once it is rounded has a term of its own.
        """
        bounds, most = self.protocol.bounds, self.heaviest
        updates = [Term.sized(f"update/{name}", shape, most * bounds.update, bounds.sites, bits=64) for name, shape in shapes.items()]
        pace = self._pace(sum(int(np.prod(shape)) for shape in shapes.values()))
        rest = Term.sized("pace_rest", (), float(pace.step), bounds.sites, bits=64)
        return [Term.count("examples", (), 1.0, bounds.sites), *updates, pace, rest]

    def _pace(self, parameters: int) -> Term:
        """Return the term of the denominators, of an update of so many parameters."""
        bounds, most, q = self.protocol.bounds, self.heaviest, self.options.q
        curved = q * max(LEAST ** min(q - 1, 0), most) * parameters * bounds.update**2 / self.options.learning_rate
        return Term.sized("pace", (), most + curved, bounds.sites, bits=64)

    def local(self, visit: Visit) -> tuple[dict[str, np.ndarray], Arrays | None]:
        """Look at the loss of the model received, train, and weigh the update by it."""
        trains = len(visit.batch["mask"]) > 0
        q, rate = self.options.q, visit.options.learning_rate
        highest = LARGEST if self.heaviest < HEAVIEST else HEAVIEST ** (1 / q)
        loss = min(max(self._loss(visit), LEAST), highest) if trains else 0.0
        self.train(visit)
        moved = self.moved(visit)
        squared = sum(float(np.sum(value * value)) for value in moved.values())
        counts = min(loss**q, self.heaviest) if trains else 0.0
        pace = counts + (q * loss ** (q - 1) * squared / rate if q and trains else 0.0)
        sums = {f"update/{name}": counts * value for name, value in moved.items()}
        step = float(self._pace(sum(value.size for value in moved.values())).step)
        whole = step * float(np.rint(pace / step))
        sums |= {"pace": np.asarray(whole), "pace_rest": np.asarray(pace - whole), "examples": np.asarray(int(trains))}
        return sums, self.kept(visit) or None

    def _loss(self, visit: Visit) -> float:
        """Return the mean loss of the model received on the site's training rows."""
        from wardround.learning.network import mean_loss

        return mean_loss(visit.network, self.protocol.question_plugin, visit.batch)

    def stepped(self, arrays: Arrays, total: Total) -> dict[str, np.ndarray]:
        """Return what follows from the sum of the updates over the sum of their denominators."""
        pace = total.sums["pace"] + total.sums["pace_rest"]
        pace = np.where(pace > 0, pace, 1.0)
        sums = {f"update/{name}": value / pace for name, value in under(total.sums, "update").items()}
        return super().stepped(arrays, Total(total.layout, total.integers, {**sums, "examples": np.ones(())}, total.sites))
