"""Step along the mean update, with momentum where the plan says so; with rate 1 and none this is plain federated averaging.

Source: Hsu, Qi, Brown: Measuring the effects of non-identical data distribution for federated visual classification, arXiv 1909.06335.
"""

from __future__ import annotations

import numpy as np

from wardround.learning.options import FedAvgOptions
from wardround.learning.servers.optimiser import ServerOptimiser, Stepped, moved, zeros
from wardround.study.arrays import Arrays, put_under, under


class Momentum(ServerOptimiser):
    """Keep a running sum of the updates."""

    def start(self, parameters: Arrays, options: FedAvgOptions) -> dict[str, np.ndarray]:
        """Return zeros, or nothing without momentum."""
        return put_under("momentum", zeros(parameters)) if options.server_momentum > 0 else {}

    def step(self, parameters: Arrays, mean: Arrays, kept: Arrays, options: FedAvgOptions) -> Stepped:
        """Return parameters + rate x (momentum x before + update)."""
        before = under(kept, "momentum")
        moves = {name: options.server_momentum * before[name] + update for name, update in mean.items()} if before else mean
        new = {name: moved(parameters[name], move, options) for name, move in moves.items()}
        return {**parameters, **new}, put_under("momentum", moves) if before else {}
