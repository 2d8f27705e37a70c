"""Build a small network of convolutions, made for pictures of 28 to 64 pixels: cheap enough for a laptop without a graphics processor.

The first convolution halves the picture, so all further work is done on a quarter of its pixels; what that costs in time falls by the
same factor, and on small radiographs the quality does not fall with it (docs/decisions/0015-models-for-pictures.md has the table). With
the default options, SGD with a learning rate of 0.05, momentum 0.9, weight decay 5e-4, batches of 32 and a cosine schedule suit it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from wardround.learning.models.layers import Convolutional
from wardround.study.errors import ProtocolError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Cnn(Convolutional):
    """Stack stages of convolutions, each on half the pixels and with more channels than the one before; then average and judge.

    Attributes:
        widths: channels of each stage.
        depth: convolutions of a stage.
        stride: of the first convolution: 2 halves the picture at once, 1 keeps its full size for the first stage, at four times the cost.
        dropout: share of the last stage's channels left out in training, 0 to 0.9.
    """

    widths: Annotated[tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=1, max_length=8)] = (16, 32, 64)
    depth: Annotated[int, Field(ge=1, le=16)] = 2
    stride: Annotated[int, Field(ge=1, le=4)] = 2
    dropout: Annotated[float, Field(ge=0, le=0.9)] = 0.0

    def refuse(self, inputs: tuple[int, ...]) -> None:
        """Refuse a table, and a picture of which nothing would be left to average."""
        super().refuse(inputs)
        needed = self.stride * 2 ** (len(self.widths) - 1)
        if min(inputs[1:]) < needed:
            size = " x ".join(map(str, inputs[1:]))
            message = f"model.widths: {len(self.widths)} stages halve a picture of {size} pixels to less than one; they need {needed}."
            raise ProtocolError(message, "Name fewer widths, or write stride = 1.")

    def network(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return stem, stages and head."""
        from torch import nn

        axes, width = len(inputs) - 1, self.widths[0]
        layers: OrderedDict[str, nn.Module] = OrderedDict(stem=_unit(axes, inputs[0], width, self.stride))
        for number, after in enumerate(self.widths):
            strides = [2 if number and place == 0 else 1 for place in range(self.depth)]
            units = [_unit(axes, width if place == 0 else after, after, stride) for place, stride in enumerate(strides)]
            layers[f"stage{number + 1}"], width = nn.Sequential(*units), after
        layers["average"] = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[axes - 1](1)
        layers["flat"] = nn.Flatten()
        if self.dropout > 0:
            layers["dropout"] = nn.Dropout(self.dropout)
        layers["head"] = nn.Linear(width, outputs)
        return nn.Sequential(layers)


def _unit(axes: int, before: int, after: int, stride: int) -> nn.Module:
    """Return convolution over 3 pixels along each axis, normalisation and ReLU.

    Its parameters start so that variance neither grows nor fades from layer to layer.

    Source: He et al., Delving deep into rectifiers, ICCV 2015, equation 10.
    """
    from torch import nn

    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](before, after, 3, stride=stride, padding=1, bias=False)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / (before * 3**axes)))
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1](after)
    return nn.Sequential(OrderedDict(conv=convolution, norm=norm, relu=nn.ReLU(inplace=True)))
