"""Say what a server optimiser does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from wardround.learning.options import FedAvgOptions
from wardround.study.arrays import Arrays

Stepped = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
"""The next parameters, and the optimiser's next state, each by name."""


@dataclass(frozen=True)
class ServerOptimiser(ABC):
    """Make the next parameters of the mean update."""

    @abstractmethod
    def start(self, parameters: Arrays, options: FedAvgOptions) -> dict[str, np.ndarray]:
        """Return the first state for parameters that are trained: what is kept between rounds, by name."""

    @abstractmethod
    def step(self, parameters: Arrays, mean: Arrays, kept: Arrays, options: FedAvgOptions) -> Stepped:
        """Return the next parameters and the next state.

        Args:
            parameters: by name.
            mean: mean update (trained minus received) by name, float64.
            kept: the state, from `start` or the last step.
            options: the numbers of the optimiser.
        """


def zeros(parameters: Arrays) -> dict[str, np.ndarray]:
    """Return float64 zeros like each parameter that is a real number."""
    return {name: np.zeros(value.shape) for name, value in parameters.items() if np.issubdtype(value.dtype, np.floating)}


def moved(parameter: np.ndarray, move: np.ndarray, options: FedAvgOptions) -> np.ndarray:
    """Return a parameter after a move times the server's learning rate, in its own type."""
    return np.asarray((parameter + options.server_learning_rate * move).astype(parameter.dtype))
