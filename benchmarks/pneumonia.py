"""Pneumonia on chest X-rays over ten unequal hospitals: one model together, beside pooled data, an ensemble and the best hospital alone.

PneumoniaMNIST (CC BY 4.0): five partitions, one a seed, of the official training and validation parts over ten simulated hospitals (sizes
and shares of pneumonia by Dirichlet 0.5). The official test part is dealt out evenly, so all hospitals together test on exactly that part,
each image once. Network, augmentation and the training of plain federated averaging, pooled and local models were fixed before any test
figure was seen: from a plain script's settings, by cost, and on the validation part of a partition that is none of these. Pooled and local
models have the same network, options and passes. Plain federated averaging fell short with two seeds, on validation as on test; what took
its place was then chosen on validation alone, and the table shows both.

Each run is a whole study with its gates, logs and admission, in a sweep a seed. Runs are kept in `build/benchmarks/pneumonia` and not run
again: the same command goes on where it was interrupted. Remove that folder after a change of the software.

Source: Yang et al., MedMNIST v2, Scientific Data 2023; Kermany et al., Cell 2018 (the images).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from wardround import partition, sweep
from wardround.comparing import ALL, COMPARATORS, Run, differences, figures
from wardround.learning.network import fill, new_network, scores
from wardround.learning.rows import batch_of
from wardround.replicates import read_replicates
from wardround.study.arrays import from_bytes, under
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol
from wardround.sweptable import Table

SITES, SEEDS, LEAST, WORKERS = 10, (1, 2, 3, 4, 5), 30, 2
SECURE_SEEDS = SEEDS[:1]
"""Seeds that are run through the secure sum too: where one gives the plain model bit for bit, the others tell nothing new."""

KEPT = Path(__file__).parents[1] / "build" / "benchmarks" / "pneumonia"
PLAIN, FEDERATED, SECURE = "plain FedAvg", "federated", "secure sum"
CHOSEN = {"phases": {"train": {"momentum": 0.0, "learning_rate": 0.1, "server_momentum": 0.9}}}
METHODS: Mapping[str, Mapping[str, Any]] = {PLAIN: {}, FEDERATED: CHOSEN, SECURE: {**CHOSEN, "rounds": {"combine": "secure"}}}
"""Plain federated averaging has the settings of the script, as pooled and local models have, which are trained beside it. It fell behind
on the validation parts of seeds 1 and 2 (0.959 and 0.957 after 30 rounds), so the federated model takes momentum at the server in place of
momentum at the hospitals: with the small default network, on the validation part of seed 1, 0.983 after 30 rounds in place of 0.967."""

MODEL = {"kind": "cnn", "normalise": "federated", "widths": [16, 32, 64, 128], "stride": 1}
"""As many parameters as the plain script's network (296,000), 0.95 ms a picture on one thread in place of 2.3 for widths 32, 64, 128. On
a partition of seed 100, 30 rounds reached a validation AUROC of 0.992; 32, 64, 128 with one convolution a stage, as dear, 0.980."""

TRAINING = {
    "rounds": 30,
    "local_epochs": 1,
    "batch_size": 32,
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "augment": ["shift", "rotate", "scale"],
}
NAMES = {"local": "each hospital's own model", "pooled": "pooled", "ensemble": "ensemble of local models"}
NAMES |= {"best_single": "best single hospital, by validation"}
SITE_FILE = """name = "all"
[source]
kind = "images"
path = {}
parts = ["train", "val", "test"]
[map]
film = "images"
pneumonia = "labels"
[split]
column = "part"
train = ["train"]
validation = ["val"]
test = ["test"]
"""
REMARKS = """
Limits: one hospital's images (Guangzhou), divided by us; without patient ids, so image-level throughout. 18 images of the published set
stand in two of its parts (docs/decisions/0014), and none was taken out. The training part here was put together from two public copies and
is not the official file byte for byte. The test part differs from the validation part (38 % against 26 % without pneumonia), so validation
AUROC is higher than any test figure. Intervals hold two uncertainties, over seeds (Student's t) and over test images (bootstrap)."""
Figures = list[dict[str, Any]]


def plan(seed: int) -> Protocol:
    """Return the study of one seed."""
    fields = {
        "film": {"type": "image", "shape": [1, 28, 28], "intensity": [0, 255]},
        "pneumonia": {"type": "code", "codes": ["0", "1"]},
    }
    return Protocol.model_validate(
        {
            "study": "pneumonia",
            "question": {
                "kind": "binary",
                "title": "Pneumonia",
                "purpose": "Compare with pooled data and single hospitals.",
            },
            "parties": {"coordinator": "benchmark"},
            "contract": {"patient": "", "label": "pneumonia", "fields": fields},
            "model": MODEL,
            "phases": [
                {"name": "moments", "kind": "moments"},
                {"name": "train", "kind": "fedavg", **TRAINING},
                {"name": "local", "kind": "local"},
                {"name": "test", "kind": "evaluate"},
            ],
            "bounds": {"sites": SITES, "examples": 5232},
            "rounds": {"quorum": SITES},
            "stop": {"keep": "last"},
            "evaluation": {"metrics": ["auroc", "accuracy"], "seed": seed, "replicates": 1000},
        }
    )


def swept(data: Path, seed: int, methods: Sequence[str]) -> Table:
    """Divide the images, and run one seed's studies that are not finished yet.

    Args:
        data: folder of the data sets.
        seed: of the partition and of the study.
        methods: names of `METHODS`, the plain one first.
    """
    folder = KEPT / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    images = data.resolve() / "pneumoniamnist" / "pneumoniamnist.npz"
    (folder / "all.toml").write_text(SITE_FILE.format(json.dumps(str(images))))
    by, out = ["labels", "quantity"], folder / "hospitals"
    sites = partition(folder / "all.toml", plan(seed), by, SITES, out, seed=seed, least=LEAST, test="central", alpha=0.5, beta=0.5)
    return sweep(plan(seed), sites, {name: METHODS[name] for name in methods}, [seed], 1, folder / "runs", baselines=PLAIN, say=print)


def all_swept(data: Path, seeds: Sequence[int]) -> dict[int, Table]:
    """Return each seed's table; two seeds run side by side, the long runs (with all comparators) first."""
    with ThreadPoolExecutor(WORKERS) as pool:
        first = {seed: pool.submit(swept, data, seed, [PLAIN]) for seed in seeds}

        def rest(seed: int, before: Future[Table]) -> Table:
            before.result()
            return swept(data, seed, [PLAIN, FEDERATED, *([SECURE] if seed in SECURE_SEEDS else [])])

        second = {seed: pool.submit(rest, seed, before) for seed, before in first.items()}
        return {seed: one.result() for seed, one in second.items()}


@dataclass(frozen=True)
class Ran:
    """Hold one finished study.

    Attributes:
        run: its figures.
        folder: its files.
    """

    run: Run
    folder: Path


def ran(table: Table, seed: int, method: str) -> Ran:
    """Return the study of a method that stands in a seed's table."""
    (wanted,) = table.found["rows"][method]["protocols"]
    for path in sorted(table.folder.glob("*/*/result.json")):
        result = json.loads(path.read_text())
        if result["protocol_digest"] == wanted:
            return Ran(Run(seed, read_replicates(path.parent), result), path.parent)
    raise FileNotFoundError(f"{table.folder}: no finished run of {method}, seed {seed}; remove the folder and run again")


def tested_alone(folder: Path, agreed: Protocol, test: Dataset) -> dict[str, float]:
    """Return by hospital the AUROC of its own model on the whole test part.

    Args:
        folder: of a finished study, whose store holds what each hospital kept.
        agreed: its plan.
        test: the official test part.
    """
    store = sqlite3.connect(f"file:{folder / 'state.sqlite'}?mode=ro", uri=True)
    kept = {site: from_bytes(arrays) for site, arrays in store.execute("SELECT site, arrays FROM site_kept WHERE phase = 'local'")}
    store.close()
    question, found = agreed.question_plugin, {}
    for site, model in sorted(kept.items()):
        network = new_network(agreed)
        fill(network, under(model, "params"))
        batch = batch_of(agreed, test, under(model, "norm"), "test")
        found[site] = float(question.finalise(question.metrics(scores(network, batch["x"]), batch), "auroc"))
    return found


def official_test(data: Path) -> Dataset:
    """Return the official test part as one snapshot."""
    with np.load(data / "pneumoniamnist" / "pneumoniamnist.npz") as read:
        images, labels = read["test_images"], read["test_labels"][:, 0]
    role = np.full(len(images), 2, dtype=np.int8)
    return Dataset({"film": images[:, None], "pneumonia": labels.astype(np.int32)}, np.arange(len(images)), role)


def run(data: Path, quick: bool) -> tuple[Figures, str]:
    """Return the figures that the goals speak of, and a table of models by seeds.

    Args:
        data: folder of the data sets.
        quick: one seed.
    """
    seeds = SEEDS[:1] if quick else SEEDS
    tables = all_swept(data, seeds)
    found = {name: [ran(tables[seed], seed, name) for seed in seeds if name in tables[seed].found["rows"]] for name in METHODS}
    test = official_test(data)
    alone = [tested_alone(one.folder, plan(one.run.seed).complete(), test) for one in found[PLAIN]]
    runs = {name: [one.run for one in several] for name, several in found.items()}
    return measured(runs, alone), "\n".join([*table(runs, alone), "", *hospitals(seeds), REMARKS])


def measured(runs: Mapping[str, Sequence[Run]], alone: Sequence[Mapping[str, float]]) -> Figures:
    """Return the figures.

    Args:
        runs: by method, one a seed.
        alone: by seed, each hospital's own model on the whole test part.
    """
    seeds = [one.seed for one in runs[FEDERATED]]
    told: Figures = []
    for name, several in runs.items():
        here, prefix = figures(several, "federated")[ALL], "" if name == FEDERATED else f"{name}: "
        own = [one.seed for one in several]
        told.append(figure(f"{prefix}federated AUROC", here["auroc"], own))
        told.append(figure(f"{prefix}federated accuracy at 0.5", here["accuracy"], own))
    pairs = list(zip(runs[FEDERATED], runs[PLAIN], strict=True))
    against = {other: differences(pairs, "federated", other)[ALL]["auroc"] for other in COMPARATORS}
    pooled = against["pooled"]
    behind = {"value": -pooled["value"], "low": negative(pooled["high"]), "high": negative(pooled["low"])}
    told.append(figure("pooled minus federated AUROC", behind, seeds))
    told.append(figure("pooled minus federated AUROC, upper 95 % limit", {"value": behind["high"], "low": None, "high": None}, seeds))
    told.append(figure("federated minus ensemble AUROC", against["ensemble"], seeds))
    told.append(figure("federated minus best single hospital AUROC", against["best_single"], seeds))
    harder = [value(one, "federated") - max(own.values()) for one, own in zip(runs[FEDERATED], alone, strict=True)]
    told.append(figure("federated minus the best of ten on the test part AUROC", spread(harder), seeds))
    return [*told, unlike(runs[FEDERATED], runs[SECURE])]


def unlike(plain: Sequence[Run], secure: Sequence[Run]) -> dict[str, Any]:
    """Return how many models of the secure sum are not, bit for bit, those of the plain sum with the same seed."""
    digests = {one.seed: one.result["model_digest"] for one in plain}
    others = sum(one.result["model_digest"] != digests[one.seed] for one in secure)
    what = "secure sum: models other than in the plain sum"
    return {
        "what": what,
        "value": others,
        "unit": "models",
        "n": len(secure),
        "seeds": [one.seed for one in secure],
        "low": None,
        "high": None,
    }


def value(run: Run, model: str, metric: str = "auroc") -> float:
    """Return one model's metric on all test images."""
    return float(run.kept[f"all/{model}/{metric}"][0])


def negative(number: float | None) -> float | None:
    """Return a limit with the other sign, where there is one."""
    return None if number is None else -number


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean, least and most."""
    return {"value": mean(values), "low": min(values), "high": max(values)}


def figure(what: str, found: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Return one figure in the benchmarks' form; `n` is the number of test images."""
    unit = "accuracy" if what.endswith("0.5") else "AUROC"
    limits = {key: None if found.get(key) is None else round(float(found[key]), 5) for key in ("value", "low", "high")}
    return {"what": what, "unit": unit, "n": 624, "seeds": list(seeds), **limits}


def table(runs: Mapping[str, Sequence[Run]], alone: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the lines of the table: models by seeds."""
    heading = "".join(f"{f'seed {one.seed}':>8}" for one in runs[PLAIN])
    lines = [f"{'official test part, 624 images':38} {'AUROC (95 %)':26} {'accuracy at 0.5 (95 %)':26} AUROC{heading}"]
    models = [(name, several, "federated") for name, several in runs.items()]
    for name, several, model in [*models, *((NAMES[one], runs[PLAIN], one) for one in COMPARATORS)]:
        here = figures(several, model)[ALL]
        by_seed = {one.seed: f"{value(one, model):8.4f}" for one in several}
        seeds = "".join(by_seed.get(one.seed, f"{'':8}") for one in runs[PLAIN])
        lines.append(f"{name:38} {told(here['auroc'])} {told(here['accuracy'])}      {seeds}")
    for name, of in (("best of the ten, by the test part", max), ("median of the ten", median)):
        values = [float(of(one.values())) for one in alone]
        lines.append(f"{name:38} {mean(values):.4f}{'':47}      {''.join(f'{one:8.4f}' for one in values)}")
    return lines


def told(found: Mapping[str, Any]) -> str:
    """Return a value with its interval."""
    limits = "" if found["low"] is None else f"({found['low']:.4f} to {found['high']:.4f})"
    return f"{found['value']:.4f} {limits:19}"


def hospitals(seeds: Sequence[int]) -> list[str]:
    """Return a line a seed: each hospital's images to train and validate on, and the share of them with pneumonia."""
    lines = ["hospitals: images to train and validate on (share with pneumonia)"]
    for seed in seeds:
        own = []
        for path in sorted((KEPT / f"seed-{seed}" / "hospitals").glob("*.npz")):
            with np.load(path) as read:
                labels = read["labels"][read["part"] != "test"]
            own.append(f"{len(labels)} ({np.mean(labels):.0%})")
        lines.append(f"seed {seed}: {', '.join(own)}")
    return lines
