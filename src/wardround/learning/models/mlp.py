"""Build a multilayer perceptron for tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from wardround.learning.models.layers import parts_of
from wardround.study.interfaces import Model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Mlp(Model):
    """Stack fully connected layers with ReLU between them.

    Attributes:
        hidden: width of each hidden layer.
        dropout: share of hidden units left out in training, 0 to 0.9.
    """

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(min_length=1, max_length=16)] = (32,)
    dropout: Annotated[float, Field(ge=0, le=0.9)] = 0.0

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return the layers float32 [B, *inputs] -> [B, outputs], initialised as torch does by default; an image is flattened first."""
        import torch

        layers: list[nn.Module] = [] if len(inputs) == 1 else [torch.nn.Flatten()]
        width = math.prod(inputs)
        for size in self.hidden:
            layers += [torch.nn.Linear(width, size), torch.nn.ReLU(), *([torch.nn.Dropout(self.dropout)] if self.dropout > 0 else [])]
            width = size
        return torch.nn.Sequential(*layers, torch.nn.Linear(width, outputs))

    def parts(self, name: str) -> frozenset[str]:
        """Return where a parameter belongs, by the place of its layer; an image is flattened by one layer more, without parameters."""
        last = len(self.hidden) * (3 if self.dropout > 0 else 2)
        return parts_of(name, head=rf"({last}|{last + 1})\.")
