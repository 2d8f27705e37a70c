"""Small studies of statistics for tests: made-up rows at three sites, all the true parts, and the same rows in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wardround import simulate
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol

HEAD = """
kind = "statistics"
study = "counted"
[question]
title = "Counted"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract.fields]
age = { type = "number", unit = "a", range = [0, 100] }
flat = { type = "number", unit = "1", range = [0, 10] }
weight = { type = "number", unit = "kg", range = [0, 200] }
sex = { type = "code", codes = ["f", "m"] }
ward = { type = "code", codes = ["a", "b", "never"] }
days = { type = "number", unit = "d", range = [0, 50] }
died = { type = "code", codes = ["no", "yes"] }
[bounds]
sites = 3
examples = 500
"""
PHASES: dict[str, str] = {
    "describe": "",
    "histogram": "bins = 10",
    "quantiles": "bins = 10\nrounds = 3",
    "crosstab": 'rows = "sex"\ncolumns = "died"',
    "correlation": 'fields = ["age", "weight", "flat"]',
    "survival": 'time = "days"\nevent = "died"\nhappened = "yes"\nuntil = 51\ngroups = "ward"',
}
SITES = {"north": 150, "south": 90, "east": 40}
Rows = dict[str, list[dict[str, str]]]


def text(
    combine: str = "plain",
    least: int = 1,
    kinds: Sequence[str] = tuple(PHASES),
    counts: bool = True,
    options: Mapping[str, str] | None = None,
) -> str:
    """Return a study file with one phase of each kind; `options` replace those of a kind."""
    phases = "".join(f'[[phases]]\nname = "{kind}"\nkind = "{kind}"\n{(options or {}).get(kind, PHASES[kind])}\n' for kind in kinds)
    rounds = f'[rounds]\nquorum = 3\ncombine = "{combine}"\n'
    return f"{HEAD}{phases}{rounds}[privacy]\ncounts = {str(counts).lower()}\nsmallest_count = {least}\n"


def plan(combine: str = "plain", least: int = 1, kinds: Sequence[str] = tuple(PHASES)) -> Protocol:
    """Return the protocol of `text`."""
    return read_protocol(text(combine, least, kinds), "study.toml")


def rows(sizes: dict[str, int] = SITES) -> Rows:
    """Return made-up rows by site; some weights are missing, `flat` is the same for all, nobody is in ward "never"."""
    found: Rows = {}
    for number, (site, count) in enumerate(sizes.items()):
        rng = np.random.default_rng(number)
        age = np.clip(rng.normal(60 + 4 * number, 12, count).round(), 0, 100)
        listed = []
        for one in age:
            stay, seen = int(min(rng.exponential(12), 50)), int(rng.integers(5, 51))
            weight = "" if rng.random() < 0.15 else f"{40 + 0.5 * one + rng.normal(0, 8):.1f}"
            codes = {"sex": str(rng.choice(["f", "m"])), "ward": str(rng.choice(["a", "b"])), "died": "yes" if stay <= seen else "no"}
            listed.append({"age": f"{one:g}", "flat": "7", "weight": weight, "days": str(min(stay, seen)), **codes})
        found[site] = listed
    return found


def run(folder: Path, protocol: Protocol, given: Rows, without: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Write each site's rows and run the study; `without` names (site, field) that a site has no column for."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for site, listed in given.items():
        names = [name for name in listed[0] if (site, name) not in without]
        lines = [",".join(["patient", *names]), *(",".join([f"{site}-{n}", *(row[x] for x in names)]) for n, row in enumerate(listed))]
        (folder / f"{site}.csv").write_text("\n".join(lines) + "\n")
        files.append(folder / f"{site}.toml")
        files[-1].write_text(f'name = "{site}"\n[source]\nkind = "table"\npath = "{site}.csv"\n')
    return dict(simulate(protocol, files, folder / "run").result)


def column(given: Rows, name: str) -> np.ndarray:
    """Return a number of all sites' rows in one place, NaN where missing."""
    return np.array([float(row[name]) if row[name] else np.nan for listed in given.values() for row in listed])


def codes(given: Rows, name: str) -> np.ndarray:
    """Return a code of all sites' rows in one place."""
    return np.array([row[name] for listed in given.values() for row in listed])
