"""Small evaluation studies for tests: an ONNX model that was written here, made-up rows at some sites, and the same rows in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wardround import load_study, simulate
from wardround.simulation import Result

HEAD = """
kind = "evaluation"
study = "bought"
[question]
kind = "binary"
title = "Does the bought model hold here?"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract]
label = "ill"
[contract.fields]
age = {{ type = "number", unit = "a", range = [0, 120] }}
chol = {{ type = "number", unit = "mg/dL", range = [50, 500], missing = "count" }}
sex = {{ type = "code", codes = ["f", "m"] }}
ward = {{ type = "code", codes = ["a", "b", "never"], input = false, missing = "count" }}
ill = {{ type = "code", codes = ["no", "yes"] }}
[model]
kind = "onnx"
file = "model.onnx"
trained_on = "Made-up numbers; no patient at all."
inputs = {inputs}
fill = {{ chol = 200 }}
{model}
[[phases]]
name = "test"
kind = "assess"
{phase}
[bounds]
sites = {sites}
examples = 2000
[rounds]
quorum = {sites}
combine = "{combine}"
[privacy]
counts = {counts}
smallest_count = {least}
[evaluation]
metrics = ["auroc", "brier"]
replicates = {replicates}
"""
INPUTS = '["age", "chol", "sex=m"]'
SUBGROUPS = "subgroups = { sex = [], age = [50, 65], ward = [] }"
WEIGHTS = np.array([0.06, 0.01, 0.8])
BIAS = -6.4


def need_onnx() -> None:
    """Skip where the extra is not installed."""
    pytest.importorskip("onnx", reason="pip install 'wardround[onnx]'")
    pytest.importorskip("onnxruntime", reason="pip install 'wardround[onnx]'")


def logistic(weights: np.ndarray = WEIGHTS, bias: float = BIAS, **changes: Any) -> bytes:
    """Return an ONNX file of a logistic regression: Gemm, then Sigmoid; `changes` as `onnx.helper.make_model` takes them."""
    from onnx import TensorProto, helper, numpy_helper

    count = len(weights)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["logit"]), helper.make_node("Sigmoid", ["logit"], ["p"])]
    constants = [
        numpy_helper.from_array(weights.astype(np.float32).reshape(count, 1), "w"),
        numpy_helper.from_array(np.array([bias], dtype=np.float32), "b"),
    ]
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", count])
    gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("p", "logit")]
    graph = helper.make_graph(nodes, "logistic", [takes], gives[: changes.pop("outputs", 1)], constants)
    given = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8, **changes}
    found: bytes = helper.make_model(graph, **given).SerializeToString()
    return found


def text(
    sites: int = 3,
    combine: str = "plain",
    least: int = 10,
    phase: str = SUBGROUPS,
    model: str = "",
    inputs: str = INPUTS,
    replicates: int = 50,
    counts: bool = True,
) -> str:
    """Return a study file."""
    flag = str(counts).lower()
    return HEAD.format(
        sites=sites, combine=combine, least=least, phase=phase, model=model, inputs=inputs, replicates=replicates, counts=flag
    )


def rows(sizes: Mapping[str, int], seed: int = 0) -> dict[str, list[dict[str, str]]]:
    """Return made-up rows by site: the outcome follows the model but for a shift, some cholesterol is missing, ward "never" is empty."""
    found: dict[str, list[dict[str, str]]] = {}
    for number, (site, count) in enumerate(sizes.items()):
        rng = np.random.default_rng([seed, number])
        age, chol = np.clip(rng.normal(60, 12, count).round(), 18, 100), np.clip(rng.normal(220, 40, count).round(), 100, 400)
        sex, known = rng.integers(0, 2, count), rng.random(count) > 0.1
        logit = np.stack([age, np.where(known, chol, 200), sex], axis=1) @ WEIGHTS + BIAS - 0.3
        ill = rng.random(count) < 1 / (1 + np.exp(-logit))
        found[site] = [
            {
                "patient": f"{site}-{place}",
                "age": f"{age[place]:g}",
                "chol": f"{chol[place]:g}" if known[place] else "",
                "sex": "fm"[sex[place]],
                "ward": str(rng.choice(["a", "b"])),
                "ill": "yes" if ill[place] else "no",
            }
            for place in range(count)
        ]
    return found


def write(folder: Path, study: str, given: Mapping[str, Sequence[Mapping[str, str]]], model: bytes | None = None) -> list[Path]:
    """Write study, model and sites into a folder; return the site files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(study)
    (folder / "model.onnx").write_bytes(logistic() if model is None else model)
    files = []
    for site, listed in given.items():
        lines = [",".join(listed[0]), *(",".join(row.values()) for row in listed)]
        (folder / f"{site}.csv").write_text("\n".join(lines) + "\n")
        files.append(folder / f"{site}.toml")
        files[-1].write_text(f'name = "{site}"\n[source]\nkind = "table"\npath = "{site}.csv"\n')
    return files


def run(folder: Path, study: str, given: Mapping[str, Sequence[Mapping[str, str]]], model: bytes | None = None) -> Result:
    """Run an evaluation study in a folder, with all its sites."""
    files = write(folder, study, given, model)
    return simulate(load_study(folder / "study.toml"), files, folder / "run")


def pooled(given: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[np.ndarray, np.ndarray, list[Mapping[str, str]]]:
    """Return the model's probabilities of all rows in one place, their outcomes, and the rows."""
    everyone = [row for listed in given.values() for row in listed]
    x = np.array([[float(row["age"]), float(row["chol"] or 200), float(row["sex"] == "m")] for row in everyone])
    p = 1 / (1 + np.exp(-(x.astype(np.float32) @ WEIGHTS.astype(np.float32) + np.float32(BIAS))))
    return p.astype(np.float64), np.array([row["ill"] == "yes" for row in everyone]).astype(int), everyone
