"""What the first release promises of itself: small enough to read, safe against kill -9, a record that finds every change, quick to start.

Everything but the demo runs on made-up hospitals, and nothing here says anything about a model's worth. Memory is that of the largest
process; the demo has one.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import wardround
from benchmarks.parts import clean, counting, hospitals, killing, measuring, spoiling
from benchmarks.parts.hospitals import Shape
from wardround.coordinator.book import Book
from wardround.coordinator.rounds import run_phase
from wardround.record.report import Verdict
from wardround.record.verify import verify

LINES = "run_phase and all it enters in one in-process training round"
KILLED = "kill -9 at random moments: runs that end with another digest"
SPOILED = "random mutations not found by verify"
ALARMS = "false alarms of verify on clean runs"
HELP = "wardround --help"
WALL = "demo, wall time"
MEMORY = "demo, peak memory"
TORCH = "rooms of the gate that load torch"
GATE = ("record", "site", "coordinator", "pages")
SEED = 42
Figures = list[dict[str, Any]]


def run(data: Path, quick: bool) -> tuple[Figures, str]:
    """Return a figure for every goal under [spine], and how each came about.

    Args:
        data: not needed; the demo brings its own.
        quick: fewer kills, mutations and clean runs.
    """
    figures: Figures = []
    text: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        for found, lines in (  # from outside first: a child starts with the memory of its parent
            started(3 if quick else 7),
            demo(Path(place)),
            killed(Path(place), 2 if quick else 20),
            round_lines(Path(place)),
            spoiled(Path(place), 100 if quick else 2000),
            alarms(Path(place), 4 if quick else 20),
        ):
            figures += found
            text += [*lines, ""]
    return figures, "\n".join(text).rstrip()


def figure(what: str, value: float, unit: str, n: int, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Return one figure in the benchmarks' form."""
    least, most = value if low is None else low, value if high is None else high
    return {
        "what": what, "value": round(value, 3), "unit": unit, "n": n, "seeds": [SEED], "low": round(least, 3), "high": round(most, 3)
    }  # fmt: skip


def started(times: int) -> tuple[Figures, list[str]]:
    """Measure how soon `--help` answers, and which rooms load torch."""
    middle, least, most = measuring.typical(measuring.command("--help"), times)
    loaded = measuring.rooms_with_torch(GATE)
    lines = [
        f"{HELP}: median {middle:.3f} s of {times} processes, {least:.3f} to {most:.3f} s",
        f"rooms loaded with all their modules: {', '.join(GATE)}; of these, torch comes with: {', '.join(loaded) or 'none'}",
    ]
    return [figure(HELP, middle, "s", times, least, most), figure(TORCH, len(loaded), "rooms", len(GATE))], lines


def demo(place: Path) -> tuple[Figures, list[str]]:
    """Run the demo as a user does, and look at its clock and its memory."""
    seconds, memory = measuring.once(measuring.command("demo", "--out", str(place / "demo")))
    lines = [f"demo: {seconds:.1f} s and {memory:.0f} MB at the peak, one process, from the command to the written report"]
    return [figure(WALL, seconds, "s", 1), figure(MEMORY, memory, "MB", 1)], lines


def killed(place: Path, times: int) -> tuple[Figures, list[str]]:
    """Kill a study at random moments of its whole duration, every second run twice, and compare the models in the end."""
    made = hospitals.write(place / "kill" / "inputs")
    calm = killing.run(made, place / "kill" / "calm")
    dice = random.Random(SEED)
    other, kills, runs, lines = 0, 0, 0, [f"undisturbed run: {calm.seconds:.1f} s, model {calm.digest}"]
    while kills < times:
        runs += 1
        moments = [dice.uniform(0, calm.seconds) for _ in range(1 + runs % 2)]
        ended = killing.run(made, place / "kill" / str(runs), moments)
        kills += ended.kills
        wrong = ended.digest != calm.digest or bool(ended.wrong)
        other += wrong
        at = " and ".join(f"{moment:.2f} s" for moment in moments[: ended.kills])
        told = f"ANOTHER END, {ended.digest or 'no model'} {'; '.join(ended.wrong)}" if wrong else "same model, nothing fails"
        lines.append(f"  killed at {at or 'no moment'}: {told}")
    lines.insert(1, f"{kills} kills in {runs} runs; {other} ended with another digest, an error or a FAIL of verify")
    return [figure(KILLED, other, "runs", runs)], lines


def round_lines(place: Path) -> tuple[Figures, list[str]]:
    """Count the functions that a study's first training round enters."""
    functions = functions_of_a_round(place / "lines")
    total = sum(one.lines for one in functions)
    left_out = "class headers, fields, docstrings, comments, blanks, record/ and cli/"
    lines = [f"{total} lines in {len(functions)} whole functions, without {left_out}:"]
    lines += [f"  {one.lines:3}  {one.file}: {one.name}" for one in functions]
    return [figure(LINES, total, "lines", len(functions))], lines


def functions_of_a_round(place: Path) -> list[counting.Function]:
    """Run a small study in this process and return what its first training round entered, from `run_phase` to the next round's opening."""
    made = hospitals.write(place / "inputs", Shape(rounds=2, patients=40))
    opened = 0

    def begins(frame: FrameType) -> bool:
        return frame.f_code is run_phase.__code__ and frame.f_locals["step"].algorithm.phase == "train"

    def ends(frame: FrameType) -> bool:
        nonlocal opened
        opened += frame.f_code is Book.opened.__code__
        return opened == 2

    entered = counting.entered(lambda: wardround.simulate(made.study, list(made.sites), place / "run"), begins, ends)
    return counting.counted(entered, Path(wardround.__file__).parent, ("record", "cli"))


def spoiled(place: Path, times: int) -> tuple[Figures, list[str]]:
    """Change a finished run in one place, as often as asked, and count what verify does not find."""
    kind = clean.Kind("spoiled", Shape(sites=5, rounds=6, tune="learning_rate = [0.05, 0.2]"), lost=0.1, interrupted=(9,))
    done = clean.make(kind, place / "spoiled")
    tally = spoiling.spoil(done.folder, times, random.Random(SEED))
    lines = [f"{times} mutations of a finished run, {len(tally.missed)} not found:", tally.table()]
    return [figure(SPOILED, len(tally.missed), "mutations", times)], lines


def alarms(place: Path, runs: int) -> tuple[Figures, list[str]]:
    """Verify clean runs of many kinds, and count those in which a line fails."""
    found = list(_alarms(place / "clean", runs))
    false = sum("FAIL" in line for line in found)
    return [figure(ALARMS, false, "alarms", runs)], [f"{runs} clean runs, {false} with a FAIL:", *found]


def _alarms(place: Path, runs: int) -> Iterator[str]:
    for number, kind in enumerate(clean.kinds(runs)):
        done = clean.make(kind, place / str(number))
        report = verify(done.folder)
        failed = [f"FAIL {line.name}: {line.text}" for line in report.lines if line.verdict is Verdict.FAIL]
        missing = [line.name for line in report.lines if line.verdict is Verdict.INCOMPLETE]
        absent = len(done.result["refusals"])
        told = f"{report.totals.messages} messages, {absent} refused or absent, incomplete: {', '.join(missing)}"
        yield f"  {kind.name:35} {told}{'; ' if failed else ''}{'; '.join(failed)}"
