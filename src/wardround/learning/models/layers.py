"""Share what the models of pictures have in common: which inputs they take, how they normalise, and what their parameters are called.

A picture is an array with its channels first and one, two or three axes of pixels behind them: a signal, a radiograph, a volume. The
same model serves all three; how many axes there are follows from the inputs.

Layers are normalised over groups of channels of one example (GroupNorm) unless a study asks for BatchNorm. BatchNorm's running figures
describe the patients of a hospital and travel with the model, one batch's result depends on all of its patients, and hospitals that
differ do not share one mean: it is an option, best with `private = ["norm"]`, under which each hospital keeps its own.

Source: Wu and He, Group normalization, ECCV 2018; Li et al., FedBN, ICLR 2021.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal

from wardround.study.errors import MissingExtra, ProtocolError
from wardround.study.interfaces import Model

if TYPE_CHECKING:
    from torch import nn

GROUPS = (8, 4, 2)
"""How many groups of channels are tried, in order."""

IN_A_GROUP = 4
"""Fewest channels of a group: one channel of one pixel, normalised by itself, would always be zero."""


@dataclass(frozen=True)
class Convolutional(Model):
    """Be a network of convolutions whose last layer gives the outputs.

    Attributes:
        norm: "group" normalises each example by itself; "batch" by its batch, and where nobody trains by figures kept while training.
    """

    norm: Literal["group", "batch"] = "group"

    smallest: ClassVar[int] = 1
    """Fewest pixels along each axis."""

    head: ClassVar[str] = r"head\."
    """Matches the beginning of the names of the last layer's weight and bias."""

    norms: ClassVar[str] = r"(^|\.)norm\."
    """Is found in the names of what normalising layers hold, and in no other."""

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return the network for one, two or three axes of pixels, initialised as its layers do by default.

        Raises:
            ProtocolError: the inputs are columns of a table, or the picture is too small.
            MissingExtra: it needs a package that is not installed.
        """
        self.refuse(inputs)
        return with_norm(self.network(inputs, outputs), self.norm)

    @abstractmethod
    def network(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return the network with torch's own BatchNorm wherever it normalises.

        Args:
            inputs: (channels, length), (channels, height, width) or (channels, depth, height, width).
            outputs: how many numbers it gives for one example.
        """

    def refuse(self, inputs: tuple[int, ...]) -> None:
        """Refuse inputs that it cannot take.

        Raises:
            ProtocolError: they are columns of a table, or a picture that is too small.
        """
        if len(inputs) < 2:
            remedy = "Use 'logistic', 'linear' or 'mlp', or a contract whose one input is an image."
            raise ProtocolError("model.kind: this model looks at pictures, and the inputs are columns of a table.", remedy)
        if min(inputs[1:]) < self.smallest:
            size = " x ".join(map(str, inputs[1:]))
            message = f"model.kind: a picture of {size} pixels is too small for this model, which needs {self.smallest} along each axis."
            raise ProtocolError(message, "Use 'cnn', or 'resnet18', or enlarge the pictures and their shape in the contract.")

    def parts(self, name: str) -> frozenset[str]:
        """Return where a parameter belongs, by its name."""
        return parts_of(name, self.head, self.norms)


def parts_of(name: str, head: str, norms: str = r"(?!)") -> frozenset[str]:
    r"""Return where a parameter of a network belongs.

    Args:
        name: as in the module's `state_dict`.
        head: matches the beginning of the names of the last layer's weight and bias.
        norms: is found in the names of what normalising layers hold.

    Example:
        >>> sorted(parts_of("head.bias", r"head\."))
        ['head', 'intercept']
    """
    if re.match(head, name):
        return frozenset({"head", "intercept"} if name.endswith("bias") else {"head"})
    return frozenset({"body", "norm"} if re.search(norms, name) else {"body"})


def group_count(channels: int) -> int:
    """Return into how many groups channels are divided: at most 8, of 4 channels at least."""
    return next((groups for groups in GROUPS if channels % groups == 0 and channels // groups >= IN_A_GROUP), 1)


def with_norm(network: nn.Module, norm: str) -> nn.Module:
    """Put GroupNorm, or a BatchNorm that takes a lone example, in place of every BatchNorm; parameters start at 1 and 0 either way.

    Args:
        network: changed in place.
        norm: "group" or "batch".
    """
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    for name, child in list(network.named_children()):
        if not isinstance(child, _BatchNorm):
            with_norm(child, norm)
        elif norm == "group":
            setattr(network, name, nn.GroupNorm(group_count(child.num_features), child.num_features))
        else:
            setattr(network, name, _batch_norm()(child.num_features, child.eps, child.momentum))
    return network


@cache
def _batch_norm() -> type[nn.Module]:
    """Return the BatchNorm that takes a lone example; made when first needed, since torch is imported inside functions."""
    from torch import Tensor
    from torch.nn.functional import batch_norm
    from torch.nn.modules.batchnorm import _BatchNorm

    class BatchNorm(_BatchNorm):
        """Normalise over the batch; in training a batch of one by the running figures, which it leaves as they are.

        The last batch of an epoch may hold one example. Its own mean and variance say nothing (of one pixel torch refuses them), and
        leaving it out would mean that a hospital with one training picture trains on none.
        """

        def _check_input_dim(self, input: Tensor) -> None:
            """Take any number of axes."""

        def forward(self, input: Tensor) -> Tensor:
            """Return the normalised values."""
            if self.training and len(input) == 1:
                return batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return super().forward(input)

    return BatchNorm


def need_monai() -> None:
    """Refuse to go on without MONAI.

    Raises:
        MissingExtra: it is not installed.
    """
    if find_spec("monai") is None:
        raise MissingExtra("This model needs MONAI, which is not installed.", "Install it with: pip install 'wardround[imaging,learn]'")
