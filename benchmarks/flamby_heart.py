"""Heart disease at four hospitals, beside the results that FLamby published for the same split.

Split, preprocessing and metric are FLamby's: 13 inputs, rows with a missing value dropped, `train_test_split` with random state 43,
accuracy at 0.5. Within each training part 20 % are validation patients by keyed hash; settings are chosen on these and the choice is
trained again on the whole part. Seeds 42 to 46 change initial parameters, batch orders and the validation part, never the test part.

Source: Ogier du Terrail et al., FLamby, NeurIPS 2022 Datasets and Benchmarks; data: UCI Heart Disease, CC BY 4.0.
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from wardround import simulate
from wardround.study.protocol import Protocol

SITES = ("cleveland", "hungarian", "switzerland", "va")
SEEDS = (42, 43, 44, 45, 46)
COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")
LOCAL = {"local_steps": 100, "batch_size": 4, "rounds": 15}
RATES = [0.0003, 0.001, 0.003, 0.01, 0.03]
METHODS: Mapping[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "FedAvg": ({**LOCAL}, {"learning_rate": RATES}),
    "FedAvg, sites equal": ({**LOCAL, "weighting": "equal"}, {"learning_rate": RATES}),
    "FedAvgM (server momentum 0.9)": ({**LOCAL, "server_momentum": 0.9}, {"learning_rate": RATES}),
    "FedAdam": ({**LOCAL, "server_optimiser": "adam"}, {"learning_rate": [0.001, 0.003, 0.01], "server_learning_rate": [0.01, 0.1]}),
}
FIRST = next(iter(METHODS))
"""Options of each method, and the grid that is tried for it, for local and for pooled alike; fixed before any test result was seen.
Local, pooled and
the like are trained beside the first method."""


def rows(path: Path) -> tuple[list[list[str]], list[int]]:
    """Return the inputs and labels of one hospital after FLamby's preprocessing."""
    with path.open() as file:
        kept = [[*row[:10], row[13]] for row in csv.reader(file) if row]
    kept = [row for row in kept if "?" not in row]
    return [row[:10] for row in kept], [int(float(row[10]) > 0) for row in kept]


def write_site(folder: Path, name: str, data: Path) -> Path:
    """Write one hospital as a CSV with its split, and its site file; return the site file."""
    x, y = rows(data / "heart_disease_uci" / f"processed.{name}.data")
    stratify = None if name == "switzerland" else y
    train, _ = train_test_split(np.arange(len(y)), train_size=0.66, random_state=43, stratify=stratify)
    chosen = set(train.tolist())
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *COLUMNS, "disease", "part"])
        for number, (values, label) in enumerate(zip(x, y, strict=True)):
            plain = [f"{float(value):g}" for value in values]
            writer.writerow([f"{name}-{number}", *plain, label, "train" if number in chosen else "test"])
    site = folder / f"{name}.toml"
    site.write_text(
        f'name = "{name}"\n[source]\nkind = "table"\npath = "{name}.csv"\n[split]\ncolumn = "part"\ntrain = ["train"]\ntest = ["test"]\n'
    )
    return site


def protocol(method: str, normalise: str, seed: int) -> Protocol:
    """Return the study for one method, one normalisation and one seed."""
    options, tune = METHODS[method]
    number = lambda unit, low, high: {"type": "number", "unit": unit, "range": [low, high]}  # noqa: E731
    code = lambda *codes: {"type": "code", "codes": list(codes)}  # noqa: E731
    fields = {
        "age": number("a", 0, 120), "sex": code("0", "1"), "cp": code("1", "2", "3", "4"), "trestbps": number("mm[Hg]", 0, 300),
        "chol": number("mg/dL", 0, 700), "fbs": code("0", "1"), "restecg": code("0", "1", "2"), "thalach": number("/min", 30, 250),
        "exang": code("0", "1"), "oldpeak": number("mm", -5, 10), "disease": code("0", "1"),
    }  # fmt: skip
    return Protocol.model_validate(
        {
            "study": "flamby-heart",
            "question": {
                "kind": "binary",
                "title": "Heart disease, FLamby's split",
                "purpose": "Compare with published federated results.",
            },
            "parties": {"coordinator": "benchmark"},
            "contract": {"label": "disease", "fields": fields},
            "model": {"kind": "logistic", "normalise": normalise},
            "phases": [
                {"name": "moments", "kind": "moments"},
                {"name": "train", "kind": "fedavg", **options},
                *([{"name": "local", "kind": "local"}] if method == FIRST else []),
                {"name": "test", "kind": "evaluate"},
            ],
            "bounds": {"sites": 4, "examples": 400},
            "rounds": {"quorum": 4},
            "evaluation": {
                "metrics": ["loss", "accuracy", "auroc"],
                "seed": seed,
                "tune": tune,
                "refit": True,
                "replicates": 1000,
                "compare": ["pooled", "ensemble", "best_single"] if method == FIRST else [],
            },
        }
    )


