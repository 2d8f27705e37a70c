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
        module: maps float32 [B, *inputs] to float32 [B, outputs].
    """

    module: nn.Module = field(repr=False)

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return a copy of the module, with its parameters."""
        return copy.deepcopy(self.module)

    def parts(self, name: str) -> frozenset[str]:
        """Return where a parameter belongs, by the kind of layer that holds it; the head is the last layer that has parameters.

        Last is what the module names last, in most modules what it calls last.
        """
        from torch import nn

        norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
        holder, _, own_name = name.rpartition(".")
        last = [where for where, layer in self.module.named_modules() if any(True for _ in layer.parameters(recurse=False))][-1:]
        if [holder] == last:
            return frozenset({"head", "intercept"} if own_name == "bias" else {"head"})
        return frozenset({"body", "norm"} if isinstance(self.module.get_submodule(holder), norms) else {"body"})
