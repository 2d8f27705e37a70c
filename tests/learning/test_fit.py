from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.support import protocol, rows
from wardround.learning.algorithms.tuned import grid
from wardround.learning.fit import Fitted, fit
from wardround.learning.network import initial_parameters
from wardround.learning.norm import own_norm
from wardround.learning.rows import batch_of
from wardround.study.streams import Stream


def fitted(**tune: list[float]) -> Fitted:
    agreed = protocol(evaluation={"tune": tune})
    data = rows(1, 100)
    norm = own_norm(agreed, data)
    training, validation = (batch_of(agreed, data, norm, role) for role in ("train", "validation"))
    settings = grid(agreed, agreed.phases[1])
    return fit(agreed, training, validation, settings, initial_parameters(agreed), Stream.public(1))


def test_a_setting_that_diverges_is_not_chosen_and_stops_nobody() -> None:
    """A site must not lose its own model, nor a study its comparison, because one setting of the grid blows up."""
    alone = fitted(weight_decay=[0.0])
    beside = fitted(weight_decay=[0.0, 100.0], learning_rate=[0.1])
    assert (beside.choice, beside.passes) == (alone.choice, alone.passes)
    assert all(np.array_equal(beside.parameters[name], alone.parameters[name]) for name in alone.parameters)


def test_where_every_setting_diverges_the_start_stands() -> None:
    found = fitted(weight_decay=[100.0], learning_rate=[100.0])
    start = initial_parameters(protocol())
    assert found.passes == 0 and all(np.array_equal(found.parameters[name], start[name]) for name in start)


def test_the_stop_rule_is_that_of_federated_training() -> None:
    agreed = protocol(stop={"target": 0.01})
    data = rows(1, 100)
    norm = own_norm(agreed, data)
    training, validation = (batch_of(agreed, data, norm, role) for role in ("train", "validation"))
    found = fit(agreed, training, validation, grid(agreed, agreed.phases[1]), initial_parameters(agreed), Stream.public(1))
    assert found.passes == 0


def test_a_setting_s_own_numbers_do_not_depend_on_the_settings_before_it() -> None:
    """Dropout draws from torch's generator; how long another setting trained must not show."""
    agreed = protocol(model={"dropout": 0.5})
    data = rows(1, 100)
    norm = own_norm(agreed, data)
    training, validation = (batch_of(agreed, data, norm, role) for role in ("train", "validation"))
    options = grid(agreed, agreed.phases[1])[0]
    bad = replace(options, learning_rate=1e-9)
    start = initial_parameters(agreed)
    found = [
        fit(agreed, training, validation, [replace(bad, rounds=rounds), options], start, Stream.public(1)).parameters for rounds in (1, 5)
    ]
    assert all(np.array_equal(found[0][name], found[1][name]) for name in start)
