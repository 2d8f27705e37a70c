"""Make the hospitals and the plans on which `python -m benchmarks methods` compares: each set differs in one way that is known.

Real differences: heart disease at four hospitals, FLamby's split. Made differences on real pictures: 2,400 images of PneumoniaMNIST's
official training part (drawn once; CC BY 4.0) over six simulated hospitals, by labels, by sizes or by scanners; half of each hospital's
images are tested, so that large ones have 100 or more. The data names no patients, so "patients" are images there. Made pictures:
radiographs that are synthetic, at six hospitals with scanners, prevalences, sizes and misleading devices of their own.

Learning rates and the like were decided on images that no set contains: the pilot of docs/decisions/0022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import flamby_heart
from wardround import partition
from wardround.study.protocol import Protocol

IMAGES, HOSPITALS, LEAST = 2400, 6, 60
EACH_HAS_SOME = 4
"""The first seed from 0 with which three hospitals have 40 images of each class, so that there is something to judge."""

Changes = Mapping[str, Any]

TRAIN = {
    "rounds": 10, "local_epochs": 2, "batch_size": 16, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine",
}  # fmt: skip
HEART = {"rounds": 10, "local_steps": 25, "batch_size": 16}
HEART_RATES = [0.01, 0.05]
EXACT = {"kind": "finetune", "solver": "exact", "after": "train"}
INTERCEPT = {**EXACT, "parts": ["intercept"], "prior": 1.0}
PICK = {"kind": "choose", "after": "local"}


def trained(**options: Any) -> dict[str, Any]:
    """Return the change of the training phase."""
    return {"phases": {"train": options}}


def kept_here(part: str) -> dict[str, Any]:
    """Return the change that keeps a part of the model at each hospital."""
    return {"model": {"private": [part]}, "stop": {"keep": "last"}}


def afterwards(**options: Any) -> dict[str, Any]:
    """Return the change that adds a phase after training."""
    return {"phases": {"own": {"after": "train", **options}}}


SHARED: Mapping[str, Changes] = {
    "FedAvg": {},
    "FedAvg, sites equal": trained(weighting="equal"),
    "FedProx": trained(kind="fedprox", mu=0.1),
    "SCAFFOLD": trained(kind="scaffold"),
    "FedNova": trained(kind="fednova"),
    "q-FFL": trained(kind="qffl", q=0.1),
    "FedAdam": trained(server_optimiser="adam", server_learning_rate=0.003),
    "FedYogi": trained(server_optimiser="yogi", server_learning_rate=0.003),
}
"""One model for all hospitals."""

PICTURES: Mapping[str, Changes] = {
    **{name: changes for name, changes in SHARED.items() if name != "FedAvg, sites equal"},
    "own normalisation (GroupNorm)": kept_here("norm"),
    "FedBN (own BatchNorm)": {"model": {"private": ["norm"], "norm": "batch"}, "stop": {"keep": "last"}},
    "own head": kept_here("head"),
    "own intercept": kept_here("intercept"),
    "head fitted afterwards": afterwards(**EXACT, parts=["head"], prior=30.0),
    "Ditto": afterwards(kind="ditto", mu=[0.1, 1.0], learning_rate=0.01, batch_size=16, passes=5),
    "choice": {"phases": {"own": {**EXACT, "parts": ["head"], "prior": 30.0}, "pick": PICK}},
}
TABLES: Mapping[str, Changes] = {
    **SHARED,
    "own intercept": kept_here("intercept"),
    "own intercept, sites equal": {**kept_here("intercept"), **trained(weighting="equal")},
    "own intercept afterwards": afterwards(**INTERCEPT),
    "own head": kept_here("head"),
    "everything fitted afterwards": afterwards(**EXACT, prior=30.0),
    "own intercept, then everything fitted": {**kept_here("intercept"), **afterwards(**EXACT, prior=30.0)},
    "Ditto": afterwards(kind="ditto", mu=[0.1, 1.0], batch_size=16),
    "choice": {"phases": {"own": INTERCEPT, "pick": PICK}},
}
"""Every method's options come from its paper or from the pilot, none from these sets' test patients."""

SEEN = ("Ditto", "choice")
"""Methods that look at validation rows at each hospital: their validation loss is too good to be held against others'."""


@dataclass(frozen=True)
class Setting:
    """Hold one way in which hospitals differ.

    Attributes:
        name: of the set, and of its folder.
        title: in words.
        methods: what is compared.
        plan: the study.
        sites: writes the hospitals into a folder, from the folder of the data sets, and returns their site files.
    """

    name: str
    title: str
    methods: Mapping[str, Changes]
    plan: Callable[[], Protocol]
    sites: Callable[[Path, Path], list[Path]]


