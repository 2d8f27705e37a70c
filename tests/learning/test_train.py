from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support import protocol, rows
from wardround.learning.augment import Varied, augmented
from wardround.learning.network import initial_parameters, new_network, parameters_of
from wardround.learning.norm import own_norm
from wardround.learning.options import FedAvgOptions
from wardround.learning.rows import batch_of
from wardround.learning.train import batches, corrected, optimiser_for, train
from wardround.study.protocol.seen import input_names, input_shape
from wardround.study.streams import Stream

RNG = Stream.public(3)


@pytest.mark.parametrize("options", [FedAvgOptions(), FedAvgOptions(local_steps=5)], ids=["epochs", "steps"])
def test_without_rows_there_is_no_batch_and_nothing_changes(options: FedAvgOptions) -> None:
    agreed = protocol()
    data, network = rows(1, 40), new_network(agreed)
    none = {name: value[:0] for name, value in batch_of(agreed, data, own_norm(agreed, data), "train").items()}
    before = parameters_of(network)
    assert list(batches(0, options, RNG)) == []
    assert train(network, agreed.question_plugin, none, options, RNG, optimiser_for(network, options)) == 0
    assert all(np.array_equal(value, before[name]) for name, value in parameters_of(network).items())


def test_a_round_sees_every_row_once_an_epoch_also_with_batches_larger_than_the_site() -> None:
    for count, size in ((7, 3), (7, 7), (7, 100)):
        found = list(batches(count, FedAvgOptions(batch_size=size, local_epochs=2), RNG))
        assert len(found) == 2 * -(-count // size)
        assert sorted(np.concatenate(found).tolist()) == sorted([*range(count), *range(count)])


def test_what_corrects_the_gradients_is_called_before_each_step() -> None:
    agreed, options, calls = protocol(), FedAvgOptions(local_steps=3), list[int]()
    data, network = rows(1, 40), new_network(agreed)

    def nothing_left(trained: torch.nn.Module) -> None:
        calls.append(1)
        for parameter in trained.parameters():
            assert parameter.grad is not None
            parameter.grad.zero_()

    before = parameters_of(network)
    by = corrected(optimiser_for(network, options), network, nothing_left)
    assert train(network, agreed.question_plugin, batch_of(agreed, data, own_norm(agreed, data), "train"), options, RNG, by) == 3
    assert len(calls) == 3 and all(np.array_equal(value, before[name]) for name, value in parameters_of(network).items())


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_parameter_without_gradients_is_left_alone(kind: str) -> None:
    agreed = protocol()
    options = replace(FedAvgOptions(optimiser="adam"), weight_decay=0.1) if kind == "adam" else FedAvgOptions(weight_decay=0.1)
    data, network = rows(1, 40), new_network(agreed)
    held, before = next(iter(dict(network.named_parameters()))), parameters_of(network)
    dict(network.named_parameters())[held].requires_grad_(False)
    train(
        network,
        agreed.question_plugin,
        batch_of(agreed, data, own_norm(agreed, data), "train"),
        options,
        RNG,
        optimiser_for(network, options),
    )
    after = parameters_of(network)
    assert {name for name in after if np.array_equal(after[name], before[name])} == {held}


def test_varied_pictures_are_drawn_in_the_order_in_which_they_are_asked_for() -> None:
    x = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    varied, drawn = Varied(x, ("shift", "noise"), RNG), RNG.generator("augment")
    for chosen in (np.array([0, 2]), np.array([0, 2])):
        assert np.array_equal(varied[chosen], augmented(torch.from_numpy(x[chosen]), ("shift", "noise"), drawn).numpy())


def test_the_learning_rate_of_a_round_follows_the_schedule() -> None:
    constant, cosine = FedAvgOptions(rounds=4), FedAvgOptions(rounds=4, schedule="cosine")
    assert constant.at(3) is constant
    rates = [cosine.at(number).learning_rate / cosine.learning_rate for number in range(5)]
    assert rates == pytest.approx([1.0, 0.5 + 0.5 * 0.5**0.5, 0.5, 0.5 - 0.5 * 0.5**0.5, 0.0], abs=1e-12)
    assert replace(cosine.at(2), learning_rate=cosine.learning_rate) == cosine


def test_a_plan_says_what_a_model_sees_and_how_often_each_phase_may_ask() -> None:
    agreed = protocol()
    assert agreed.inputs == input_shape(agreed.contract) == (len(input_names(agreed.contract)),)
    assert agreed.inputs[0] == dict(initial_parameters(agreed))["0.weight"].shape[1]
    assert agreed.most_answers == {one.phase: one.leaves()[0] for one in agreed.algorithms}
