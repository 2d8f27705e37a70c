"""Run one case of one rival and print what was found as JSON, so that it can be tried alone.

python -m benchmarks.rivals --rival flower --case tiny --work FOLDER
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import signal
import sys
from pathlib import Path

from benchmarks.rivals import faults, flower, nvflare, timing, venvs
from benchmarks.rivals.rival import Rival

RIVALS: dict[str, Rival] = {"flower": flower, "nvflare": nvflare}
CASES = {"tiny": (3, 0.03, 10), "ten": (10, 28, 5), "large": (3, 500, 3)}
"""Sites, megabytes and rounds of each case that is timed."""


def main() -> int:
    """Print the figures of a case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description="Run one case of one rival.")
    parser.add_argument("--rival", choices=sorted(RIVALS), required=True)
    parser.add_argument("--case", choices=[*CASES, "faults"], required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository for environments and runs")
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a timed case is given up")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run with its logs")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    python, versions = venvs.prepare(chosen.rival, chosen.work.resolve())
    folder = chosen.work.resolve() / "runs" / f"{chosen.rival}-{chosen.case}"
    shutil.rmtree(folder, ignore_errors=True)
    rival = RIVALS[chosen.rival]
    case = CASES.get(chosen.case)
    found = timing.timed(rival, python, *case, folder, chosen.limit) if case else faults.observed(rival, python, folder)
    if not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    today = datetime.date.today().isoformat()
    print(json.dumps({"rival": chosen.rival, "case": chosen.case, "date": today, "versions": versions, "figures": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
