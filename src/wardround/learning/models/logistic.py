"""Build a model that is linear in its inputs: one layer, started at zero. A question about classes makes it a logistic regression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.learning.models.layers import parts_of
from wardround.study.interfaces import Model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Linear(Model):
    """Be linear in the inputs; whether it then is a linear, a log-linear or a logistic regression is up to the question."""

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return one linear layer float32 [B, *inputs] -> [B, outputs], all zero; of an image every pixel is an input."""
        import torch

        layer = torch.nn.Linear(math.prod(inputs), outputs)
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        return layer if len(inputs) == 1 else torch.nn.Sequential(torch.nn.Flatten(), layer)

    def parts(self, name: str) -> frozenset[str]:
        """Return that a parameter belongs to the head: there is nothing else."""
        return parts_of(name, head="")


@dataclass(frozen=True)
class Logistic(Linear):
    """Be linear in the inputs; multinomial when the question has several outputs."""
