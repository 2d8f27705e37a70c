"""Pull a model in training towards where it started: the gradient of `mu / 2 x |parameters - start|^2`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def pull(network: nn.Module, mu: float, which: Callable[[str], bool] = lambda name: True) -> Callable[[nn.Module], None]:
    """Return what adds that gradient before each step.

    Args:
        network: as it stands now is where it is pulled to.
        mu: strength, 0 or more.
        which: says by name which parameters are pulled.
    """
    start = {name: one.detach().clone() for name, one in network.named_parameters() if one.requires_grad and which(name)}

    def correct(trained: nn.Module) -> None:
        for name, parameter in trained.named_parameters():
            if name in start and parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - start[name], alpha=mu)

    return correct
