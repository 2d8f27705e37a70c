"""Wrap a researcher's own module as a model; it exists in this process only."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardround.study.interfaces import Model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Own(Model):
    """Hand out copies of a module.

    Attributes:
        module: maps float32 [B, inputs] to float32 [B, outputs].
    """

    module: nn.Module = field(repr=False)

    def build(self, inputs: int, outputs: int) -> nn.Module:
        """Return a copy of the module, with its parameters."""
        return copy.deepcopy(self.module)
