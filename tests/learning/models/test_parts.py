"""Every parameter of every model has a part, named without torch and true of the layers that hold it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wardround.learning.models.cnn import Cnn
from wardround.learning.models.densenet121 import DenseNet121
from wardround.learning.models.efficientnet_b0 import EfficientNetB0
from wardround.learning.models.logistic import Linear, Logistic
from wardround.learning.models.mlp import Mlp
from wardround.learning.models.own import Own
from wardround.learning.models.resnet18 import ResNet18
from wardround.study.interfaces import Model

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
PARTS = {"body", "head", "intercept", "norm"}


def check(model: Model, network: nn.Module, outputs: int) -> None:
    """Hold a model's parts against the types of the layers, and the shapes of the head."""
    names = list(network.state_dict())
    parts = {name: model.parts(name) for name in names}
    assert names and all(found and found <= PARTS for found in parts.values())
    assert all(("head" in found) != ("body" in found) for found in parts.values())
    (weight,) = (name for name, found in parts.items() if found == {"head"})
    (bias,) = (name for name, found in parts.items() if "intercept" in found)
    assert "head" in parts[bias] and weight.rpartition(".")[0] == bias.rpartition(".")[0]
    assert network.state_dict()[bias].shape == (outputs,) and network.state_dict()[weight].shape[0] == outputs
    normalising = {name for name in names if isinstance(network.get_submodule(name.rpartition(".")[0]), NORMS)}
    assert {name for name, found in parts.items() if "norm" in found} == normalising


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12), st.sampled_from([0.0, 0.5]), st.sampled_from([(3,), (1, 4, 5)]), st.integers(1, 4)
)
def test_a_perceptron(hidden: list[int], dropout: float, inputs: tuple[int, ...], outputs: int) -> None:
    model = Mlp(hidden=tuple(hidden), dropout=dropout)
    check(model, model.build(inputs, outputs), outputs)


@settings(max_examples=25)
@given(st.sampled_from([Linear(), Logistic()]), st.sampled_from([(3,), (2, 4, 5)]), st.integers(1, 4))
def test_a_linear_model(model: Linear, inputs: tuple[int, ...], outputs: int) -> None:
    check(model, model.build(inputs, outputs), outputs)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(1, 3),
    st.sampled_from(["group", "batch"]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([(2, 16), (1, 16, 17), (1, 16, 16, 16)]),
)
def test_a_small_network(widths: list[int], depth: int, norm: Any, dropout: float, inputs: tuple[int, ...]) -> None:
    model = Cnn(norm=norm, widths=tuple(widths), depth=depth, dropout=dropout)
    check(model, model.build(inputs, 2), 2)


@pytest.mark.parametrize("norm", ["group", pytest.param("batch", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [ResNet18, DenseNet121, EfficientNetB0])
def test_a_large_network(kind: Any, norm: str) -> None:
    model = kind(norm=norm)
    check(model, model.build((1, 32, 32), 3), 3)


def test_a_researcher_s_own_module() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(4 * 36, 8),
        nn.BatchNorm1d(8),
        nn.Linear(8, 2),
        nn.Softmax(dim=1),
    )
    check(Own(network), network, 2)


def test_a_parameter_of_the_module_itself_and_a_head_without_bias() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.last = nn.Linear(2, 1, bias=False)

    model = Own(Scaled())
    assert {name: set(model.parts(name)) for name in model.module.state_dict()} == {"scale": {"body"}, "last.weight": {"head"}}
