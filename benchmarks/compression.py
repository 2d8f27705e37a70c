"""What fewer bytes cost in accuracy: pneumonia on chest X-rays over ten unequal hospitals, every codec, bytes as counted on the wire.

PneumoniaMNIST (CC BY 4.0): the official training and validation parts are divided over ten simulated hospitals by patient, with unequal
sizes and shares of pneumonia; each keeps a fifth for validation. The official test part is dealt out evenly and every image of it is
tested once. Codecs, their options and the training's were chosen on the validation part, with a script of its own; the test part chose
nothing. Each run is a whole study with its gates, logs and admission. Beside it stands the same study, seed by seed, with 32 bits a number
in both directions. Bytes are those of the training phase: messages as they were written, and what each hospital was sent, with the initial
parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from wardround import partition, simulate
from wardround.study.protocol import Protocol

SITES, ROUNDS, SEEDS = 10, 20, (1, 2, 3, 4, 5)
TRAINING = {"rounds": ROUNDS, "learning_rate": 0.08, "momentum": 0.5, "batch_size": 32, "schedule": "cosine"}
Figures = list[dict[str, Any]]


@dataclass(frozen=True)
class Way:
    """Name one way for sums to travel.

    Attributes:
        codec: table of the study; None for 32 bits a number.
        combine: how sums are added up.
        down: what hospitals are sent.
        seeds: that it is run with.
    """

    codec: Mapping[str, Any] | None = None
    combine: str = "plain"
    down: str = "totals"
    seeds: tuple[int, ...] = SEEDS


FLOAT = "32 bits"
WAYS: Mapping[str, Way] = {
    FLOAT: Way(down="model"),
    "4 bits, plain": Way({"kind": "quantised", "bits": 4}),
    "4 bits, secure sum": Way({"kind": "quantised", "bits": 4}, "secure", seeds=SEEDS[:2]),
    "top-k": Way({"kind": "topk"}),
    "8 bits, plain": Way({"kind": "quantised", "bits": 8}, seeds=SEEDS[:1]),
    "float16": Way({"kind": "float16"}, seeds=SEEDS[:1]),
    "bfloat16": Way({"kind": "bfloat16"}, seeds=SEEDS[:1]),
    "top-k, secure sum": Way({"kind": "topk"}, "secure", seeds=SEEDS[:1]),
}


SITE_FILE = """name = "all"
[source]
kind = "images"
path = "{}"
parts = ["train", "val", "test"]
[map]
film = "images"
pneumonia = "labels"
[split]
column = "part"
train = ["train", "val"]
test = ["test"]
"""


def plan(way: Way, seed: int) -> Protocol:
    """Return the study for one way and one seed."""
    fields = {
        "film": {"type": "image", "shape": [1, 28, 28], "intensity": [0, 255]},
        "pneumonia": {"type": "code", "codes": ["0", "1"]},
    }
    question = {"kind": "binary", "title": "Pneumonia", "purpose": "Measure what fewer bytes cost."}
    rounds = {"quorum": SITES, "combine": way.combine, **({} if way.combine == "secure" else {"down": way.down})}
    return Protocol.model_validate(
        {
            "study": "compression",
            "question": question,
            "parties": {"coordinator": "benchmark"},
            "contract": {"patient": "", "label": "pneumonia", "fields": fields},
            "model": {"kind": "cnn", "normalise": "none"},
            "phases": [{"name": "train", "kind": "fedavg", **TRAINING}, {"name": "test", "kind": "evaluate"}],
            "bounds": {"sites": SITES, "examples": 5232},
            "rounds": rounds,
            "evaluation": {"metrics": ["auroc", "accuracy"], "seed": seed, "replicates": 0, "compare": []},
            "stop": {"keep": "last"},
            **({} if way.codec is None else {"codec": way.codec}),
        }
    )


def hospitals(folder: Path, data: Path, seed: int) -> list[Path]:
    """Divide the images over ten hospitals and return their site files."""
    images = data / "pneumoniamnist" / "pneumoniamnist.npz"
    (folder / "all.toml").write_text(SITE_FILE.format(images))
    out = folder / f"hospitals-{seed}"
    return partition(folder / "all.toml", plan(Way(), seed), ["labels", "quantity"], SITES, out, seed=seed, test="central", least=40)


@dataclass(frozen=True)
class Run:
    """Hold what one study came to.

    Attributes:
        auroc: on the official test part.
        up: bytes of the training phase from the hospitals.
        down: and to them.
    """

    auroc: float
    up: int
    down: int


def measured(folder: Path, way: Way, seed: int, sites: list[Path]) -> Run:
    """Run one study."""
    result = simulate(plan(way, seed), sites, folder).result
    rows = [row for row in result["history"] if row["phase"] == "train"]
    auroc = result["metrics"]["federated"]["all"]["auroc"]["value"]
    return Run(auroc, sum(row["bytes_up"] for row in rows), sum(row["bytes_down"] for row in rows))


def run(data: Path, quick: bool) -> tuple[Figures, str]:
    """Return the figures and a table: codec by accuracy and bytes.

    Args:
        data: folder of the data sets.
        quick: one seed.
    """
    found: dict[str, dict[int, Run]] = {name: {} for name in WAYS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed in SEEDS[:1] if quick else SEEDS:
            sites = hospitals(folder, data, seed)
            for name, way in WAYS.items():
                if seed in way.seeds:
                    found[name][seed] = measured(folder / f"{name}-{seed}".replace(" ", "-"), way, seed, sites)
    columns = f"{'seeds':>5} {'MB up':>7} {'up':>7} {'MB down':>8} {'down':>7} {'both':>7}"
    heading = f"{'':20} {'AUROC':>7} {'lost':>8} {'(least to most)':>20} {columns}"
    lines, figures = [heading], Figures()
    for name, runs in found.items():
        line, more = compared(name, runs, {seed: found[FLOAT][seed] for seed in runs})
        lines.append(line)
        figures += more
    return figures, "\n".join(lines)


def compared(name: str, runs: Mapping[int, Run], beside: Mapping[int, Run]) -> tuple[str, Figures]:
    """Return a line of the table, and its figures, of runs beside those with 32 bits and the same seeds."""
    lost = [beside[seed].auroc - one.auroc for seed, one in runs.items()]
    ups, downs = ([getattr(one, which) for one in runs.values()] for which in ("up", "down"))
    up, down = sum(ups) / sum(one.up for one in beside.values()), sum(downs) / sum(one.down for one in beside.values())
    both = (sum(ups) + sum(downs)) / sum(one.up + one.down for one in beside.values())
    auroc = mean(one.auroc for one in runs.values())
    sizes = f"{mean(ups) / 1e6:7.2f} {up:7.2%} {mean(downs) / 1e6:8.2f} {down:7.2%} {both:7.2%}"
    line = f"{name:20} {auroc:7.4f} {mean(lost):8.4f} {f'({min(lost):+.4f} to {max(lost):+.4f})':>20} {len(lost):5} {sizes}"
    seeds = list(runs)
    return line, [
        {
            "what": f"{name}: AUROC lost",
            "value": round(mean(lost), 5),
            "unit": "AUROC",
            "n": 624,
            "seeds": seeds,
            "low": min(lost),
            "high": max(lost),
        },
        share(f"{name}: bytes up", up, seeds),
        share(f"{name}: bytes down", down, seeds),
        share(f"{name}: bytes up and down", both, seeds),
    ]


def share(what: str, value: float, seeds: list[int]) -> dict[str, Any]:
    """Return a share of the bytes that 32 bits a number take."""
    return {"what": what, "value": round(value, 5), "unit": "of 32 bits", "n": 1, "seeds": seeds, "low": None, "high": None}
