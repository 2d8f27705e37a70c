"""Write a small study whose hospitals are made up: study file, site files and CSV tables, as a person would write them.

The rows say nothing about anybody. They are like real ones in what a program can stumble over: several rows of one patient, missing
values, codes, another case mix at every hospital.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

NAMES = ("north", "south", "east", "west", "hill", "lake", "river", "coast")
STUDY = """\
study = "made-up"

[question]
kind = "{question}"
title = "Who has the made-up illness?"
purpose = "Try the program."

[parties]
coordinator = "Made-up centre"

[contract]
patient = "patient"
label = "ill"

[contract.fields]
age = {{ type = "number", unit = "a", range = [18, 110] }}
marker = {{ type = "number", unit = "mg/dL", range = [0.1, 50], missing = "indicator" }}
sex = {{ type = "code", codes = ["f", "m"], missing = "mean" }}
ill = {{ type = "code", codes = [{codes}] }}

[model]
kind = "mlp"
hidden = [8]

[[phases]]
name = "moments"
kind = "moments"

[[phases]]
name = "train"
kind = "fedavg"
rounds = {rounds}
local_epochs = 1
batch_size = 16
learning_rate = 0.1
server_momentum = 0.5

[[phases]]
name = "local"
kind = "local"

[[phases]]
name = "evaluate"
kind = "evaluate"

[bounds]
sites = 8
examples = 500
update = {update}

[rounds]
quorum = {quorum}
due_seconds = 60

[privacy]
counts = true

[evaluation]
metrics = ["loss", "accuracy"]
seed = {seed}
replicates = 50
tune = {{ {tune} }}
refit = {refit}
"""


@dataclass(frozen=True)
class Shape:
    """Say what a made-up study is like.

    Attributes:
        sites: how many hospitals, at most eight.
        patients: at the first hospital; each further one has nine more.
        seed: of rows, splits and initial parameters.
        rounds: of training.
        classes: codes of the label.
        tune: settings to try, as TOML: `learning_rate = [0.05, 0.2]`.
        refit: train the choice again on validation rows as well.
        quorum: fewest hospitals that make a round.
        update: bounds.update; a small one makes gates refuse.
    """

    sites: int = 4
    patients: int = 90
    seed: int = 42
    rounds: int = 25
    classes: int = 2
    tune: str = ""
    refit: bool = False
    quorum: int = 2
    update: float = 16.0


@dataclass(frozen=True)
class MadeUp:
    """Name the files that were written.

    Attributes:
        study: the study file.
        sites: one site file a hospital; the table lies beside it under the same name.
    """

    study: Path
    sites: tuple[Path, ...] = field(default=())

    def words(self, out: Path, *more: str) -> list[str]:
        """Return the words of the command line that runs it."""
        return ["simulate", str(self.study), *(word for site in self.sites for word in ("--site", str(site))), "--out", str(out), *more]


def write(folder: Path, shape: Shape | None = None) -> MadeUp:
    """Write a study into a folder, which is made if it is not there; the same shape gives the same bytes."""
    shape = shape or Shape()
    folder.mkdir(parents=True, exist_ok=True)
    codes = ", ".join(f'"{number}"' for number in range(shape.classes))
    question = "binary" if shape.classes == 2 else "multiclass"
    refit = str(shape.refit).lower()
    given = {name: getattr(shape, name) for name in ("rounds", "update", "quorum", "seed", "tune")}
    (folder / "study.toml").write_text(STUDY.format(question=question, codes=codes, refit=refit, **given))
    sites = []
    for number, name in enumerate(NAMES[: shape.sites]):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows(name, number, shape))
        (folder / f"{name}.toml").write_text(f'name = "{name}"\n\n[source]\nkind = "table"\npath = "{name}.csv"\n')
        sites.append(folder / f"{name}.toml")
    return MadeUp(folder / "study.toml", tuple(sites))


def rows(name: str, number: int, shape: Shape) -> list[list[str]]:
    """Return the lines of one hospital's table, the header first.

    Args:
        name: of the hospital, part of its patients' identifiers.
        number: of the hospital; the illness grows more frequent with it.
        shape: of the study.
    """
    rng = np.random.Generator(np.random.Philox(key=[shape.seed, number]))
    count = shape.patients + 9 * number
    age, marker = rng.integers(20, 95, count), np.exp(rng.normal(1 + 0.1 * number, 0.6, count)).clip(0.2, 49)
    male = rng.random(count) < 0.5
    risk = (age - 60) / 20 + 1.5 * np.log(marker) - 1.5 + 0.5 * male + rng.normal(0, 0.7, count)
    ill = np.digitize(risk, np.linspace(-0.5, 1.5, shape.classes - 1) if shape.classes > 2 else [0.4])
    lines = [["patient", "age", "marker", "sex", "ill"]]
    for patient in range(count):
        for _ in range(2 if rng.random() < 0.1 else 1):
            value = "" if rng.random() < 0.1 else f"{marker[patient] * rng.uniform(0.95, 1.05):.3f}"
            sex = "" if rng.random() < 0.03 else "m" if male[patient] else "f"
            lines.append([f"{name}-{patient:04d}", str(age[patient]), value, sex, str(ill[patient])])
    return lines
