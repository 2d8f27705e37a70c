"""Models of pictures: any number of axes, the same bits from the same seed, lone examples, and clear errors for what they cannot take."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from wardround.learning.models import layers
from wardround.learning.models.cnn import Cnn
from wardround.learning.models.densenet121 import DenseNet121
from wardround.learning.models.efficientnet_b0 import EfficientNetB0
from wardround.learning.models.layers import group_count
from wardround.learning.models.resnet18 import ResNet18
from wardround.study.errors import MissingExtra, ProtocolError
from wardround.study.plugins import find, validated

KINDS: dict[str, Any] = {"cnn": Cnn, "resnet18": ResNet18, "densenet121": DenseNet121, "efficientnet_b0": EfficientNetB0}
SHAPES = {"signal": (2, 64), "picture": (1, 32, 40), "volume": (1, 32, 32, 32)}
QUICK = {"cnn": 3, "resnet18": 1}
"""By model how many shapes are tried each time; the others are slow."""
CASES = [
    pytest.param(name, shape, norm, id=f"{name}-{what}-{norm}", marks=() if place < QUICK.get(name, 0) else pytest.mark.slow)
    for name in KINDS
    for place, (what, shape) in enumerate(SHAPES.items())
    for norm in ("group", "batch")
]
FAST = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in KINDS]


def built(model: Any, inputs: tuple[int, ...], outputs: int = 1, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = model.build(inputs, outputs)
    return network


@pytest.mark.parametrize("name", KINDS)
def test_it_is_found_by_its_name_with_its_options(name: str) -> None:
    assert find("model", name) is KINDS[name]
    assert validated(KINDS[name], {"norm": "batch"}, "model").norm == "batch"
    with pytest.raises(ProtocolError, match="norm"):
        validated(KINDS[name], {"norm": "layer"}, "model")


@pytest.mark.parametrize(("name", "shape", "norm"), CASES)
def test_one_example_trains_and_none_are_scored(name: str, shape: tuple[int, ...], norm: str) -> None:
    network = built(KINDS[name](norm=norm), shape, 3).train()
    before = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    assert bool(before) == (norm == "batch")
    output = network(torch.randn(1, *shape))
    output.square().sum().backward()
    assert output.shape == (1, 3) and bool(torch.isfinite(output).all())
    assert all(one.grad is not None and bool(torch.isfinite(one.grad).all()) for one in network.parameters())
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())
    network.eval()
    with torch.inference_mode():
        assert network(torch.zeros(0, *shape)).shape == (0, 3)


@pytest.mark.parametrize("name", FAST)
def test_batches_of_several_move_the_running_figures(name: str) -> None:
    network = built(KINDS[name](norm="batch"), (1, 32, 32)).train()
    before = {key: value.clone() for key, value in network.state_dict().items() if "running_mean" in key}
    network(torch.randn(4, 1, 32, 32) + 1)
    assert sum(not torch.equal(network.state_dict()[key], value) for key, value in before.items()) > len(before) / 2


@pytest.mark.parametrize("name", FAST)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(name: str) -> None:
    one, same, other = (built(KINDS[name](), (1, 32, 32), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, same[key]) for key, value in one.items())
    assert any(not torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", FAST)
def test_group_norm_takes_the_place_of_every_batch_norm(name: str) -> None:
    network = built(KINDS[name](), (1, 32, 32))
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())
    groups = [layer for layer in network.modules() if isinstance(layer, nn.GroupNorm)]
    assert groups and all(layer.num_channels % layer.num_groups == 0 for layer in groups)
    assert not any(key.endswith(("running_mean", "num_batches_tracked")) for key in network.state_dict())


def test_examples_do_not_touch_each_other_under_group_norm() -> None:
    network = built(Cnn(), (1, 28, 28)).eval()
    x = torch.randn(6, 1, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(network(x)[2:3], network(x[2:3]), atol=1e-6)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (5, 1), (6, 1), (8, 2), (12, 2), (16, 4), (24, 4), (32, 8), (1024, 8)])
def test_groups_divide_the_channels(channels: int, groups: int) -> None:
    assert group_count(channels) == groups


@pytest.mark.parametrize("name", KINDS)
def test_a_table_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match=r"columns of a table.*Use 'logistic'"):
        KINDS[name]().build((7,), 1)


@pytest.mark.parametrize(
    ("model", "shape"), [(Cnn(), (1, 28, 7)), (Cnn(stride=1), (1, 3, 3)), (ResNet18(), (1, 7, 64)), (DenseNet121(), (1, 28, 28))]
)
def test_a_picture_that_is_too_small_is_refused(model: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError, match=f"{shape[1]} x {shape[2]} pixels"):
        model.build(shape, 1)


@pytest.mark.parametrize(
    ("model", "side"), [(Cnn(), 8), (ResNet18(), 8), (DenseNet121(), 32), pytest.param(EfficientNetB0(), 32, marks=pytest.mark.slow)]
)
def test_the_smallest_picture_is_told_apart_from_another(model: Any, side: int) -> None:
    network = built(model, (1, side, side)).eval()
    with torch.inference_mode():
        one, other = network(torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(0)))
    assert abs(float(one - other)) > 1e-6


def test_dropout_and_stride_are_options() -> None:
    with_dropout = built(Cnn(dropout=0.5), (1, 16, 16)).train()
    x = torch.randn(2, 1, 16, 16)
    assert not torch.equal(with_dropout(x), with_dropout(x))
    full, half = (built(Cnn(stride=stride), (1, 16, 16))[0](x).shape[-1] for stride in (1, 2))  # type: ignore[index]
    assert (full, half) == (16, 8)


def test_a_missing_extra_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'wardround\[imaging"):
        DenseNet121().build((1, 32, 32), 1)


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torchvision", "timm"}:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import torch
from wardround.learning.models.densenet121 import DenseNet121
print(DenseNet121().build((1, 32, 32), 2)(torch.zeros(2, 1, 32, 32)).shape)
"""


@pytest.mark.slow
def test_monai_works_without_torchvision() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "torch.Size([2, 2])\n", done.stderr


def test_the_small_network_learns() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(64) < 0.5
    pictures = rng.normal(0, 1, (64, 1, 12, 12)).astype(np.float32)
    pictures[y, :, 4:8, 4:8] += 2
    x, target = torch.from_numpy(pictures), torch.from_numpy(y.astype(np.float32))[:, None]
    network = built(Cnn(widths=(8, 16)), (1, 12, 12)).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.2
