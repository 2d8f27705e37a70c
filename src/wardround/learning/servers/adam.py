"""Step by the mean update over the square root of its running square: FedAdam.

Source: Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2; Kingma and Ba, Adam, ICLR 2015 (bias correction, here by
running products of beta instead of powers).
"""

from __future__ import annotations

import numpy as np

from wardround.learning.options import FedAvgOptions
from wardround.learning.servers.optimiser import ServerOptimiser, Stepped, moved, zeros
from wardround.study.arrays import Arrays, put_under

BETA1, BETA2 = 0.9, 0.99


class Adam(ServerOptimiser):
    """Keep running means of the update and of its square."""

    def start(self, parameters: Arrays, options: FedAvgOptions) -> dict[str, np.ndarray]:
        """Return zeros, and the running products of beta."""
        kept = zeros(parameters)
        return {**put_under("first", kept), **put_under("second", kept), "beta1": np.ones(()), "beta2": np.ones(())}

    def step(self, parameters: Arrays, mean: Arrays, kept: Arrays, options: FedAvgOptions) -> Stepped:
        """Return parameters + rate x first / (sqrt(second) + tau), both corrected for their start at zero."""
        new: dict[str, np.ndarray] = dict(parameters)
        state = {"beta1": kept["beta1"] * BETA1, "beta2": kept["beta2"] * BETA2}
        for name, update in mean.items():
            first = BETA1 * kept[f"first/{name}"] + (1 - BETA1) * update
            second = self.second(kept[f"second/{name}"], update * update)
            state[f"first/{name}"], state[f"second/{name}"] = first, second
            move = (first / (1 - state["beta1"])) / (np.sqrt(second / (1 - state["beta2"])) + options.server_tau)
            new[name] = moved(parameters[name], move, options)
        return new, state

    def second(self, before: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the running mean of the squares."""
        return np.asarray(BETA2 * before + (1 - BETA2) * square)
