"""Build the smallest EfficientNet: few parameters and few operations for its quality; common for grading retinopathy.

Source: Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, ICML 2019, table 1. The network is MONAI's.
In training it leaves out a fifth of the last layer's inputs, and whole blocks of single examples, by torch's generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wardround.learning.models.layers import Convolutional, need_monai

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class EfficientNetB0(Convolutional):
    """Convolve each channel by itself and weigh channels by what the whole picture shows; 4 million parameters in two dimensions."""

    head: ClassVar[str] = r"_fc\."
    norms: ClassVar[str] = r"(^|\.)_bn\d+\."
    smallest: ClassVar[int] = 32

    def network(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return MONAI's EfficientNet-B0, without the parameters that others have trained."""
        need_monai()
        from monai.networks.nets.efficientnet import EfficientNetBN

        return EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=len(inputs) - 1, in_channels=inputs[0], num_classes=outputs)
