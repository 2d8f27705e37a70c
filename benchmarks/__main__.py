"""Run one benchmark by name, print its figures beside the goals, and keep them in `results/`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from wardround.outcome import machine

HERE = Path(__file__).parent
BUSY = 0.5
"""Load per core above which a timing says nothing."""


def main() -> int:
    """Print a benchmark's figures; return 1 if a goal is missed, 2 if a figure could not be had."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what benchmarks/goals.toml speaks of.")
    parser.add_argument("name", choices=sorted(one.stem.replace("_", "-") for one in HERE.glob("[a-z]*.py")))
    parser.add_argument("--quick", action="store_true", help="fewer seeds: a smoke test, not a result")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="folder of the data sets")
    chosen = parser.parse_args()
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    module = importlib.import_module(f"benchmarks.{chosen.name.replace('-', '_')}")
    figures, text = module.run(chosen.data, chosen.quick)
    found = {"name": chosen.name, "machine": machine(), "load": round(load, 2), "quick": chosen.quick, "figures": figures}
    goals = tomllib.loads((HERE / "goals.toml").read_text()).get(chosen.name, {})
    lines = [verdict(what, goal, figures, load) for what, goal in goals.items()]
    if not chosen.quick:
        (HERE / "results" / f"{chosen.name}.json").write_text(json.dumps(found, indent=1) + "\n")
        (HERE / "results" / f"{chosen.name}.txt").write_text(text + "\n" + "\n".join(lines) + "\n")
    print(json.dumps(found, indent=1) if chosen.json else text + "\n\n" + "\n".join(lines))
    return 1 if any(line.startswith("MISSED") for line in lines) else 2 if any(line.startswith("INCOMPLETE") for line in lines) else 0


def verdict(what: str, goal: dict[str, float], figures: list[dict[str, Any]], load: float) -> str:
    """Return one line: whether a figure meets its goal."""
    figure = next((one for one in figures if one["what"] == what), None)
    bound = " and ".join(f"{'at least' if kind == 'min' else 'at most'} {value}" for kind, value in goal.items())
    if figure is None or figure["value"] is None:
        return f"INCOMPLETE {what}: not measured; the goal is {bound}"
    if figure["unit"] == "s" and load > BUSY:
        return f"INCOMPLETE {what}: {figure['value']} s on a busy machine (load {load:.2f} a core); the goal is {bound}"
    met = goal.get("min", -float("inf")) <= figure["value"] <= goal.get("max", float("inf"))
    return f"{'MET' if met else 'MISSED'} {what}: {figure['value']:g} {figure['unit']}; the goal is {bound}"


if __name__ == "__main__":
    sys.exit(main())
