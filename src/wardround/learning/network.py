"""Build a protocol's model, fill it with parameters, and let it score: the few lines where arrays become tensors and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.inputs import input_names
from wardround.study.arrays import Arrays
from wardround.study.errors import MissingExtra, ProtocolError
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
    """Return the protocol's module, initialised from torch's generator."""
    return protocol.model_plugin.build(len(input_names(protocol.contract)), protocol.outputs)


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
        network, inputs = new_network(protocol), len(input_names(protocol.contract))
        try:
            shape = scores(network, np.zeros((2, inputs), dtype=np.float32)).shape
        except RuntimeError:
            shape = ()
        if shape != (2, protocol.outputs):
            message = f"The model does not turn {inputs} inputs into {protocol.outputs} outputs for each example."
            raise ProtocolError(message, f"The inputs are: {', '.join(input_names(protocol.contract))}.")
        return parameters_of(network)


def parameters_of(network: nn.Module) -> dict[str, np.ndarray]:
    """Return a copy of a module's parameters and buffers by name."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def fill(network: nn.Module, parameters: Arrays) -> None:
    """Put parameters into a module, in place; names and shapes must be its own."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in parameters.items()})


def scores(network: nn.Module, x: np.ndarray, rows_at_once: int = 4096) -> np.ndarray:
    """Return float64 [N, outputs] raw scores, dropout off.

    Args:
        network: maps float32 [B, F] to [B, outputs].
        x: float32 [N, F].
        rows_at_once: how many rows to score in one step.
    """
    import torch

    network.eval()
    with torch.inference_mode():
        starts = range(0, max(len(x), 1), rows_at_once)
        parts = [network(torch.from_numpy(x[start : start + rows_at_once])).double().numpy() for start in starts]
    network.train()
    return np.concatenate(parts)
