"""Say before anybody signs what a study will take: hours, bytes, memory and money, of each site and in all.

Bytes follow from the plan: a few rounds of the true messages are made and measured. Seconds come from the same few rounds on this machine,
on made-up rows of the sites' sizes, and are drawn out to the number of rounds in the plan. Between hospitals the sites work at the same
time, so a round takes as long as its slowest site in each exchange, and what the line takes. Nothing of a patient is read.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardround.rates import Rates, priced
from wardround.study.arrays import to_bytes
from wardround.study.errors import ProtocolError, WardroundError
from wardround.study.protocol import Protocol
from wardround.study.protocol.rehearsed import shortened
from wardround.study.protocol.sections import Stop

FEW, SOME, SHARE = 1, (3, 8), 5
"""Rounds of each phase in the two calibrations where the plan has more; in the second a fifth of the plan's, within these bounds."""

MOST_ROWS, MOST_SITES = 20_000, 40
"""Rows of a site and sites with which it is tried out; beyond these, seconds are drawn out in proportion."""

EXCHANGE = 0.015
"""Seconds beside the line and the sites' work that an exchange with the sites takes over a hub, as measured by `benchmarks federation`."""

_GROWS = 1.3
"""Times by which a phase of one round must take longer after more rounds of training, to count as growing with them."""

_DUE = 3600.0
"""Seconds that the calibration may take."""


@dataclass(frozen=True)
class Calibration:
    """Hold what a few rounds took.

    Attributes:
        cold: of few rounds, the first thing that a process does.
        few: the same once more.
        some: of some rounds.
        worker: of few rounds, answered by a worker process.
        peak: memory of the process that did all of this but the last, bytes.
        gate: memory of a hospital's gate before the first round, bytes.
        coordinator: the same of the coordinator.
        rows: by site, with which it was tried out.
        scale: by which sites are larger than that.
    """

    cold: Mapping[str, Any]
    few: Mapping[str, Any]
    some: Mapping[str, Any]
    worker: Mapping[str, Any]
    peak: int
    gate: int
    coordinator: int
    rows: Mapping[str, int]
    scale: float


def estimate(
    protocol: Protocol, rows: Mapping[str, int], mbit: float = 0.0, latency: float = 0.0, rates: Rates | None = None
) -> dict[str, Any]:
    """Return what a study will take.

    Args:
        protocol: complete, without initial parameters.
        rows: of each site.
        mbit: megabits a second of the coordinating centre's line, 0 where it is not known.
        latency: seconds for a message there and back.
        rates: what things cost, None where that is not known.

    Raises:
        ProtocolError: too many sites, or too few for the quorum.
        WardroundError: the calibration failed.
    """
    _possible(protocol, rows)
    made = calibrate(protocol, rows)
    phases = [_phase(protocol, made, algorithm.phase, rows, mbit, latency) for algorithm in protocol.algorithms]
    total = {key: sum(phase[key] for phase in phases) for key in phases[0] if key != "phase"}
    hospitals = _hospitals(made, total, len(rows))
    stops = protocol.trains and (protocol.stop.patience is not None or protocol.stop.target is not None)
    early = any(0 < len(_of(made.some, phase)) < min(_rounds(protocol, phase), made.some["most"]) for phase in protocol.by_phase)
    return {
        "study": protocol.study,
        "protocol_digest": protocol.digest,
        "sites": {name: {"examples": count} for name, count in sorted(rows.items())},
        "rounds": total["rounds"],
        "at_most": stops or early,
        "phases": phases,
        "hospitals": {**hospitals, "line_counted": mbit > 0},
        "simulation": _simulation(protocol, made, phases, total),
        "privacy": {"epsilon": None, "delta": None, "note": "no DP"},
        "money": "not known" if rates is None else dict(priced(rates, len(rows), hospitals["hours"], total["down"], total["up"])),
        "tried_with": {"sites": len(made.rows), "examples": max(made.rows.values()), "rounds": made.some["most"]},
    }


def _possible(protocol: Protocol, rows: Mapping[str, int]) -> None:
    most, least = protocol.bounds, protocol.rounds.quorum
    if len(rows) > most.sites or len(rows) < least:
        message = f"The plan is for {least} to {most.sites} sites, and not for {len(rows)}."
        raise ProtocolError(message, "Give another number of sites, or change bounds.sites or rounds.quorum.")
    if max(rows.values()) > most.examples:
        raise ProtocolError(
            f"A site has more than bounds.examples = {most.examples} rows.", "Raise bounds.examples, or give a smaller number."
        )


