"""Let three of twelve simulated hospitals be hostile, and see what each rule saves: chest X-rays of PneumoniaMNIST (CC BY 4.0).

The images of the official training part are divided over hospitals of unequal size with somewhat other shares of pneumonia (Dirichlet 1.0);
each keeps a fifth for validation. Accuracy at 0.5 is on the official test part; settings were chosen on validation. Every study is a whole
one: gates, logs, admission, rounds. An attack counts where it costs the plain mean ten points or more; then the default rule (trimmed mean
after nearest-neighbour mixing) may lose three against the plain mean without anybody hostile.

So that it ends in ten minutes on one core, hospitals have a third of the images, and the network is a multilayer perceptron, which learns
in six rounds of so few small images what a small convolutional network learns in many more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.parts.attacks import ATTACKS, NOBODY, Attack, Attacked, with_other_labels
from benchmarks.statistics import figure
from tests.support import small
from wardround.learning.network import fill, initial_parameters, new_network, scores
from wardround.learning.rows import batch_of
from wardround.study.arrays import arrays_digest, under
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol
from wardround.study.task import Done

SITES, HOSTILE, IMAGES, ROUNDS, SEEDS = 12, 3, 1600, 6, (1, 2, 3)
COSTLY, LOST = 0.10, 0.03
RULES = ("trimmed_mean", "geometric_median", "multi_krum", "median")
DEFAULT = RULES[0]
SKEWED = 0.1
SKEWED_ATTACKS = tuple(one for one in ATTACKS if str(one) in ("sign flip x 4", "inner product x 4", "a little is enough x 6"))
SKEWED_CASES = tuple((rule, attack) for attack in (NOBODY, *SKEWED_ATTACKS) for rule in ("plain", DEFAULT))


@dataclass(frozen=True)
class Case:
    """Name what is run.

    Attributes:
        rule: combiner.
        attack: what hostile sites do.
        mixing: of the rule.
        skew: of the labels: Dirichlet's parameter.
        equal: each site counts once in the mean, whatever its size.
    """

    rule: str
    attack: Attack = NOBODY
    mixing: bool = True
    skew: float = 1.0
    equal: bool = False


def agreed_on(case: Case, seed: int) -> Protocol:
    """Return the plan of a case, with the initial parameters' digest."""
    image = {"type": "image", "shape": [1, 28, 28], "intensity": [0, 255]}
    training = {"rounds": ROUNDS, "local_epochs": 2, "learning_rate": 0.005, "optimiser": "adam", "batch_size": 16}
    training["weighting"] = "equal" if case.equal else "examples"
    by_rule = {"hostile": HOSTILE, "mixing": case.mixing} if case.rule != "plain" else {}
    draft = Protocol.model_validate(
        {
            "study": "robustness",
            "question": {"kind": "binary", "title": "Pneumonia", "purpose": "Benchmark."},
            "parties": {"coordinator": "benchmark"},
            "contract": {"label": "ill", "fields": {"film": image, "ill": {"type": "code", "codes": ["0", "1"]}}},
            "model": {"kind": "mlp", "hidden": [32]},
            "phases": [{"name": "moments", "kind": "moments"}, {"name": "train", "kind": "fedavg", **training}],
            "bounds": {"sites": SITES, "examples": 500},
            "rounds": {"quorum": SITES - HOSTILE, "due_seconds": 600, "combine": case.rule, **by_rule},
            "evaluation": {"metrics": ["auroc", "accuracy"], "replicates": 0, "compare": [], "seed": seed},
        }
    ).complete()
    return draft.changed(initial={"model": arrays_digest(initial_parameters(draft))})


