"""What happens when something dies: coordinator, hub or site killed at random moments, a site frozen, a site cut off, a site revoked.

Everything runs by its own commands on loopback, as in hospitals; rows are made up, and nothing here says anything about a model's worth.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.parts.relay import Relay
from benchmarks.parts.served import Served, serve, wait_for
from tests.support import protocol
from wardround import centre
from wardround.engines import hubkeys
from wardround.engines.connection import Connection
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.site.folder import MEMBERSHIP
from wardround.study.protocol import Protocol

KILLED = "kill -9 at random moments: studies lost"
DIGESTS = "kill -9 at random moments: runs that end with another digest"
WRONG = "kill -9 at random moments: faults in the record"
NEXT = "kill -9: next action after the restart, worst"
FROZEN = "a frozen site is named"
CUT = "a site whose line is cut is named"
REVOKED = "a revoked site is cut off"
SEED = 17
SITES, ROUNDS = 3, 250
LONGEST = 180.0
TARGETS = ("coordinator", "hub", "site")
Figures = list[dict[str, Any]]


def run(data: Path, quick: bool) -> tuple[Figures, str]:
    """Return a figure for every goal under [faults], and how each came about.

    Args:
        data: not needed.
        quick: fewer kills.
    """
    figures: Figures = []
    text: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        for found, lines in (
            killed(Path(place) / "killed", 3 if quick else 20),
            named(Path(place) / "frozen", FROZEN, freeze),
            named(Path(place) / "cut", CUT, cut),
            revoked(Path(place) / "revoked", 3 if quick else 10),
        ):
            figures += found
            text += [*lines, ""]
    return figures, "\n".join(text).rstrip()


def figure(what: str, values: list[float], unit: str, worst: float | None = None) -> dict[str, Any]:
    """Return one figure: the worst of several values."""
    value = max(values, default=float("nan")) if worst is None else worst
    low, high = (min(values), max(values)) if values else (None, None)
    return {"what": what, "value": round(value, 3), "unit": unit, "n": len(values), "seeds": [SEED], "low": low, "high": high}


def plan() -> Protocol:
    """Return a study of many short rounds, in which every site must answer."""
    phases = [{"name": "moments", "kind": "moments"}, {"name": "train", "kind": "fedavg", "rounds": ROUNDS, "batch_size": 16}]
    rounds = {"quorum": SITES, "due_seconds": 60, "lost_seconds": 60}
    return protocol(phases=phases, rounds=rounds, bounds={"sites": SITES, "examples": 500}, privacy={"counts": True})


def killed(place: Path, kills: int) -> tuple[Figures, list[str]]:
    """Kill each part in turn at random moments, start it again at once, and compare what comes of the studies."""
    dice, agreed = random.Random(SEED), plan()
    calm = one_run(place / "calm", agreed, None, 0.0)
    ends = [one_run(place / f"kill{n}", agreed, TARGETS[n % len(TARGETS)], dice.uniform(0.2, 5.0)) for n in range(kills)]
    lost = [one for one in ends if one["digest"] is None]
    other = [one for one in ends if one["digest"] not in (None, calm["digest"])]
    wrong = [one for one in (calm, *ends) if one["wrong"]]
    nexts = [one["next"] for one in ends if one["next"] is not None]
    lines = [f"{kills} kills, one a study of {ROUNDS} rounds at {SITES} sites; the model without any: {calm['digest']}"]
    for target in TARGETS:
        seconds = [one["next"] for one in ends if one["target"] == target and one["next"] is not None]
        lines.append(
            f"  {target}: {len(seconds)} kills while it ran; next action after {min(seconds):.2f} to {max(seconds):.2f} s"
            if seconds
            else ""
        )
    lines += [f"  {one['target']} after {one['moment']:.2f} s: {one['why']}" for one in (*lost, *other, *wrong)]
    found = [figure(KILLED, [], "studies", len(lost)), figure(DIGESTS, [], "runs", len(other)), figure(WRONG, [], "runs", len(wrong))]
    return [*found, figure(NEXT, nexts, "s")], lines


def one_run(place: Path, agreed: Protocol, target: str | None, moment: float) -> dict[str, Any]:
    """Run one study, killing a part of it once, and return how it ended; what was killed starts again at once."""
    served = serve(place, SITES, agreed)
    found: dict[str, Any] = {"target": target, "moment": moment, "digest": None, "next": None, "wrong": [], "why": ""}
    try:
        if target is not None and served.first(0.0, "sums sent", 60) is not None:
            time.sleep(moment)
            if served.coordinator.process.poll() is None:
                found["next"] = strike(served, target)
        ended = wait_for(lambda: time.monotonic() if served.coordinator.process.poll() is not None else None, time.monotonic() + LONGEST)
        said = [line for _, line in served.coordinator.lines[-3:]]
        if ended is None or not (served.folder.path / "result.json").exists():
            return {**found, "why": f"not finished; last said: {said}"}
        found["digest"] = json.loads((served.folder.path / "result.json").read_text())["model_digest"]
        report = verify(served.folder.path)
        found["wrong"] = [line.name for line in report.lines if line.verdict is Verdict.FAIL]
        found["why"] = f"digest {found['digest']}, failing lines {found['wrong']}"
        return found
    finally:
        served.close()


def strike(served: Served, target: str) -> float | None:
    """Kill a part, start it again, and return after how many seconds the study moved on; None when it had ended."""
    if target == "hub":
        served.kill_hub()
        began = time.monotonic()
        moved = served.first(began, "sums sent", 30)
    elif target == "coordinator":
        served.coordinator.process.kill()
        served.coordinator.process.wait()
        began = served.coordinator.start()
        moved = served.first(began, "sums sent", 30)
    else:
        name = sorted(served.sites)[0]
        os.killpg(served.sites[name].process.pid, signal.SIGKILL)
        served.sites[name].process.wait()
        began = served.sites[name].start()
        moved = served.first(began, "sums sent", 30, only=name)
    return None if moved is None else moved - began


def named(place: Path, what: str, strike_one: Any) -> tuple[Figures, list[str]]:
    """Take one site away without killing it, and measure after how long the coordinator names it."""
    seconds: list[float] = []
    for number in range(3):
        served = serve(place / str(number), SITES, plan())
        undo = None
        try:
            name, undo = strike_one(served)
            served.first(0.0, "sums sent", 60)
            time.sleep(1.0)
            began = time.monotonic()
            undo("away")
            told = wait_for(partial(served.coordinator.after, began, f"{name} is lost"), began + 60)
            if told is None:
                return [], [f"{what}: not within 60 s"]
            seconds.append(told - began)
        finally:
            if undo is not None:
                undo("back")
            served.close()
    return [figure(what, seconds, "s")], [f"{what} after {', '.join(f'{one:.2f}' for one in seconds)} s (n = {len(seconds)})"]


def freeze(served: Served) -> tuple[str, Any]:
    """Return a site and what freezes it."""
    name = sorted(served.sites)[0]
    group = served.sites[name].process.pid
    return name, lambda how: os.killpg(group, signal.SIGSTOP if how == "away" else signal.SIGCONT)


def cut(served: Served) -> tuple[str, Any]:
    """Return a site whose line runs through a relay that can be made to swallow everything, as a cut cable does."""
    name = sorted(served.sites)[0]
    place, spoken = served.places[name], served.sites[name]
    spoken.end()
    url = urlsplit(place.membership.url)
    relay = Relay(str(url.hostname), int(url.port or 0))
    member = json.loads((place.path / MEMBERSHIP).read_text())
    (place.path / MEMBERSHIP).write_text(json.dumps({**member, "url": f"tls://127.0.0.1:{relay.port}"}))
    spoken.start()
    wait_for(lambda: spoken.after(0.0, "sums sent"), time.monotonic() + 60)
    return name, lambda how: relay.swallow() if how == "away" else relay.close()


def revoked(place: Path, times: int) -> tuple[Figures, list[str]]:
    """Measure from the call that revokes an online site to the moment at which its connection is gone."""
    served = serve(
        place, 2, protocol(bounds={"sites": 3, "examples": 500}, privacy={"counts": True}, rounds={"quorum": 2, "due_seconds": 60})
    )
    seconds: list[float] = []
    try:
        for number in range(times):
            seconds.append(_revoke(served, place / f"guest{number}", f"guest{number}"))
    finally:
        served.close()
    return [figure(REVOKED, seconds, "s")], [f"{REVOKED} after {min(seconds):.3f} to {max(seconds):.3f} s (n = {len(seconds)})"]


def _revoke(served: Served, place: Path, name: str) -> float:
    from wardround import hospital
    from wardround.site.folder import SiteFolder

    place.mkdir()
    (place / "invite").write_bytes(centre.invite(served.folder, name, 1))
    hospital.join(place, place / "invite")
    member = SiteFolder(place).membership
    link = Connection(member.url, member.authority, hubkeys.seed(SiteFolder(place).hub_key), member.slot)
    gone = threading.Event()
    watch = threading.Thread(target=_until_gone, args=(link, gone), daemon=True)
    watch.start()
    began = time.monotonic()
    centre.cut_off(served.folder, name, "revoked")
    gone.wait(30)
    seconds = time.monotonic() - began
    link.close()
    return seconds


def _until_gone(link: Connection, gone: threading.Event) -> None:
    while link.connected:
        time.sleep(0.001)
    gone.set()
