"""The rules that say which method a table supports hold on tables whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.methods import DEFAULTS
from benchmarks.parts.choosing import better, sites_judged, supported, used, word
from benchmarks.parts.differing import SEEN, SETTINGS, Setting, radiographs
from wardround.comparing import Run
from wardround.data.site_file import load_site
from wardround.variants import tables_of, variant


def run(seed: int, federated: float, local: float, patients: int = 150) -> Run:
    """Return a run with one hospital whose figures lie close around a value, without chance."""
    spread = np.linspace(-0.01, 0.01, 101)
    rows = {}
    for model, value in (("federated", federated), ("local", local)):
        values = np.concatenate([[value], value + spread * (1 if model == "federated" else 0.5)])
        rows[f"all/{model}/auroc"] = rows[f"sites/north/{model}/auroc"] = values
        rows[f"all/{model}/loss"] = rows[f"sites/north/{model}/loss"] = 1 - values
    tally = np.array([patients, patients // 2, patients - patients // 2])
    return Run(seed, {**rows, "tally/north": tally, "tested/north": np.zeros(32, np.uint8)}, {})


def table(**auroc: float) -> dict[str, list[Run]]:
    """Return five runs of each method, with this AUROC and no chance."""
    return {name: [run(seed, value, 0.9) for seed in range(5)] for name, value in auroc.items()}


def test_the_plain_method_stays_where_nothing_is_better_beyond_noise() -> None:
    assert supported(table(plain=0.9, same=0.9, worse=0.8), {"plain": [0.3], "same": [0.1], "worse": [0.1]}, "plain") == "plain"


def test_of_those_that_are_better_validation_chooses_unless_they_looked_at_it() -> None:
    runs = table(plain=0.9, most=0.97, own=0.95, looked=0.95, diverged=0.95)
    losses = {"plain": [0.3], "most": [0.28], "own": [0.2], "looked": [0.1], "diverged": [math.nan]}
    assert supported(runs, losses, "plain", barred=["looked"]) == "own"
    assert supported(runs, losses, "plain") == "looked"


def test_a_gain_over_the_default_counts_only_beyond_noise() -> None:
    default = [run(seed, 0.90, 0.9) for seed in range(5)]
    others = {
        "same": [run(seed, 0.90 + 0.02 * (-1) ** seed, 0.9) for seed in range(5)],
        "more": [run(seed, 0.95, 0.9) for seed in range(5)],
    }
    assert list(better(default, "federated", others, "auroc")) == ["more"]
    assert list(better(others["more"], "federated", {"less": default}, "auroc", -1)) == ["less"]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.01, 0.1, "no worse"), (-0.02, 0.0, "no worse"), (-0.05, 0.01, "cannot say"), (-0.09, -0.03, "worse"), (None, None, "cannot say")],
)
def test_a_hospital_loses_only_where_the_whole_interval_says_so(low: float | None, high: float | None, said: str) -> None:
    assert word(low, high) == said


def test_hospitals_with_few_test_patients_are_not_judged() -> None:
    large = [run(seed, 0.80, 0.9) for seed in range(5)]
    small = [*large[:4], run(4, 0.80, 0.9, patients=99)]
    assert used(large) == "federated"
    assert sites_judged(large, large, "federated")["north"]["word"] == "worse"
    assert sites_judged(small, small, "federated") == {}


@pytest.mark.parametrize("setting", [one for one in SETTINGS if one.name in ("tables", "labels")], ids=lambda one: str(one.name))
def test_every_method_is_a_plan_that_can_run(setting: Setting) -> None:
    tables = tables_of(setting.plan())
    digests = {variant(tables, changes, name).digest for name, changes in setting.methods.items()}
    assert len(digests) == len(setting.methods)


def test_a_default_is_a_method_whose_validation_loss_is_honest() -> None:
    assert set(DEFAULTS) == {one.name for one in SETTINGS}
    for setting in SETTINGS:
        assert DEFAULTS[setting.name] in set(setting.methods) - set(SEEN)


def test_made_up_hospitals_differ(tmp_path: Path) -> None:
    sites = [load_site(one) for one in radiographs(tmp_path, tmp_path)]
    assert {one.source.kind for one in sites} == {"radiographs"}
    for option in ("prevalence", "gamma", "noise", "patients", "hospital"):
        assert len({str(one.source.options[option]) for one in sites}) == len(sites)
