"""Step by the mean update over the square root of the sum of all squares so far: FedAdagrad.

Source: Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2 (with beta1 = 0).
"""

from __future__ import annotations

import numpy as np

from wardround.learning.options import FedAvgOptions
from wardround.learning.servers.optimiser import ServerOptimiser, Stepped, moved, zeros
from wardround.study.arrays import Arrays, put_under


class Adagrad(ServerOptimiser):
    """Keep the sum of squares."""

    def start(self, parameters: Arrays, options: FedAvgOptions) -> dict[str, np.ndarray]:
        """Return zeros."""
        return put_under("second", zeros(parameters))

    def step(self, parameters: Arrays, mean: Arrays, kept: Arrays, options: FedAvgOptions) -> Stepped:
        """Return parameters + rate x update / (sqrt(sum of squares) + tau)."""
        new: dict[str, np.ndarray] = dict(parameters)
        state: dict[str, np.ndarray] = {}
        for name, update in mean.items():
            second = kept[f"second/{name}"] + update * update
            state[f"second/{name}"] = second
            new[name] = moved(parameters[name], update / (np.sqrt(second) + options.server_tau), options)
        return new, state
