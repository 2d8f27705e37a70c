"""Which method for which difference between hospitals: all methods, five seeds, beside local, pooled and ensemble models.

Five sets of hospitals (`benchmarks/parts/differing.py`), each with one kind of difference; one table each, with 95 % intervals over
seeds and test patients. The method that `study new` names for a kind of difference (`DEFAULTS`) is held against the table: it must be the
one that the table supports (`benchmarks/parts/choosing.py`), no other method may be better beyond noise in AUROC on all test patients, and
no hospital with 100 test patients may lose more than 0.02 AUROC to its own model, or the benchmark says that it cannot say.

A run that is finished is not run again: the same command goes on where it was stopped, in build/benchmarks/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.parts.choosing import better, sites_judged, supported, used
from benchmarks.parts.differing import SEEN, SETTINGS, Setting
from wardround import Table, sweep
from wardround.comparing import ALL, MEAN, Run
from wardround.coordinator.store import Store
from wardround.replicates import read_replicates
from wardround.study.arrays import under

PLACE = Path(__file__).parent.parent / "build" / "benchmarks" / "methods"
SEEDS = tuple(range(5))
COMPARED = ("local", "pooled", "ensemble")
DEFAULTS: Mapping[str, str] = {
    "tables": "own intercept",
    "labels": "own normalisation (GroupNorm)",
    "scanners": "FedAvg",
    "sizes": "FedAvg",
    "synthetic": "FedAvg",
}
"""What `study new` names for each kind of difference; why, see `docs/methods.md`."""


@dataclass(frozen=True)
class Judged:
    """Hold what one set of hospitals came to.

    Attributes:
        setting: the set.
        table: of the sweep.
        runs: by method, one a seed; methods that failed with some seed are left out.
        losses: by method the validation loss of each seed, of the model that hospitals use.
    """

    setting: Setting
    table: Table
    runs: Mapping[str, Sequence[Run]]
    losses: Mapping[str, Sequence[float]]

    @property
    def default(self) -> str:
        """Return what `study new` names for this difference."""
        return DEFAULTS[self.setting.name]

    @property
    def supported(self) -> str:
        """Return the method that the table supports."""
        return supported(self.runs, self.losses, self.table.found["baselines"], SEEN)

    def row(self, method: str) -> Mapping[str, Any]:
        """Return a method's row of the table: that of the model which its hospitals use."""
        model = used(self.runs[method])
        found: Mapping[str, Any] = self.table.found["rows"][method if model == "federated" else f"{method}, {model}"]
        return found


def judged(setting: Setting, data: Path, seeds: Sequence[int], place: Path) -> Judged:
    """Run what is not finished of one set and return its table, runs and validation losses."""
    here = place.with_name(f"{place.name}-{setting.name}")
    sites = setting.sites(here / "hospitals", data)
    table = sweep(setting.plan(), sites, setting.methods, seeds, 1, here / "runs", say=lambda line: print(f"{setting.name}: {line}"))
    folders = {}
    for told in (here / "runs").glob("*/seed-*/result.json"):
        folders[json.loads(told.read_text())["protocol_digest"]] = told.parent
    runs: dict[str, list[Run]] = {}
    losses: dict[str, list[float]] = {}
    for row in table.found["rows"].values():
        method = row["method"]
        if len(row["seeds"]) < len(seeds) or method in runs:
            continue
        own = [folders[digest] for digest in row["protocols"]]
        runs[method] = [
            Run(seed, read_replicates(one), json.loads((one / "result.json").read_text()))
            for seed, one in zip(row["seeds"], own, strict=True)
        ]
        losses[method] = [validation_loss(one, setting, used(runs[method])) for one in own]
    return Judged(setting, table, runs, {name: losses[name] for name in setting.methods if name in losses})


def validation_loss(folder: Path, setting: Setting, model: str) -> float:
    """Return the mean loss on all validation patients of a run's model."""
    store = Store(folder / "state.sqlite")
    tested = store.done("test")
    store.close()
    assert tested is not None
    return float(setting.plan().complete().question_plugin.finalise(under(tested.results, f"{model}/validation"), "loss"))


def run(data: Path, quick: bool, place: Path = PLACE) -> tuple[list[dict[str, Any]], str]:
    """Return the goals' figures and every method's, and a table for each set.

    Args:
        data: folder of the data sets.
        quick: two seeds, with which most intervals say nothing.
        place: of the runs: a folder of this name for each set, with the set's name behind it.
    """
    seeds = SEEDS[:2] if quick else SEEDS
    figures: list[dict[str, Any]] = []
    lines: list[str] = []
    for setting in SETTINGS:
        found = judged(setting, data, seeds, place)
        figures += told(found)
        lines += [*text(found), ""]
    return [{**one, "seeds": list(seeds)} for one in figures], "\n".join(lines)


