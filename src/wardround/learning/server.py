"""Take the mean update and make the next parameters of it, by + - * / and sqrt alone, so that any processor gives the same bits.

Source: Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2; Kingma and Ba, Adam, ICLR 2015 (bias correction, here by
running products of beta instead of powers).
"""

from __future__ import annotations

import numpy as np

from wardround.learning.options import FedAvgOptions
from wardround.study.arrays import Arrays, put_under, under

BETA1, BETA2 = 0.9, 0.99


def start(parameters: Arrays, options: FedAvgOptions) -> dict[str, np.ndarray]:
    """Return the optimiser's first state: what it keeps between rounds, by name."""
    kept = {name: np.zeros(value.shape) for name, value in parameters.items() if np.issubdtype(value.dtype, np.floating)}
    if options.server_optimiser == "adam":
        return {**put_under("first", kept), **put_under("second", kept), "beta1": np.ones(()), "beta2": np.ones(())}
    return put_under("momentum", kept) if options.server_momentum > 0 else {}


def step(parameters: Arrays, mean: Arrays, kept: Arrays, options: FedAvgOptions) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the next parameters and the optimiser's next state.

    Args:
        parameters: by name.
        mean: mean update (trained minus received) by name, float64.
        kept: the optimiser's state, from `start` or the last step.
        options: which optimiser, and its numbers.
    """
    if options.server_optimiser == "adam":
        return _adam(parameters, mean, kept, options)
    new: dict[str, np.ndarray] = dict(parameters)
    state: dict[str, np.ndarray] = {}
    before = under(kept, "momentum")
    for name, update in mean.items():
        if before:
            update = options.server_momentum * before[name] + update
            state[f"momentum/{name}"] = update
        new[name] = (parameters[name] + options.server_learning_rate * update).astype(parameters[name].dtype)
    return new, state


def _adam(parameters: Arrays, mean: Arrays, kept: Arrays, options: FedAvgOptions) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    new: dict[str, np.ndarray] = dict(parameters)
    state = {"beta1": kept["beta1"] * BETA1, "beta2": kept["beta2"] * BETA2}
    for name, update in mean.items():
        first = BETA1 * kept[f"first/{name}"] + (1 - BETA1) * update
        second = BETA2 * kept[f"second/{name}"] + (1 - BETA2) * (update * update)
        state[f"first/{name}"], state[f"second/{name}"] = first, second
        move = (first / (1 - state["beta1"])) / (np.sqrt(second / (1 - state["beta2"])) + options.server_tau)
        new[name] = (parameters[name] + options.server_learning_rate * move).astype(parameters[name].dtype)
    return new, state