def hospitals(images: np.ndarray, labels: np.ndarray, skew: float, seed: int) -> dict[str, Dataset]:
    """Return the images divided over hospitals: of each label shares by Dirichlet, times a size that differs up to eight times.

    Ten images a hospital are dealt evenly first, so that none has nothing.
    """
    dice = np.random.default_rng(seed)
    chosen = dice.permutation(len(images))[:IMAGES]
    size = 2 ** dice.uniform(0, 3, SITES)
    share = dice.dirichlet(np.full(2, skew), SITES) * size[:, None]
    where = np.zeros(IMAGES, dtype=np.int64)
    for label in (0, 1):
        mine = np.flatnonzero(labels[chosen] == label)
        ends = np.cumsum(share[:, label] / np.sum(share[:, label])) * len(mine)
        where[mine] = np.minimum(np.searchsorted(ends, np.arange(len(mine)), side="right"), SITES - 1)
    where[: 10 * SITES] = np.arange(10 * SITES) % SITES
    found = {}
    for site in range(SITES):
        rows = chosen[where == site]
        role = np.zeros(len(rows), dtype=np.int8)
        role[: len(rows) // 5] = 1
        found[f"h{site:02}"] = dataset(images[rows], labels[rows], dice.permutation(role))
    return found


def dataset(images: np.ndarray, labels: np.ndarray, role: np.ndarray) -> Dataset:
    """Return images as a snapshot, one patient an image."""
    return Dataset({"film": images[:, None], "ill": labels.astype(np.int32)}, np.arange(len(images)), role)


def parts(data: Path) -> dict[str, np.ndarray]:
    """Return images and labels of the official parts."""
    with np.load(data / "pneumoniamnist" / "pneumoniamnist.npz") as read:
        return {name: read[name] for name in read.files}


def ran(case: Case, seed: int, pneumonia: Mapping[str, np.ndarray]) -> float:
    """Run one study and return the accuracy of its model on the official test part."""
    images, labels = pneumonia["train_images"], pneumonia["train_labels"][:, 0]
    sites = hospitals(images, labels, case.skew, seed)
    bad = frozenset(np.random.default_rng(seed).permutation(sorted(sites))[:HOSTILE].tolist())
    if case.attack.labels:
        sites.update({name: with_other_labels(sites[name], "ill") for name in bad})
    agreed = agreed_on(case, seed)
    kind = type("Hostile", (Attacked,), {"attack": case.attack, "hostile": bad, "seed": seed})
    with tempfile.TemporaryDirectory() as folder:
        made = small(Path(folder), agreed, sites, kind=kind)
        done = made.run()["train"]
        made.store.close()
    images, labels = pneumonia["test_images"], pneumonia["test_labels"][:, 0]
    return accuracy(agreed, done, dataset(images, labels, np.full(len(images), 2, dtype=np.int8)))


def accuracy(agreed: Protocol, done: Done, test: Dataset) -> float:
    """Return the share of test images on the right side of 0.5."""
    network = new_network(agreed)
    fill(network, under(done.results, "params"))
    batch = batch_of(agreed, test, under(done.results, "norm"), "test")
    return float(np.mean((scores(network, batch["x"])[:, 0] > 0) == (batch["y"] > 0)))


def run(data: Path, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the goals' figures and those of all rules, and a table of attacks by rules.

    Args:
        data: folder of the data sets.
        quick: one seed.
    """
    seeds = SEEDS[:1] if quick else SEEDS
    pneumonia = parts(data)
    threads = torch_threads(1)

    def found(case: Case) -> list[float]:
        return [ran(case, seed, pneumonia) for seed in seeds]

    try:
        base = found(Case("plain"))
        plain = {attack: found(Case("plain", attack)) for attack in ATTACKS}
        counted = [attack for attack in ATTACKS if mean(base) - mean(plain[attack]) >= COSTLY]
        columns = {"plain": {NOBODY: base, **plain}}
        for rule in RULES:
            columns[rule] = {attack: found(Case(rule, attack)) for attack in (NOBODY, *ATTACKS)}
        columns["unmixed"] = {attack: found(Case(DEFAULT, attack, mixing=False)) for attack in (NOBODY, *ATTACKS)}
        equal = found(Case("plain", equal=True))
        skewed = {f"{rule}, {attack}": found(Case(rule, attack, skew=SKEWED)) for rule, attack in SKEWED_CASES}
        skewed[f"{DEFAULT} without mixing, {NOBODY}"] = found(Case(DEFAULT, mixing=False, skew=SKEWED))
    finally:
        torch_threads(threads)
    lost = {name: 100 * (mean(base) - min(mean(column[one]) for one in counted)) for name, column in columns.items()} if counted else {}
    figures = [
        figure("attacks that cost the plain mean ten points", len(counted), "attacks", len(ATTACKS)),
        *(figure(f"{_called(name)}: points lost under the worst of them", value, "points", len(counted)) for name, value in lost.items()),
        *(
            figure(f"{_called(name)}: points lost under the worst of all", 100 * (mean(base) - _worst(column)), "points", len(ATTACKS))
            for name, column in columns.items()
        ),
        *(
            figure(f"{_called(name)}: points lost with nobody hostile", 100 * (mean(base) - mean(column[NOBODY])), "points", len(seeds))
            for name, column in columns.items()
            if name != "plain"
        ),
        figure("equal weights alone: points lost", 100 * (mean(base) - mean(equal)), "points", len(seeds)),
    ]
    return [{**one, "seeds": list(seeds)} for one in figures], table(columns, counted, equal, skewed, len(seeds))


def table(
    columns: Mapping[str, Mapping[Attack, Sequence[float]]],
    counted: Sequence[Attack],
    equal: Sequence[float],
    skewed: Mapping[str, Sequence[float]],
    seeds: int,
) -> str:
    """Return accuracy in percent by attack and rule, mean of seeds."""
    lines = [
        f"Accuracy on the 624 official test images, %, mean of {seeds} seeds; {SITES} hospitals, {HOSTILE} of them hostile,",
        f"{IMAGES} training images, {ROUNDS} rounds, multilayer perceptron of 32. * costs the plain mean ten points or more.",
        "Each rule after mixing, but for 'unmixed', which is the trimmed mean alone.",
        f"{'':44}" + "".join(f"{name:>18}" for name in columns),
    ]
    for attack in (NOBODY, *ATTACKS):
        cells = [f"{100 * mean(column[attack]):18.1f}" for column in columns.values()]
        lines.append(f"{'*' if attack in counted else ' '} {attack!s:42}" + "".join(cells))
    lines.append(f"  {'plain mean, each site counts once, nobody':42}{100 * mean(equal):18.1f}")
    lines.append(f"Strong skew of labels (Dirichlet {SKEWED:g}):")
    lines += [
        f"  {name:60}{100 * mean(values):6.1f}  ({100 * min(values):.1f} to {100 * max(values):.1f})" for name, values in skewed.items()
    ]
    return "\n".join(lines)


def _worst(column: Mapping[Attack, Sequence[float]]) -> float:
    return min(mean(values) for values in column.values())


def _called(name: str) -> str:
    return {"plain": "plain mean", "unmixed": f"{DEFAULT} without mixing"}.get(name, name)


def torch_threads(count: int) -> int:
    """Let torch use so many threads, and return how many it used before."""
    import torch

    before: int = torch.get_num_threads()
    torch.set_num_threads(count)
    return before
