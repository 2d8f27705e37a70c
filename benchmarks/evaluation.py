"""Test an ONNX model at the four hospitals of the heart disease set, over a real hub, against scoring all test patients in one place.

The model is a logistic regression that scikit-learn fitted on every second patient (UCI heart disease, CC BY 4.0); the hospitals bring the
others. Gates, coordinator and hub are real and on this machine; the sums travel plain and under masks. Areas can differ by pairs of
patients whose scores fall into one of 256 bins, and all figures by the three places to which they are written; how much that can be is
worked out from the pooled scores and stands beside the difference.
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.statistics import figure, heart
from tests.engines.federated import federation
from tests.learning.finished_studies import logistic
from wardround import load_study
from wardround.data.load import prepare
from wardround.data.site_file import load_site
from wardround.learning.assessed import PLACES
from wardround.learning.questions.curves import bins
from wardround.record.report import Verdict
from wardround.record.verify import verify

INPUTS = ("age", "sex=1", "cp=4", "thalach", "exang=1", "oldpeak")
FILL: Mapping[str, float] = {"thalach": 140.0, "exang": 0.0, "oldpeak": 0.8}
STUDY = """
kind = "evaluation"
study = "heart-passport"
[question]
kind = "binary"
title = "Does the model hold at four hospitals?"
purpose = "Benchmark."
[parties]
coordinator = "benchmark"
[contract]
label = "disease"
[contract.fields]
age = {{ type = "number", unit = "a", range = [0, 120] }}
sex = {{ type = "code", codes = ["0", "1"] }}
cp = {{ type = "code", codes = ["1", "2", "3", "4"] }}
thalach = {{ type = "number", unit = "/min", range = [30, 250], missing = "count" }}
exang = {{ type = "code", codes = ["0", "1"], missing = "count" }}
oldpeak = {{ type = "number", unit = "mm", range = [-5, 10], missing = "count" }}
disease = {{ type = "code", codes = ["0", "1"] }}
[model]
kind = "onnx"
file = "model.onnx"
trained_on = "Every second patient of the same four hospitals, none of whom is tested."
inputs = ["age", "sex=1", "cp=4", "thalach", "exang=1", "oldpeak"]
fill = {{ thalach = 140, exang = "0", oldpeak = 0.8 }}
[[phases]]
name = "test"
kind = "assess"
subgroups = {{ sex = [], age = [50, 60] }}
bar = 0.7
[bounds]
sites = 4
examples = 400
[rounds]
quorum = 4
due_seconds = 120
combine = "{combine}"
[privacy]
counts = true
smallest_count = {least}
[evaluation]
metrics = ["auroc", "brier"]
replicates = 100
"""
Rows = dict[str, list[dict[str, str]]]


def table(listed: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model is given, [N, 6], and the outcomes."""
    columns = []
    for name in INPUTS:
        field, _, code = name.partition("=")
        value = [float(row[field] == code) if code else float(row[field] or FILL[field]) for row in listed]
        columns.append(value)
    return np.array(columns).T, np.array([int(row["disease"]) for row in listed])


def fitted(listed: list[dict[str, str]]) -> tuple[np.ndarray, float]:
    """Return the coefficients of a logistic regression on these rows."""
    from sklearn.linear_model import LogisticRegression

    x, y = table(listed)
    middle, spread = x.mean(axis=0), x.std(axis=0)
    found = LogisticRegression(max_iter=1000).fit((x - middle) / spread, y)
    weights = found.coef_[0] / spread
    return weights, float(found.intercept_[0] - weights @ middle)


def halves(data: Path) -> tuple[list[dict[str, str]], Rows]:
    """Return every second patient of all hospitals in one list, and the others by hospital."""
    hospitals = heart(data)
    return [row for listed in hospitals.values() for row in listed[::2]], {name: listed[1::2] for name, listed in hospitals.items()}


def written(folder: Path, tested: Rows, model: bytes, combine: str, least: int) -> list[Path]:
    """Write study, model and sites; return the site files."""
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(STUDY.format(combine=combine, least=least))
    (folder / "model.onnx").write_bytes(model)
    fields = ["age", "sex", "cp", "thalach", "exang", "oldpeak", "disease"]
    for name, listed in tested.items():
        lines = [",".join(["patient", *fields]), *(",".join([f"{name}-{n}", *(row[x] for x in fields)]) for n, row in enumerate(listed))]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        (folder / f"{name}.toml").write_text(f'name = "{name}"\n[source]\nkind = "table"\npath = "{name}.csv"\n')
    return [folder / f"{name}.toml" for name in tested]


def between_hospitals(folder: Path, tested: Rows, model: bytes, combine: str, least: int) -> tuple[dict[str, Any], Path]:
    """Run the study over a real hub; return its result and a copy of what the coordinator released."""
    files = written(folder / "inputs", tested, model, combine, least)
    agreed = load_study(folder / "inputs" / "study.toml").protocol
    data = {path.stem: prepare(load_site(path), agreed, folder / "snapshots" / path.stem).dataset for path in files}
    with federation(folder / "net", agreed, data) as made:
        made.serving.gather_approvals()
        result = dict(made.serving.run())
        made.serving.wait_for_sites(20)
        shutil.copytree(made.centre.path / "record", folder / "released" / "record")
        for name in ("result.json", "passport.json", "passport.html"):
            shutil.copy(made.centre.path / name, folder / "released")
    return result, folder / "released"


def half_a_place(value: float) -> float:
    """Return by how much a number can differ from itself written to three significant places."""
    return 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - PLACES + 1) if value else 0.0


