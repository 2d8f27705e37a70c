"""Build a residual network of 18 layers, for pictures of any size.

Source: He et al., Deep residual learning for image recognition, CVPR 2016, table 1. Pictures under 64 pixels enter by a smaller first
layer (3 pixels wide, and no pooling behind it), else nothing would be left of them in the last stage. The network is MONAI's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wardround.learning.models.layers import Convolutional, need_monai

if TYPE_CHECKING:
    from torch import nn

SMALL = 64
"""Pictures with fewer pixels than this along an axis enter by the smaller first layer."""


@dataclass(frozen=True)
class ResNet18(Convolutional):
    """Add to what a layer sees what two convolutions make of it, eight times over; 11 million parameters in two dimensions."""

    head: ClassVar[str] = r"fc\."
    norms: ClassVar[str] = r"(^|\.)(bn\d+|downsample\.1)\."
    smallest: ClassVar[int] = 8

    def network(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return MONAI's ResNet with two basic blocks in each of four stages."""
        need_monai()
        from monai.networks.nets.resnet import ResNet, ResNetBlock
        from torch import nn

        small = min(inputs[1:]) < SMALL
        network = ResNet(
            ResNetBlock,
            [2, 2, 2, 2],
            [64, 128, 256, 512],
            spatial_dims=len(inputs) - 1,
            n_input_channels=inputs[0],
            conv1_t_size=3 if small else 7,
            conv1_t_stride=2,
            no_max_pool=small,
            num_classes=outputs,
            bias_downsample=False,
        )
        # Its layers one after the other: its own way through them stops at an empty batch, which a site without test rows has.
        layers = OrderedDict((name, layer) for name, layer in network.named_children() if not (small and name == "maxpool"))
        layers["flat"] = nn.Flatten()
        layers.move_to_end("fc")
        return nn.Sequential(layers)
