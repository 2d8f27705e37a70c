from __future__ import annotations

import numpy as np
import pytest

from wardround.learning.options import FedAvgOptions
from wardround.learning.servers import SERVERS
from wardround.learning.servers.adam import BETA1, BETA2


def run(name: str, updates: list[np.ndarray], **options: float) -> np.ndarray:
    """Return the parameters after these updates, from zero."""
    chosen = FedAvgOptions(server_optimiser=name, **options)  # type: ignore[arg-type]
    parameters = {"w": np.zeros(len(updates[0]))}
    kept = SERVERS[name].start(parameters, chosen)
    for update in updates:
        parameters, kept = SERVERS[name].step(parameters, {"w": update}, kept, chosen)
    return parameters["w"]


DRAWN = list(np.random.default_rng(0).normal(size=(20, 2)))


def theirs(optimiser: str, **options: float) -> np.ndarray:
    """Return what torch's own comes to, with the negative update as gradient."""
    import torch

    weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    stepper = getattr(torch.optim, optimiser)([weight], **options)
    for update in DRAWN:
        weight.grad = -torch.from_numpy(update)
        stepper.step()
    return weight.detach().numpy()


def test_adam_agrees_with_torch() -> None:
    mine = run("adam", DRAWN, server_learning_rate=0.1, server_tau=1e-8)
    assert np.allclose(mine, theirs("Adam", lr=0.1, betas=(BETA1, BETA2), eps=1e-8), atol=1e-9)  # type: ignore[arg-type]


def test_adagrad_agrees_with_torch() -> None:
    assert np.allclose(run("adagrad", DRAWN, server_learning_rate=0.1, server_tau=1e-8), theirs("Adagrad", lr=0.1, eps=1e-8), atol=1e-9)


def test_momentum_adds_up() -> None:
    assert run("sgd", [np.ones(1)] * 3, server_momentum=0.5) == 1 + 1.5 + 1.75


def test_yogi_follows_its_equation() -> None:
    """Zaheer et al. 2018, algorithm 2, written out for one number, with the bias correction of our Adam."""
    first = second = weight = 0.0
    for number, (update, _) in enumerate(DRAWN, 1):
        first = BETA1 * first + (1 - BETA1) * update
        second -= (1 - BETA2) * update**2 * np.sign(second - update**2)
        weight += 0.1 * (first / (1 - BETA1**number)) / ((second / (1 - BETA2**number)) ** 0.5 + 1e-3)
    assert np.isclose(run("yogi", DRAWN, server_learning_rate=0.1)[0], weight, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_types_of_parameters_stay(name: str) -> None:
    options = FedAvgOptions(server_optimiser=name)  # type: ignore[arg-type]
    parameters: dict[str, np.ndarray] = {"w": np.zeros(3, dtype=np.float32), "n": np.zeros((), dtype=np.int64)}
    kept = SERVERS[name].start(parameters, options)
    new, _ = SERVERS[name].step(parameters, {"w": np.ones(3)}, kept, options)
    assert {key: value.dtype for key, value in new.items()} == {key: value.dtype for key, value in parameters.items()}
    assert np.all(new["w"] > 0) and new["n"] == 0
