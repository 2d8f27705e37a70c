"""What it costs that nobody sees a single hospital's sums: processor time, bytes, memory, and the time of a round.

Processor time is that of one site's true gate: each exchange from the task taken in to the reply signed, logged and committed, among them
the answer masked, sealed, written and committed to; encoding is not in it, since a plain round has it too. Bytes are those of all messages
and uploads as the hub gets them. Memory is what a gate needs at most to encode, mask and write an answer, beyond what it held before.
Values are made up.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.federation import figure
from benchmarks.parts.deployment import echo
from benchmarks.rivals import venvs

MASKS = "masks of one site, per million parameters, {} sites"
WHOLE = "whole protocol at one site, per million parameters, {} sites"
UPLOAD = "upload over float32, 10 sites"
FASTER = "masking: times faster than TenSEAL CKKS in the same run"
SMALLER = "masking: times smaller than TenSEAL CKKS"
MEMORY = "100 million parameters, 10 sites: memory at a site over the update's size"
ROUND = "10 sites x 28 MB, one round, over the plain round's time in the same run"
NUMBERS, TENSOR = 10_000_000, 1_000_000
LARGE, LARGEST = 100_000_000, 16_000_000
ROUND_NUMBERS, LIMIT = 7_000_000, 600.0
APP = Path(__file__).parent / "rivals" / "apps" / "tenseal_app" / "encrypt.py"
Figures = list[dict[str, Any]]


def run(data: Path, quick: bool) -> tuple[Figures, str]:
    """Return a figure for every goal under [secure-sum], and how each came about.

    Args:
        data: not needed.
        quick: smaller models and each thing once; without TenSEAL.
    """
    figures: Figures = []
    text: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        ten = costs(work / "ten", 10, NUMBERS // (4 if quick else 1), TENSOR, 1 if quick else 5)
        for found, lines in (
            at_a_site(work, ten, quick),
            ([], []) if quick else beside_tenseal(work, ten),
            large(work, quick),
            rounds(work, quick),
        ):
            figures += found
            text += [*lines, ""]
    return figures, "\n".join(text).rstrip()


def costs(place: Path, sites: int, numbers: int, tensor: int, times: int) -> list[dict[str, Any]]:
    """Return what one site's part of a round costs, measured so many times, each in a process of its own."""
    found = []
    for _ in range(times):
        command = [sys.executable, "-m", "benchmarks.parts.masking", str(place), *map(str, (sites, numbers, tensor))]
        done: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        shutil.rmtree(place)
        if done["refused"]:
            raise RuntimeError(f"the round failed: {done['refused'][0]}")
        found.append({**done, "whole": sum(done["steps"].values()), "numbers": numbers, "sites": sites})
    return found


def spread(what: str, runs: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float], unit: str) -> dict[str, Any]:
    """Return the median of one thing over several runs, with the least and the most."""
    values = [of(one) for one in runs]
    return {**figure(what, statistics.median(values), unit, len(values), min(values), max(values)), "value": statistics.median(values)}


def per_million(name: str) -> Callable[[dict[str, Any]], float]:
    """Return what gives one of the costs per million parameters."""
    return lambda one: round(float(one[name]) / one["numbers"] * 1e6, 5)


