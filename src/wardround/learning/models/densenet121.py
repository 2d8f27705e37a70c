"""Build a densely connected network of 121 layers: what most published work on chest radiographs starts from.

Source: Huang et al., Densely connected convolutional networks, CVPR 2017, table 1; Rajpurkar et al., CheXNet, 2017. The network is MONAI's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wardround.learning.models.layers import Convolutional, need_monai

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class DenseNet121(Convolutional):
    """Let each layer see the output of all layers before it in its block; 7 million parameters in two dimensions."""

    head: ClassVar[str] = r"class_layers\.out\."
    norms: ClassVar[str] = r"(^|\.)norm\d*\."
    smallest: ClassVar[int] = 32

    def network(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return MONAI's DenseNet with blocks of 6, 12, 24 and 16 layers."""
        need_monai()
        from monai.networks.nets.densenet import DenseNet

        return DenseNet(spatial_dims=len(inputs) - 1, in_channels=inputs[0], out_channels=outputs, block_config=(6, 12, 24, 16))