def pictures() -> Protocol:
    """Return the plan of all picture sets."""
    film = {"type": "image", "shape": [1, 28, 28], "intensity": [0, 255]}
    return Protocol.model_validate(
        {
            "study": "methods-pictures",
            "question": {"kind": "binary", "title": "Pneumonia", "purpose": "Compare methods."},
            "parties": {"coordinator": "benchmark"},
            "contract": {"label": "ill", "fields": {"film": film, "ill": {"type": "code", "codes": ["0", "1"]}}},
            "model": {"kind": "cnn", "widths": [8, 16, 32]},
            "phases": [
                {"name": "moments", "kind": "moments"},
                {"name": "train", "kind": "fedavg", **TRAIN},
                {"name": "local", "kind": "local"},
                {"name": "test", "kind": "evaluate"},
            ],
            "bounds": {"sites": HOSPITALS, "examples": IMAGES},
            "rounds": {"quorum": HOSPITALS},
            "stop": {"keep": "last"},
            "evaluation": {"metrics": ["auroc", "loss", "accuracy"], "margin": 0.02, "validation": 0.2, "test": 0.5, "replicates": 300},
        }
    )


def tables() -> Protocol:
    """Return the plan of the heart study: FLamby's split, a grid of learning rates that is tried alike for all methods."""
    plan = flamby_heart.protocol(flamby_heart.FIRST, "federated", 0)
    phases = [phase.model_copy(update={"options": {**phase.options, **HEART}}) if phase.name == "train" else phase for phase in plan.phases]
    evaluation = plan.evaluation.model_copy(update={"tune": {"learning_rate": tuple(HEART_RATES)}, "replicates": 300})
    return plan.changed(phases=tuple(phases), evaluation=evaluation)


def heart(folder: Path, data: Path) -> list[Path]:
    """Write the four hospitals."""
    folder.mkdir(parents=True, exist_ok=True)
    return [flamby_heart.write_site(folder, name, data) for name in flamby_heart.SITES]


def pneumonia(folder: Path, data: Path) -> Path:
    """Write one site file with the images that are divided."""
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(data / "pneumoniamnist" / "pneumoniamnist.npz") as read:
        images, labels = read["train_images"], read["train_labels"][:, 0]
    order = np.random.default_rng(20261122).permutation(len(images))
    rows = np.sort(order[:IMAGES])
    np.savez(folder / "all.npz", patient=rows, film=images[rows], ill=labels[rows])
    (folder / "all.toml").write_text('name = "all"\n[source]\nkind = "images"\npath = "all.npz"\n')
    return folder / "all.toml"


def divided(by: str, seed: int = 0, **options: Any) -> Callable[[Path, Path], list[Path]]:
    """Return what divides the pneumonia images over the hospitals."""

    def sites(folder: Path, data: Path) -> list[Path]:
        everyone = pneumonia(folder / "all", data)
        return partition(everyone, pictures(), by=by, sites=HOSPITALS, out=folder / "sites", seed=seed, least=LEAST, **options)

    return sites


def radiographs(folder: Path, data: Path) -> list[Path]:
    """Write the site files of six hospitals that make up their radiographs: synthetic."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(8)
    found = []
    for number, patients in enumerate((700, 500, 400, 300, 200, 120)):
        prevalence, gain, gamma = draw.uniform(0.1, 0.6), np.exp(draw.uniform(-0.4, 0.4)), np.exp(draw.uniform(-0.5, 0.5))
        blur, noise, trap = draw.uniform(0, 0.02), draw.uniform(0.01, 0.06), draw.uniform(0.1, 0.7)
        text = (
            f'name = "hospital-{number + 1}"\n[source]\nkind = "radiographs"\nhospital = "hospital-{number + 1}"\npatients = {patients}\n'
            f"prevalence = {prevalence:.3f}\nopacity = 1.3\ncontrast = 1.5\ndevices = [0.1, {trap:.3f}]\n"
            f"gain = {gain:.3f}\ngamma = {gamma:.3f}\nblur = {blur:.4f}\nnoise = {noise:.3f}\n"
        )
        (folder / f"hospital-{number + 1}.toml").write_text(text)
        found.append(folder / f"hospital-{number + 1}.toml")
    return found


SETTINGS: tuple[Setting, ...] = (
    Setting("tables", "heart disease, four real hospitals", TABLES, tables, heart),
    Setting(
        "labels", "pneumonia, shares of the classes differ (Dirichlet 0.3)", PICTURES, pictures, divided("labels", EACH_HAS_SOME, alpha=0.3)
    ),
    Setting("scanners", "pneumonia, scanners differ", PICTURES, pictures, divided("shift", gain=0.6, gamma=0.9, contrast=0.6, blur=1.0)),
    Setting("sizes", "pneumonia, sizes differ (Dirichlet 0.5)", PICTURES, pictures, divided("quantity", beta=0.5)),
    Setting("synthetic", "synthetic radiographs: scanner, prevalence, size and devices differ", PICTURES, pictures, radiographs),
)
