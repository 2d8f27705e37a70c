"""Correct each site's steps by control variates, so that sites that differ do not drift apart: SCAFFOLD.

A site keeps an estimate of its own gradient and is sent the mean of all sites' estimates; each local step is corrected by the difference.
With its update it sends by how much its own estimate changed. Who is absent from a round keeps its estimate.

Source: Karimireddy et al., SCAFFOLD: stochastic controlled averaging for federated learning, ICML 2020, algorithm 1, option II.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from wardround.learning.algorithms.fedavg import FedAvg, Visit
from wardround.learning.options import FedAvgOptions
from wardround.learning.pace import effective
from wardround.learning.train import corrected
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.layout import Term
from wardround.study.task import Total

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

VARIATE = "variate"


@dataclass(frozen=True)
class ScaffoldOptions(FedAvgOptions):
    """Take the options of federated averaging; the local optimiser is SGD, whose steps the correction is made for."""

    optimiser: Literal["sgd"] = "sgd"


@dataclass(frozen=True)
class Scaffold(FedAvg):
    """Average updates whose steps are corrected by the sites' and the common control variate."""

    Options: ClassVar[type] = ScaffoldOptions
    ruled: ClassVar[bool] = False
    sent: ClassVar[tuple[str, ...]] = (*FedAvg.sent, f"server/{VARIATE}/")

    def leaves(self) -> tuple[int, str]:
        """Say that the change of a site's control variate leaves with its update."""
        answers, what = super().leaves()
        return answers, f"{what}; with each change of the model that of the hospital's own mean gradient (control variate)"

    def start_server(self, parameters: Arrays) -> dict[str, np.ndarray]:
        """Return the server optimiser's state and a common variate of zero."""
        zero = {name: np.zeros(value.shape, dtype=np.float32) for name, value in parameters.items()}
        return {**super().start_server(parameters), **put_under(VARIATE, zero), "counted": np.zeros(())}

    def terms(self, shapes: Mapping[str, tuple[int, ...]]) -> list[Term]:
        """Add the change of the variate, times how much the site counts, and how much those count that send their first."""
        bounds = self.protocol.bounds
        most = float(bounds.examples) if self.options.weighting == "examples" else 1.0
        limit = most * 2 * bounds.update / self.options.learning_rate  # one step is the worst case
        changes = [Term.sized(f"{VARIATE}/{name}", shape, limit, bounds.sites) for name, shape in shapes.items()]
        return [*super().terms(shapes), *changes, Term.count("new", (), most, bounds.sites)]

    def optimiser(self, visit: Visit) -> Optimizer:
        """Add common minus own variate to the gradients before each step."""
        import torch

        common, own = under(visit.ask.arrays, f"server/{VARIATE}"), under(visit.mine.get(self.phase, {}), VARIATE)
        apart = {name: torch.from_numpy(value - own[name] if name in own else np.array(value)) for name, value in common.items()}

        def correct(network: nn.Module) -> None:
            for name, parameter in network.named_parameters():
                if name in apart and parameter.grad is not None:
                    parameter.grad.add_(apart[name])

        return corrected(super().optimiser(visit), visit.network, correct)

    def local(self, visit: Visit) -> tuple[dict[str, np.ndarray], Arrays | None]:
        """Train, and estimate the site's own gradient anew: own - common + (received - trained) / (effective steps x learning rate)."""
        steps = self.train(visit)
        moved = self.moved(visit)
        common, own = under(visit.ask.arrays, f"server/{VARIATE}"), under(visit.mine.get(self.phase, {}), VARIATE)
        pace = effective(steps, self.options.momentum) * visit.options.learning_rate
        changes = {name: -common[name].astype(np.float64) - (moved[name] / pace if steps else -common[name]) for name in common}
        new = {name: (own.get(name, np.zeros(one.shape)) + one).astype(np.float32) for name, one in changes.items()}
        sums = self.weighed(visit, moved)
        share = float(sums["examples"])
        sums.update({f"{VARIATE}/{name}": share * one for name, one in changes.items()}, new=np.asarray(0.0 if own else share))
        return sums, {**self.kept(visit), **put_under(VARIATE, new)}

    def stepped(self, arrays: Arrays, total: Total) -> dict[str, np.ndarray]:
        """Return the next parameters, and the common variate moved by the mean change over all sites that ever took part.

        Sites count for it as they do for the update; else what corrects the steps would not cancel in their mean.
        """
        counted = arrays["server/counted"] + total.sums["new"]
        changed = {
            f"server/{VARIATE}/{name}": (arrays[f"server/{VARIATE}/{name}"] + value / np.maximum(counted, 1)).astype(np.float32)
            for name, value in under(total.sums, VARIATE).items()
        }
        return {**super().stepped(arrays, total), **changed, "server/counted": np.asarray(counted)}

    def undo(self, arrays: dict[str, np.ndarray], round_: int) -> bool:
        """Go back, but not behind what the sites keep: the common variate stays the mean of theirs."""
        common = {name: value for name, value in arrays.items() if name == "server/counted" or name.startswith(f"server/{VARIATE}/")}
        often = super().undo(arrays, round_)
        arrays.update(common)
        return often