def explained(p: np.ndarray, y: np.ndarray) -> float:
    """Return by how much the area can differ because pairs of patients share a bin, and three places are written."""
    place = bins(np.log(p / (1 - p)))
    shared = sum(int(np.sum(y[place == one] == 1)) * int(np.sum(y[place == one] == 0)) for one in np.unique(place))
    return float(shared / 2 / (y.sum() * (1 - y).sum())) + half_a_place(0.9)


def areas(result: Mapping[str, Any], p: np.ndarray, y: np.ndarray, listed: list[dict[str, str]]) -> tuple[float, float, int]:
    """Return the worst difference of an area, in all and by subgroup; the worst beyond what bins explain; and how many were compared."""
    from sklearn.metrics import roc_auc_score

    age = np.array([float(row["age"]) for row in listed])
    parts = [(result["metrics"]["model"]["all"], np.ones(len(y), dtype=bool))]
    for one in result["subgroups"]:
        if "metrics" in one and "code" in one:
            parts.append((one["metrics"], np.array([row[one["field"]] == one["code"] for row in listed])))
        elif "metrics" in one and not one.get("missing"):
            parts.append((one["metrics"], (age >= (one["from"] or 0)) & (age < (one["below"] or 999))))
    apart = [
        (abs(metrics["auroc"]["value"] - roc_auc_score(y[inside], p[inside])), explained(p[inside], y[inside])) for metrics, inside in parts
    ]
    return max(one for one, _ in apart), max(max(one - bound, 0.0) for one, bound in apart), len(parts)


def others(result: Mapping[str, Any], p: np.ndarray, y: np.ndarray) -> tuple[float, float, int]:
    """Return the difference of the Brier score, the worst of a net benefit beyond three places, and how many cells count otherwise."""
    brier = abs(result["metrics"]["model"]["all"]["brier"]["value"] - float(np.mean((p - y) ** 2)))
    worst = 0.0
    for one in result["decision"]:
        t, treated = one["threshold"], p >= one["threshold"]
        benefit = (np.sum(treated & (y == 1)) - t / (1 - t) * np.sum(treated & (y == 0))) / len(y)
        worst = max(worst, abs(one["model"]["value"] - benefit) - half_a_place(one["model"]["value"]))
    wrong = sum(
        (one["count"], one["positives"]) != (int(inside.sum()), int(y[inside].sum()))
        for one in result["calibration"]["groups"]
        for inside in [(p >= one["from"]) & (p < one["to"])]
    )
    return brier, worst if result["decision"] else 1.0, wrong


def unseen(folder: Path, times: int) -> int:
    """Return how many of so many altered bytes of the released files `verify` does not find; all where the untouched ones fail."""
    if any(line.verdict is Verdict.FAIL for line in verify(folder).lines):
        return times
    dice, missed = random.Random(42), 0
    for _ in range(times):
        path = folder / dice.choice(["passport.json", "passport.html", "result.json"])
        data = path.read_bytes()
        spoilt = bytearray(data)
        spoilt[dice.randrange(len(spoilt))] ^= dice.randrange(1, 256)
        path.write_bytes(spoilt)
        missed += all(line.verdict is not Verdict.FAIL for line in verify(folder).lines)
        path.write_bytes(data)
    return missed


def run(data: Path, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Return a figure for every goal under [evaluation], and the passport's figures beside the pooled ones.

    Args:
        data: folder of the data sets.
        quick: fewer altered bytes.
    """
    from sklearn.metrics import roc_auc_score

    training, tested = halves(data)
    weights, bias = fitted(training)
    listed = [row for one in tested.values() for row in one]
    x, y = table(listed)
    p = 1 / (1 + np.exp(-(x.astype(np.float32) @ weights.astype(np.float32) + np.float32(bias)))).astype(np.float64)
    figures, text = [], [f"UCI heart disease: fitted on {len(training)} patients, tested on {len(listed)} others at 4 hospitals, over NATS"]
    for combine, least in (("plain", 1), ("secure", 10)):  # in plain sums with k = 10 Switzerland, with few healthy patients, sends nothing
        case = f"{combine}, k = {least}"
        with tempfile.TemporaryDirectory() as place:
            result, released = between_hospitals(Path(place), tested, logistic(weights, bias), combine, least)
            worst, beyond, compared = areas(result, p, y, listed)
            brier, benefit, wrong = others(result, p, y)
            missed = unseen(released, 20 if quick else 200)
        figures += [
            figure(f"{case}: worst difference of an area, in all and by subgroup", worst, "AUROC", compared),
            figure(f"{case}: difference of an area beyond what bins explain", beyond, "AUROC", compared),
            figure(f"{case}: areas compared", compared, "areas", compared),
            figure(f"{case}: difference of the Brier score", brier, "score", len(y)),
            figure(f"{case}: worst difference of a net benefit", benefit, "per patient", len(result["decision"])),
            figure(f"{case}: cells of calibration that count otherwise", wrong, "cells", len(result["calibration"]["groups"])),
            figure(f"{case}: altered bytes of the passport not found by verify", missed, "bytes", 20 if quick else 200),
        ]
        shown, slope, exact = result["metrics"]["model"]["all"], result["calibration"]["slope"], float(np.mean((p - y) ** 2))
        text.append(
            f"{case}: AUROC {shown['auroc']['value']:.4f} ({shown['auroc']['low']:.3f} to {shown['auroc']['high']:.3f}), pooled "
            f"{roc_auc_score(y, p):.4f}; Brier {shown['brier']['value']:.4f}, pooled {exact:.4f}; slope {slope['value']:.3f}; "
            f"verdict {result['verdict']['word']}; {compared} areas, {len(result['decision'])} thresholds; areas within {worst:.1e}"
        )
    return figures, "\n".join(text)