def calibrate(protocol: Protocol, rows: Mapping[str, int]) -> Calibration:
    """Try a study out in a process of its own.

    Raises:
        WardroundError: it failed; says why.
    """
    sites = sorted(rows)[: max(MOST_SITES, protocol.rounds.quorum)]
    tried = {name: min(rows[name], MOST_ROWS) for name in sites}
    rounds = min(max(_longest(protocol) // SHARE, SOME[0]), SOME[1])
    plans = {str(most): _shortened(protocol, most).model_dump(mode="json") for most in (FEW, rounds)}
    asked = {"part": "study", "protocol": plans[str(FEW)], "plans": plans, "rows": tried}
    with tempfile.TemporaryDirectory() as place:
        asked["model"] = _laid_down(protocol, Path(place))
        study = _child({**asked, "runs": [[FEW, 0], [FEW, 0], [rounds, 0]]})
        worker = _child({**asked, "runs": [[FEW, 1]]})
    for one in (*study["runs"], *worker["runs"]):
        if one["refused"]:
            raise WardroundError(f"On made-up rows a site refused: {one['refused'][0]}", "Rehearse the study: wardround study rehearse.")
    resident = [int(_child({"part": part, "protocol": plans[str(FEW)]})["peak"]) for part in ("gate", "coordinator")]
    scale = max(rows.values()) / max(tried.values())
    cold, few, some = study["runs"]
    return Calibration(cold, few, some, worker["runs"][0], study["peak"], resident[0], resident[1], tried, scale)


def _laid_down(protocol: Protocol, place: Path) -> str:
    """Lay down for the process apart the file that the plan names and does not hold; return where, nothing where there is none."""
    if not protocol.evaluates and not protocol.model.start:
        return ""
    (place / "model.safetensors").write_bytes(to_bytes(protocol.brought if protocol.evaluates else protocol.checkpoint))
    return str(place / "model.safetensors")


def _shortened(protocol: Protocol, most: int) -> Protocol:
    """Return a plan whose phases have at most so many rounds, and that no stop rule ends earlier."""
    return protocol.changed(phases=shortened(protocol, most), stop=Stop(keep=protocol.stop.keep), initial={})


def _child(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a process of its own found."""
    remedy = "Check the study first: wardround study check. If it is in order, report this with the command that led here."
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wardround.calibration"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_DUE,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise WardroundError("Trying the study out takes more than an hour.", "Give fewer --examples or sites.") from error
    except (OSError, ValueError) as error:
        raise WardroundError("Trying the study out failed.", remedy) from error
    if "error" in found:
        raise WardroundError(found["error"], found["remedy"])
    return found


def _phase(protocol: Protocol, made: Calibration, phase: str, rows: Mapping[str, int], mbit: float, latency: float) -> dict[str, Any]:
    """Return what one phase takes: rounds, bytes, and seconds in a simulation and between hospitals."""
    few, some = (_of(run, phase) for run in (made.few, made.some))
    more = _more(protocol, phase, len(some), int(made.some["most"]))
    simulated = _drawn_out(made, few, some, more, protocol, lambda row: _here(row, made, rows))
    together = _drawn_out(made, few, some, more, protocol, lambda row: _apart(row, made.scale, latency))
    share = len(rows) / len(made.rows)
    wire = {key: _all_rounds([sum(row[key].values()) for row in some], more, share) for key in ("up", "down")}
    sums = {name: _all_rounds([row[name] for row in some], more, share) for name in ("bytes_up", "bytes_down")}
    line = sum(wire.values()) * 8 / (mbit * 1e6) if mbit else 0.0
    return {"phase": phase, "rounds": len(some) + more, **wire, **sums, "simulated_seconds": simulated, "seconds": together + line}


def _more(protocol: Protocol, phase: str, tried: int, most: int) -> int:
    """Return how many rounds a phase may have beyond those tried: also where it ended early on made-up rows, it may not on others.

    Args:
        protocol: the plan.
        phase: its name.
        tried: rounds of it in the calibration; none for a choice among settings, which asks nobody.
        most: that it could have there.
    """
    rounds = _rounds(protocol, phase)
    beside = max(tried - min(rounds, most), 0)  # such as the one in which training only validates
    return max(rounds + beside - tried, 0) if tried else 0


def _of(run: Mapping[str, Any], phase: str) -> list[dict[str, Any]]:
    return [row for row in run["rounds"] if row["phase"] == phase]


def _all_rounds(sizes: Sequence[int], more: int, sites: float) -> int:
    """Return the bytes of the rounds that were tried and of the others, which are like the later of these."""
    return round((sum(sizes) + (more * statistics.mean(sizes[1:] or sizes) if more else 0)) * sites)


def _rounds(protocol: Protocol, phase: str) -> int:
    """Return how many rounds a phase has at most."""
    return int(getattr(protocol.by_phase[phase].options, "rounds", 1))


def _longest(protocol: Protocol) -> int:
    """Return the most rounds that a phase has."""
    return max(_rounds(protocol, one.phase) for one in protocol.algorithms)


def _drawn_out(made: Calibration, few: Any, some: Any, more: int, protocol: Protocol, cost: Any) -> float:
    """Return the seconds of all rounds of a phase: those tried, and the others like the later ones of these."""
    known = sum(map(cost, some))
    if more > 0:
        return float(known + more * statistics.median(map(cost, some[1:] or some)))
    return float(_grown(sum(map(cost, few)), known, made, protocol) if len(few) == len(some) else known)


def _grown(few: float, some: float, made: Calibration, protocol: Protocol) -> float:
    """Return the seconds of what is done once and may take longer with the rounds of training, as a model of a site's own does."""
    rounds = _longest(protocol)
    first, second = min(int(made.few["most"]), rounds), min(int(made.some["most"]), rounds)
    if rounds <= second or second == first or some < _GROWS * few:
        return some
    return some + (some - few) / (second - first) * (rounds - second)


def _here(row: Mapping[str, Any], made: Calibration, rows: Mapping[str, int]) -> float:
    """Return the seconds of a round where all sites work one after the other."""
    work = sum(sum(sites.values()) for sites in row["stages"].values())
    share = sum(rows.values()) / max(sum(made.rows.values()), 1)
    return float(row["seconds"] - work + work * share)


def _apart(row: Mapping[str, Any], scale: float, latency: float) -> float:
    """Return the seconds of a round where sites work at the same time: in each exchange, the slowest's."""
    stages = row["stages"].values()
    work = sum(sum(sites.values()) for sites in stages)
    slowest = sum(max(sites.values(), default=0.0) for sites in stages)
    return float(row["seconds"] - work + slowest * scale + len(row["stages"]) * (EXCHANGE + latency))


def _hospitals(made: Calibration, total: Mapping[str, float], sites: int) -> dict[str, Any]:
    """Return what a study between hospitals takes, of a site and in all."""
    parameters, seconds = int(made.few["parameters"]), total["seconds"] + _starting(made)
    site = {
        "bytes_up": round(total["up"] / sites),
        "bytes_down": round(total["down"] / sites),
        "memory": made.gate + made.worker["worker"] + 2 * parameters,
    }
    centre = {"memory": made.coordinator + round(2.5 * parameters)}
    everything = {"bytes_up": total["up"], "bytes_down": total["down"]}
    return {"seconds": seconds, "hours": seconds / 3600, "site": site, "coordinator": centre, "all": everything}


def _starting(made: Calibration) -> float:
    """Return the seconds until a worker process answers its first task: it loads its libraries and the snapshot."""
    worker, here = (sum(row["seconds"] for row in run["rounds"]) for run in (made.worker, made.few))
    return float(max(worker - here, 0.0))


def _simulation(protocol: Protocol, made: Calibration, phases: Sequence[Mapping[str, Any]], total: Mapping[str, float]) -> dict[str, Any]:
    """Return what the same study takes with all sites on this machine, models for comparison included."""
    warming = max(sum(row["seconds"] for row in made.cold["rounds"]) - sum(row["seconds"] for row in made.few["rounds"]), 0.0)
    judging = _grown(made.few["judging"], made.some["judging"], made, protocol)
    rounds = total["simulated_seconds"] + warming
    return {
        "seconds": rounds + judging + made.cold["fixed"],
        "rounds_seconds": rounds,
        "bytes_up": total["bytes_up"],
        "bytes_down": total["bytes_down"],
        "memory": made.peak,
    }
