"""Build a logistic regression: one linear layer, started at zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.study.interfaces import Model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Logistic(Model):
    """Be linear in the inputs; multinomial when the question has several outputs."""

    def build(self, inputs: int, outputs: int) -> nn.Module:
        """Return one linear layer float32 [B, inputs] -> [B, outputs], all zero."""
        import torch

        layer = torch.nn.Linear(inputs, outputs)
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        return layer