def at_a_site(work: Path, ten: Sequence[dict[str, Any]], quick: bool) -> tuple[Figures, list[str]]:
    """Return processor time and bytes at one site."""
    fifty = costs(work / "fifty", 50, NUMBERS // (4 if quick else 1), TENSOR, 1 if quick else 3)
    figures, lines = [], ["processor seconds at one site per million parameters (int32): masks, whole protocol; encoding beside it"]
    for runs in (ten, fifty):
        sites = runs[0]["sites"]
        both = [
            spread(MASKS.format(sites), runs, per_million("masks"), "s CPU"),
            spread(WHOLE.format(sites), runs, per_million("whole"), "s CPU"),
        ]
        encode = statistics.median(per_million("encode")(one) for one in runs)
        steps = ", ".join(f"{name} {statistics.median(one['steps'][name] for one in runs):.4f}" for name in runs[0]["steps"])
        figures += both
        lines.append(f"  {sites} sites: {both[0]['value']:.4f}, {both[1]['value']:.4f}; {encode:.4f}")
        lines.append(f"    by exchange, of {runs[0]['numbers'] / 1e6:g} million: {steps}")
    upload = [one["said"] / (4 * one["numbers"]) for one in ten]
    figures.append({**figure(UPLOAD, statistics.median(upload), "x", len(upload)), "value": round(statistics.median(upload), 5)})
    lines.append(f"  said by one of 10 sites in a round: {ten[0]['said']} bytes, {upload[0]:.5f} of float32")
    return figures, lines


def beside_tenseal(work: Path, ten: Sequence[dict[str, Any]]) -> tuple[Figures, list[str]]:
    """Return how masking stands beside homomorphic encryption; of its two kinds of keys the faster one counts."""
    python, versions = venvs.prepare("tenseal", work / "rivals")
    said = subprocess.run([str(python), str(APP), "5"], check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    lines = [f"TenSEAL {versions['tenseal']}, CKKS, N = 8192, moduli [60, 40, 60], scale 2^40, 4096 numbers a ciphertext, one thread:"]
    theirs = {}
    for key in ("public", "symmetric"):
        seconds = statistics.median(one["seconds"] for one in rows if one["key"] == key)
        size = statistics.median(one["bytes"] for one in rows if one["key"] == key)
        theirs[key] = (seconds, size)
        lines.append(f"  {key} key: {seconds:.3f} s CPU and {size / 1e6:.2f} MB a million, encrypted and serialised")
    seconds, size = min(theirs.values())
    masks, whole = (statistics.median(per_million(name)(one) for one in ten) for name in ("masks", "whole"))
    ours = statistics.median(per_million("said")(one) for one in ten)
    lines.append(f"  ours, 10 sites: masks {masks:.4f} s, whole protocol {whole:.4f} s, {ours / 1e6:.2f} MB; the faster of its keys counts")
    lines.append(f"  whole protocol: {seconds / whole:.0f} times faster")
    return [figure(FASTER, seconds / masks, "x", 5), figure(SMALLER, size / ours, "x", 5)], lines


def large(work: Path, quick: bool) -> tuple[Figures, list[str]]:
    """Return a gate's memory for a large model, as tensors of a usual size and as a single one."""
    numbers = LARGE // (10 if quick else 1)
    found = {}
    for what, tensor in (("tensors of at most 16 million", LARGEST // (10 if quick else 1)), ("a single tensor", numbers)):
        found[what] = costs(work / "large", 10, numbers, tensor, 1)[0]["memory"] / (4 * numbers)
    lines = [f"memory to encode, mask and write {numbers / 1e6:g} million parameters, 10 sites, over the update's size"]
    lines += [f"  {what}: {value:.2f}" for what, value in found.items()]
    return [
        figure(MEMORY, found["tensors of at most 16 million"], "x", 1),
        figure(f"{MEMORY}, in a single tensor", found["a single tensor"], "x", 1),
    ], lines


def rounds(work: Path, quick: bool) -> tuple[Figures, list[str]]:
    """Return a round between hospitals beside the plain one: by turns, so that both meet the same machine."""
    seconds: dict[str, list[float]] = {"plain": [], "secure": []}
    numbers = ROUND_NUMBERS // (4 if quick else 1)
    for _ in range(1 if quick else 3):
        for combine, kept in seconds.items():
            found = echo(work / "round", 10, numbers, 3 if quick else 5, LIMIT, combine)
            shutil.rmtree(work / "round")
            if found["refused"]:
                return [], [f"rounds not measured, {combine}: {found['refused'][0]}"]
            kept += found["seconds"][1:]  # in the first nobody has a round to repeat
    plain, secure = (statistics.median(seconds[name]) for name in ("plain", "secure"))
    lines = [f"one round of 10 sites without training, {numbers / 1e6:g} million parameters, median of {len(seconds['plain'])} in seconds"]
    lines += [f"  {name}: {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})" for name, values in seconds.items()]
    return [figure(ROUND, secure / plain, "x", len(seconds["plain"]))], lines