def told(found: Judged) -> list[dict[str, Any]]:
    """Return a set's figures: those that goals speak of, then AUROC of every method and comparator."""
    name, default = found.setting.name, found.default
    others = {method: runs for method, runs in found.runs.items() if method != default}
    above = better(found.runs[default], used(found.runs[default]), others, "auroc")
    first = found.runs[found.table.found["baselines"]]
    sites = sites_judged(found.runs[default], first, used(found.runs[default]))
    sharper = better(found.runs[default], used(found.runs[default]), others, "loss", -1)
    words = [one["word"] for one in sites.values()]
    rows = {method: found.row(method)["figures"] for method in found.runs}
    rows.update({word: found.table.found["comparators"][word] for word in COMPARED})
    return [
        figure(f"{name}: the default is what the table supports", float(found.supported == default), "of 1", len(found.losses)),
        figure(f"{name}: methods better than the default beyond noise", len(above), "methods", len(others)),
        figure(f"{name}: methods with a lower loss than the default beyond noise", len(sharper), "methods", len(others)),
        figure(f"{name}: hospitals where the default loses more than 0.02 AUROC to local", words.count("worse"), "hospitals", len(words)),
        figure(f"{name}: hospitals of which it cannot be said", words.count("cannot say"), "hospitals", len(words)),
        *(
            figure(f"{name}: {method}, {place}", one[place]["auroc"]["value"], "AUROC", one[place]["auroc"]["n"], one[place]["auroc"])
            for method, one in rows.items()
            for place in (ALL, MEAN)
        ),
    ]


def figure(what: str, value: float | None, unit: str, count: int, interval: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return one figure in the benchmarks' form."""
    low, high = (None, None) if interval is None else (interval["low"], interval["high"])
    shown = [None if one is None else round(one, 4) for one in (value, low, high)]
    return {"what": what, "value": shown[0], "unit": unit, "n": count, "low": shown[1], "high": shown[2]}


def text(found: Judged) -> list[str]:
    """Return a set's table: methods, then what they are compared with, then the default at each large hospital."""
    setting, chosen = found.setting, found.supported
    synthetic = " (synthetic)" if found.table.found["synthetic"] else ""
    lines = [
        f"{setting.name}: {setting.title}{synthetic}; {len(found.table.found['seeds'])} seeds, 95 % intervals over seeds and test patients",
        f"{'':40}{'AUROC, all patients':24}{'AUROC, mean of sites':24}{'loss':>8}{'validation':>12}   AUROC minus "
        + "".join(f"{name:26}" for name in COMPARED),
    ]
    for method in found.losses:
        row, loss = found.row(method), mean(found.losses[method])
        mark = f"({loss:.4f})" if method in SEEN else f"{loss:.4f} "
        minus = "".join(f"{cell(row['against'][name][ALL]['auroc'], True):26}" for name in COMPARED)
        note = f"{' <- default' if method == found.default else ''}{' <- supported' if method == chosen else ''}"
        lines.append(f"{method:40}{scores(row['figures'])}{mark:>12}{'':15}{minus}{note}")
    lines += [f"{name:40}{scores(found.table.found['comparators'][name])}" for name in COMPARED]
    lines += [f"failed: {one['method']}, seed {one['seed']}: {one['error']}" for one in found.table.found["failed"]]
    first = found.runs[found.table.found["baselines"]]
    for method in dict.fromkeys((found.default, chosen)):
        lines.append(f"{method}, AUROC minus the own model at hospitals with 100 test patients:")
        for site, one in sites_judged(found.runs[method], first, used(found.runs[method])).items():
            lines.append(f"    {site:20} {one['tested']:4} patients   {cell(one, True):26} {one['word']}")
    return lines


def scores(places: Mapping[str, Any]) -> str:
    """Return AUROC in both views, and the loss."""
    return f"{cell(places[ALL]['auroc']):24}{cell(places[MEAN]['auroc']):24}{np.float64(places[ALL]['loss']['value']):8.4f}"


def cell(one: Mapping[str, Any], signed: bool = False) -> str:
    """Return a value with its interval."""
    if one["value"] is None:
        return "-"
    sign = "+" if signed else ""
    if one["low"] is None:
        return f"{one['value']:{sign}.3f}"
    return f"{one['value']:{sign}.3f} ({one['low']:{sign}.3f} to {one['high']:{sign}.3f})"
