"""Train at one site, readably: batches in a named order, a stock optimiser, nothing else. Faster twins are held to what this gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.augment import Varied
from wardround.learning.options import FedAvgOptions
from wardround.study.interfaces import Batch, Question
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def batches(count: int, options: FedAvgOptions, rng: Stream) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch of one round; none where there are no rows.

    Args:
        count: training examples at this site.
        options: batch size, and epochs or steps.
        rng: names the order.
    """
    size, in_epoch = options.batch_size, -(-count // options.batch_size)
    for step in range((options.local_steps or options.local_epochs * in_epoch) if count else 0):
        epoch, place = divmod(step, in_epoch)
        if place == 0:
            order = rng.generator("batches", epoch).permutation(count)
        yield order[place * size : (place + 1) * size]


def optimiser_for(network: nn.Module, options: FedAvgOptions) -> Optimizer:
    """Return the local optimiser over a module's parameters; those that take no gradients it leaves as they are."""
    import torch

    if options.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    return torch.optim.SGD(network.parameters(), lr=options.learning_rate, momentum=options.momentum, weight_decay=options.weight_decay)


def corrected(optimiser: Optimizer, network: nn.Module, correct: Callable[[nn.Module], None]) -> Optimizer:
    """Return an optimiser before each of whose steps something may change the gradients that the loss gave a module."""
    optimiser.register_step_pre_hook(lambda *_: correct(network))
    return optimiser


def train(network: nn.Module, question: Question, batch: Batch, options: FedAvgOptions, rng: Stream, by: Optimizer) -> int:
    """Train a module in place for one round, and return how many steps it took; without rows its parameters stay as they are.

    Args:
        network: maps float32 [B, ...] to [B, outputs].
        question: gives the loss.
        batch: all rows to train on, as arrays; `x` may be pictures, which are made batch by batch.
        options: batch size, epochs or steps, how pictures are varied.
        rng: names the order of batches, and how pictures are varied.
        by: the optimiser of the module's parameters; it says the learning rate.
    """
    import torch

    seen, steps = _varied(batch, options, rng) if options.augment else batch, 0
    network.train()
    for rows in batches(len(batch["mask"]), options, rng):
        chosen = {name: torch.from_numpy(value[rows]) for name, value in seen.items()}
        by.zero_grad(set_to_none=True)
        question.loss(network(chosen["x"]), chosen).mean().backward()  # type: ignore[no-untyped-call]
        by.step()
        steps += 1
    return steps


def _varied(batch: Batch, options: FedAvgOptions, rng: Stream) -> Batch:
    """Return a batch whose pictures are another each time that they are asked for; of a table it stays as it is."""
    x = batch["x"]
    return {**batch, "x": Varied(x, options.augment, rng)} if np.ndim(x[:1]) > 2 else batch
