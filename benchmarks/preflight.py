"""See whether a preflight finds what is planted, and keeps still where nothing is.

Cleveland's 303 patients (UCI heart disease, CC BY 4.0) are divided at random into four hospitals, ten times; into one hospital of each
division each of twelve clashes is planted (`parts/planting.py`). Visit dates are made up. The four real hospitals are then held beside
each other.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.planting import CLASHES, Row, divided
from benchmarks.statistics import HEART, figure, heart
from wardround import simulate
from wardround.preflight import plan_of, table_of
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol

SEEDS, QUICK = 10, 2
HEAD = """
study = "heart"
[question]
kind = "binary"
positive = "1"
title = "Who has heart disease?"
purpose = "Benchmark."
[parties]
coordinator = "benchmark"
[model]
kind = "logistic"
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
rounds = 2
learning_rate = 0.1
[[phases]]
name = "evaluate"
kind = "evaluate"
[bounds]
sites = 4
examples = 400
[rounds]
quorum = 4
[evaluation]
metrics = ["auroc"]
[contract]
label = "disease"
"""


def study(timed: bool) -> Protocol:
    """Return a study that would learn from heart disease, with visit dates or without."""
    lines = [HEAD + ('time = "visit"' if timed else ""), "[contract.fields]"]
    for name, one in HEART.items():
        codes = f'type = "code", codes = {json.dumps(list(one))}' if isinstance(one, str) else ""
        number = "" if codes else f'type = "number", unit = "{one[0]}", range = [{one[1]}, {one[2]}]'
        missing = "" if name == "disease" else ', missing = "mean"'
        about = ', description = "serum cholesterol"' if name == "chol" else ""
        lines.append(f"{name} = {{ {codes or number}{missing}{about} }}")
    return read_protocol("\n".join(lines) + "\n", "heart")


def compared(plan: Protocol, rows: Mapping[str, list[Row]]) -> Mapping[str, Any]:
    """Return what a preflight over these hospitals came to."""
    with tempfile.TemporaryDirectory() as place:
        folder, files = Path(place), []
        for site, listed in rows.items():
            with (folder / f"{site}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, ["patient", *listed[0]])
                writer.writeheader()
                writer.writerows({"patient": f"{site}-{number}", **row} for number, row in enumerate(listed))
            files.append(folder / f"{site}.toml")
            files[-1].write_text(f'name = "{site}"\n[source]\nkind = "table"\npath = "{site}.csv"\n')
        found = table_of(simulate(plan, files, folder / "run").result)
    assert found is not None
    return found


def findings(table: Mapping[str, Any], *grades: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield field, hospital and finding for each finding of these grades."""
    for field in table["fields"]:
        for site, one in field["sites"].items():
            yield from ((field["field"], site, each) for each in one["findings"] if each["grade"] in grades)


def run(data: Path, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the figures and a table of them."""
    rows, plan = heart(data), plan_of(study(True))
    seeds = QUICK if quick else SEEDS
    clean, raised, hit, beside = 0, [], dict.fromkeys(CLASHES, 0), []
    for seed in range(seeds):
        parts = divided(rows["cleveland"], np.random.default_rng(seed))
        table = compared(plan, parts)
        clean += len(table["fields"]) * len(parts)
        raised += [f"clean {seed}: {field} at {site}: {one['sentence']}" for field, site, one in findings(table, "clash", "differs")]
        for number, (name, clash) in enumerate(CLASHES.items()):
            site = f"part{(seed + number) % len(parts)}"
            planted = {**parts, site: clash.change(parts[site], np.random.default_rng([seed, number]))}
            found = list(findings(compared(plan, planted), "clash", "differs"))
            right = [
                one
                for field, at, one in found
                if (field, at, one["kind"]) == (clash.field, site, clash.kind) and clash.words in one["sentence"]
            ]
            hit[name] += bool(right)
            beside += [
                f"{name} {seed}: {field} at {at}: {one['sentence']}" for field, at, one in found if (field, at) != (clash.field, site)
            ]
            if not right:
                beside.append(
                    f"NOT FOUND {name} {seed}: {[one['sentence'] for field, at, one in found if (field, at) == (clash.field, site)]}"
                )
    real = compared(plan_of(study(False)), rows)
    zeros = {at for field, at, one in findings(real, "clash") if (field, one["kind"]) == ("chol", "spike") and " 0" in one["sentence"]}
    figures = [
        figure("planted clashes found and named", sum(hit.values()), f"of {seeds * len(CLASHES)}", seeds * len(CLASHES)),
        *(figure(f"found: {name}", count, f"of {seeds}", seeds) for name, count in hit.items()),
        figure("planted clashes not found", seeds * len(CLASHES) - sum(hit.values()), "clashes", seeds * len(CLASHES)),
        figure("findings on clean divisions", len(raised), "findings", clean),
        figure("findings beside the planted one", sum(not one.startswith("NOT") for one in beside), "findings", seeds * len(CLASHES)),
        figure("real hospitals whose zeros for cholesterol are found", len(zeros & {"switzerland", "va"}), "hospitals", 2),
        figure("real hospitals wrongly said to have zeros", len(zeros - {"switzerland", "va"}), "hospitals", 2),
        figure(
            "real hospitals: fields in which none clashes",
            sum(one["verdict"] != "clash" for one in real["fields"]),
            "fields",
            len(real["fields"]),
        ),
    ]
    listed = [f"{at}: {field}: {one['grade']}: {one['sentence']}" for field, at, one in findings(real, "clash", "differs")]
    text = [f"{one['what']:58} {one['value']:<6g} {one['unit']} (n {one['n']})" for one in figures]
    return figures, "\n".join([*text, "", *raised, *beside, "", "the four real hospitals", *listed])