def published(path: Path) -> dict[str, tuple[float, float]]:
    """Return FLamby's mean of sites and pooled-test accuracy by method, averaged over its seeds."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with path.open() as file:
        for row in csv.DictReader(file):
            found[row["Method"]][row["Test"]].append(float(row["Metric"]))
    sites = [f"client_test_{number}" for number in range(4)]
    return {method: (mean(mean(tests[site]) for site in sites), mean(tests["Pooled Test"])) for method, tests in sorted(found.items())}


def majority(data: Path) -> tuple[float, float]:
    """Return mean of sites and all patients for guessing each site's own more frequent training class."""
    right, total, shares = 0, 0, []
    for name in SITES:
        _, labels = rows(data / "heart_disease_uci" / f"processed.{name}.data")
        train, test = train_test_split(
            np.array(labels), train_size=0.66, random_state=43, stratify=None if name == "switzerland" else labels
        )
        hits = int(np.sum(test == (np.mean(train) >= 0.5)))
        right, total = right + hits, total + len(test)
        shares.append(hits / len(test))
    return mean(shares), right / total


def measured(data: Path, method: str, normalise: str, seed: int) -> tuple[dict[str, Any], float]:
    """Return a run's metrics by model, and the validation loss of the setting that was chosen."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        result = simulate(protocol(method, normalise, seed), [write_site(folder, name, data) for name in SITES], folder / "run").result
    return result["metrics"], min(row["loss"] for row in result["history"] if row["loss"] is not None)


def run(data: Path, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the figures and a table beside the published one.

    The figure that is held against the goal is that of the method with the lowest validation loss, averaged over seeds; the test parts
    choose nothing.
    """
    seeds = SEEDS[:1] if quick else SEEDS
    lines: list[str] = []
    figures: list[dict[str, Any]] = []
    for normalise in ("federated", "site"):
        heading = "  ".join(f"{site:>11}" for site in SITES)
        lines += ["", f"{normalise} normalisation{'':22} mean of sites      all patients   {heading}   AUROC (all, 95 %, first seed)"]
        table: dict[str, list[dict[str, Any]]] = defaultdict(list)
        validation: dict[str, list[float]] = defaultdict(list)
        for method in METHODS:
            for seed in seeds:
                found, loss = measured(data, method, normalise, seed)
                table[method].append(found["federated"])
                validation[method].append(loss)
                for other in (name for name in found if name != "federated"):
                    table[f"{other} (tuned alike)"].append(found[other])
        chosen = min(METHODS, key=lambda method: mean(validation[method]))
        for method, runs in table.items():
            means = [mean(one["sites"][site]["accuracy"]["value"] for site in SITES) for one in runs]
            alls = [one["all"]["accuracy"]["value"] for one in runs]
            note = (
                f"   validation loss {mean(validation[method]):.4f}{' <- chosen' if method == chosen else ''}" if method in METHODS else ""
            )
            lines.append(row(method, means, alls, runs) + note)
            figures += [
                figure(f"{normalise}: {method}, mean of sites", means, seeds),
                figure(f"{normalise}: {method}, all patients", alls, seeds),
            ]
            if method == chosen:
                figures.append(figure(f"{normalise} normalisation, mean of sites", means, seeds))
                figures.append(figure(f"{normalise} normalisation, all patients", alls, seeds))
    of_sites, of_all = majority(data)
    lines += ["", f"{'each site majority class':45} {of_sites:.3f}              {of_all:.3f}", "", "FLamby, as published (5 seeds)"]
    lines += [
        f"{name:45} {a:.3f}              {b:.3f}" for name, (a, b) in published(data / "flamby_reference" / "fed_heart_disease.csv").items()
    ]
    return figures, "\n".join(lines)


def row(method: str, means: list[float], alls: list[float], runs: list[dict[str, Any]]) -> str:
    """Return one line of the table; plus-minus is the standard deviation over seeds."""
    spread = (
        (lambda values: f"{mean(values):.3f} ± {stdev(values):.3f}") if len(means) > 1 else (lambda values: f"{mean(values):.3f}        ")
    )
    sites = "  ".join(f"{mean(one['sites'][site]['accuracy']['value'] for one in runs):11.3f}" for site in SITES)
    auroc = [runs[0]["all"]["auroc"][key] for key in ("value", "low", "high")]
    return f"{method:45} {spread(means)}      {spread(alls)}  {sites}   {auroc[0]:.3f} ({auroc[1]:.3f} to {auroc[2]:.3f})"


def figure(what: str, values: list[float], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Return one figure in the benchmarks' form."""
    return {
        "what": what, "value": round(mean(values), 4), "unit": "accuracy", "n": 254, "seeds": list(seeds),
        "low": round(min(values), 4), "high": round(max(values), 4),
    }  # fmt: skip
