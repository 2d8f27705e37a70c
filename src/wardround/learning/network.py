"""Build a protocol's model, fill it with parameters, and let it score: the few lines where arrays become tensors and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.inputs import input_names
from wardround.learning.pictures import Pictures
from wardround.learning.start import started
from wardround.study.arrays import Arrays
from wardround.study.errors import MissingExtra, ProtocolError
from wardround.study.interfaces import Batch, Question
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def reproducible(stream: Stream) -> Iterator[None]:
    """Run torch on one thread and from a named seed, and leave its generator and threads as they were."""
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream.integer("torch"))
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def new_network(protocol: Protocol) -> nn.Module:
    """Return the protocol's module, initialised from torch's generator; frozen parts take no gradients."""
    network = protocol.model_plugin.build(protocol.inputs, protocol.outputs)
    return _frozen(network, protocol) if protocol.model.frozen else network


def _frozen(network: nn.Module, protocol: Protocol) -> nn.Module:
    def frozen(name: str) -> bool:
        return bool(protocol.model_plugin.parts(name).intersection(protocol.model.frozen))

    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not frozen(name))
    use_as_it_is(network, frozen)
    return network


def use_as_it_is(network: nn.Module, which: Callable[[str], bool]) -> None:
    """Let layers that keep figures of what they see (BatchNorm) use those in training as in prediction, and change none.

    Args:
        network: whose layers.
        which: says of a buffer, by its name, whether it is to stay as it is.
    """
    for name, module in network.named_modules():
        if any(which(f"{name}.{own}") for own, _ in module.named_buffers(recurse=False)):
            module.register_forward_pre_hook(lambda one, _: one.train(False) and None)


def need_torch() -> None:
    """Refuse to go on without torch.

    Raises:
        MissingExtra: it is not installed.
    """
    if find_spec("torch") is None:
        raise MissingExtra("This model needs torch, which is not installed.", "Install it with: pip install 'wardround[learn]'")


def initial_parameters(protocol: Protocol) -> dict[str, np.ndarray]:
    """Return the parameters that everybody starts from, made once, when a study is submitted, from its seed.

    Raises:
        MissingExtra: torch is not installed.
        ProtocolError: the model does not fit the inputs or the question; the message lists the inputs.
    """
    if protocol.evaluates:
        return dict(protocol.brought)
    if not protocol.trains:
        return {}
    need_torch()
    with reproducible(Stream.public(protocol.evaluation.seed).child("initial")):
        network, inputs = new_network(protocol), protocol.inputs
        try:
            shape = scores(network, np.zeros((2, *inputs), dtype=np.float32)).shape
        except RuntimeError:
            shape = ()
        if shape != (2, protocol.outputs):
            many = " x ".join(map(str, inputs))
            message = f"The model does not turn {many} inputs into {protocol.outputs} outputs for each example."
            raise ProtocolError(message, f"The inputs are: {', '.join(input_names(protocol.contract))}.")
        return started(protocol, parameters_of(network))


def parameters_of(network: nn.Module) -> dict[str, np.ndarray]:
    """Return a copy of a module's parameters and buffers by name."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def fill(network: nn.Module, parameters: Arrays) -> None:
    """Put parameters into a module, in place; names and shapes must be its own."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in parameters.items()})


def scores(network: nn.Module, x: np.ndarray | Pictures, numbers_at_once: int = 2**19) -> np.ndarray:
    """Return float64 [N, outputs] raw scores, dropout off.

    Args:
        network: maps float32 [B, ...] to [B, outputs].
        x: float32 [N, ...], or pictures that are made batch by batch.
        numbers_at_once: how many input numbers to score in one step.
    """
    import torch

    network.eval()
    many = min(4096, max(1, numbers_at_once // max(math.prod(x.shape[1:]), 1)))
    with torch.inference_mode():
        parts = [network(torch.from_numpy(x[first : first + many])).double().numpy() for first in range(0, max(len(x), 1), many)]
    network.train()
    return np.concatenate(parts)


def mean_loss(network: nn.Module, question: Question, batch: Batch, rows_at_once: int = 512) -> float:
    """Return the mean loss of a model on a batch of one row or more, dropout off."""
    import torch

    network.eval()
    total, rows = 0.0, len(batch["mask"])
    with torch.inference_mode():
        for start in range(0, rows, rows_at_once):
            part = {name: torch.from_numpy(value[start : start + rows_at_once]) for name, value in batch.items()}
            total += float(question.loss(network(part["x"]), part).double().sum())
    network.train()
    return total / rows
