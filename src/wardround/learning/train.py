"""Train at one site, readably: batches in a named order, a stock optimiser, nothing else. Faster twins are held to what this gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.options import FedAvgOptions
from wardround.study.interfaces import Batch, Question
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def batches(count: int, options: FedAvgOptions, rng: Stream) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch of one round.

    Args:
        count: training examples at this site.
        options: batch size, and epochs or steps.
        rng: names the order.
    """
    size = min(options.batch_size, count)
    in_epoch = -(-count // size)
    for step in range(options.local_steps or options.local_epochs * in_epoch):
        epoch, place = divmod(step, in_epoch)
        if place == 0:
            order = rng.generator("batches", epoch).permutation(count)
        yield order[place * size : (place + 1) * size]


def optimiser_for(network: nn.Module, options: FedAvgOptions) -> Optimizer:
    """Return the local optimiser over all trainable parameters of a module."""
    import torch

    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if options.optimiser == "adam":
        return torch.optim.Adam(trainable, lr=options.learning_rate, weight_decay=options.weight_decay)
    return torch.optim.SGD(trainable, lr=options.learning_rate, momentum=options.momentum, weight_decay=options.weight_decay)


def train(network: nn.Module, question: Question, batch: Batch, options: FedAvgOptions, rng: Stream, kept: Optimizer | None = None) -> None:
    """Train a module in place for one round; without rows it stays as it is.

    Args:
        network: maps float32 [B, ...] to [B, outputs].
        question: gives the loss.
        batch: all rows to train on, as arrays.
        options: batch size, epochs or steps, optimiser.
        rng: names the order of batches.
        kept: an optimiser that goes on from an earlier call; None for a new one.
    """
    import torch

    if not len(batch["mask"]):
        return
    tensors = {name: torch.from_numpy(value) for name, value in batch.items()}
    optimiser = kept or optimiser_for(network, options)
    network.train()
    for rows in batches(len(batch["mask"]), options, rng):
        chosen = {name: value[torch.from_numpy(rows)] for name, value in tensors.items()}
        optimiser.zero_grad(set_to_none=True)
        question.loss(network(chosen["x"]), chosen).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
