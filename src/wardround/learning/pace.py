"""Count how many plain steps of gradient descent so many steps with momentum amount to.

Source: Wang et al., Tackling the objective inconsistency problem in heterogeneous federated optimization, NeurIPS 2020, section 4.1.
"""

from __future__ import annotations


def effective(steps: int, momentum: float) -> float:
    """Return how many plain steps so many steps with momentum amount to: the sum of the weights that their gradients have in the end."""
    if not momentum:
        return float(steps)
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)
