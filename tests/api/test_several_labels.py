"""Twelve assays, of which no site knows all: the Tox21 challenge as partners would bring it, each with assays of its own."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

import wardround

ASSAYS = [
    "NR-AR",
    "NR-AR-LBD",
    "NR-AhR",
    "NR-Aromatase",
    "NR-ER",
    "NR-ER-LBD",
    "NR-PPAR-gamma",
    "SR-ARE",
    "SR-ATAD5",
    "SR-HSE",
    "SR-MMP",
    "SR-p53",
]
MARKS = ["C", "N", "O", "S", "F", "Cl", "Br", "P", "c", "n", "o", "s", "=", "#", "(", "1", "2", "3", "4", "@", "+", "-", "[Na+]", "C(=O)O"]
SITES = 4

STUDY = """
study = "tox21"
[question]
kind = "multilabel"
positive = "1"
title = "In which assays is a substance active?"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract]
patient = "mol_id"
labels = [{labels}]
[contract.fields]
{fields}
[model]
kind = "mlp"
hidden = [64]
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
rounds = 12
learning_rate = 1.0
batch_size = 64
[[phases]]
name = "local"
kind = "local"
[[phases]]
name = "evaluate"
kind = "evaluate"
[bounds]
sites = 4
examples = 10000
[rounds]
quorum = 3
combine = "secure"
[evaluation]
metrics = ["loss", "auroc"]
replicates = 100
margin = 0.005
compare = ["ensemble"]
[stop]
keep = "best"
"""


def written(folder: Path, source: Path) -> tuple[Path, list[Path]]:
    """Write study, tables and site files: each molecule at one site, each assay known at two of the four."""
    labels = [name.replace("-", "_") for name in ASSAYS]
    fields = [f'{name} = {{ type = "code", codes = ["0", "1"], missing = "unknown" }}' for name in labels]
    fields += [f'm{number} = {{ type = "number", unit = "1", range = [0, 400] }}' for number in range(len(MARKS))]
    study = folder / "study.toml"
    study.write_text(STUDY.format(labels=", ".join(f'"{name}"' for name in labels), fields="\n".join(fields)))
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = []
    for site in range(SITES):
        known = {name for place, name in enumerate(ASSAYS) if site in (place % SITES, (place + 1) % SITES)}
        table = folder / f"p{site}.csv"
        with table.open("w", newline="") as file:
            write = csv.writer(file)
            write.writerow(["mol_id", *(one.replace("-", "_") for one in sorted(known)), *(f"m{number}" for number in range(len(MARKS)))])
            for row in rows[site::SITES]:
                answers = [row[one].removesuffix(".0") for one in sorted(known)]
                write.writerow([row["mol_id"], *answers, *(row["smiles"].count(mark) for mark in MARKS)])
        files.append(folder / f"p{site}.toml")
        files[-1].write_text(f'name = "p{site}"\n[source]\nkind = "table"\npath = "p{site}.csv"\n')
    return study, files


@pytest.mark.slow
def test_partners_that_know_other_assays_learn_one_model(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    study, files = written(tmp_path, shared_data("tox21") / "tox21.csv")
    result = wardround.simulate(study, files, tmp_path / "run").result
    everywhere = result["findings"]["all"]
    said = {name: one["metrics"]["auroc"] for name, one in everywhere.items() if "metrics" in one}
    assert len(said) == len(ASSAYS) and sum(one["low"] > 0.5 for one in said.values()) >= 9
    assert result["metrics"]["federated"]["all"]["auroc"]["low"] > 0.6 and not result["warnings"]
    for site, findings in result["findings"]["sites"].items():
        assert sum("metrics" not in one for one in findings.values()) >= len(ASSAYS) // 2
        assert result["verdicts"][site] != "cannot_say" or result["verdict_notes"][site].startswith(("the evidence", "too few"))
    told = result["metrics"]["federated"]["sites"]["p0"]
    assert told["auroc"]["value"] is None and told["loss"]["value"] > 0
