"""Be the model of a study that trains none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NoModel(Model):
    """Stand where a protocol names a model."""

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Refuse.

        Raises:
            ProtocolError: always; there is nothing to build.
        """
        raise ProtocolError(
            "model.kind: 'nothing' is no model.", "Name a model, or write kind = 'statistics' at the top of the study file."
        )
