from __future__ import annotations

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
