"""Rehearse the example of three hospitals, once as it is and once with a fault at each: how long it takes, and which faults are named."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.parts.rehearsals import FAULTS, Played, play

EXAMPLE = Path(__file__).parent.parent / "examples" / "three-hospitals"
HOSPITALS = ("east", "north", "south")
SECONDS, NAMED, ALARMS = "three hospitals, rehearsal", "faults named, of three", "faults named where there are none"
SIGNS = {"blocked": "Nothing is heard of it", "clock": "s ahead of the coordinator's", "disk": "disk has no room"}
"""What the coordinating centre must say of a hospital with each fault."""

WAIT, WAIT_IN_VAIN = 50.0, 25.0


def run(data: Path, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Return a figure for every goal under [rehearsal].

    Args:
        data: not needed.
        quick: makes no difference.
    """
    study = EXAMPLE / "study.toml"
    with tempfile.TemporaryDirectory() as place:
        well = play(_folder(place, "well"), study, dict.fromkeys(HOSPITALS, ""), WAIT, EXAMPLE)
        ill = play(_folder(place, "ill"), study, dict(zip(HOSPITALS, FAULTS, strict=True)), WAIT_IN_VAIN, EXAMPLE)
    named = [fault for site, fault in zip(HOSPITALS, FAULTS, strict=True) if SIGNS[fault] in ill.found(site) and ill.codes[site] == 1]
    whole = well.seconds if well.document["ok"] else None
    figures = [
        _figure(SECONDS, whole, "s"),
        _figure(NAMED, len(named), "faults"),
        _figure(ALARMS, len(well.document["faults"]), "faults"),
    ]
    return figures, "\n".join([*_told("without faults", well), "", *_told("a blocked site, a wrong clock, a full disk", ill)])


def _folder(place: str, name: str) -> Path:
    made = Path(place) / name
    made.mkdir()
    return made


def _told(what: str, played: Played) -> list[str]:
    found = played.document
    lines = [f"{what}: {played.seconds:.1f} s, {found['rounds']} rounds, {found['bytes_up']} bytes of sums up; exit code {played.code}"]
    return lines + [f"  {one['site'] or 'the study'}: {one['what']} {one['remedy']}" for one in found["faults"]]


def _figure(what: str, value: float | None, unit: str) -> dict[str, Any]:
    shown = None if value is None else round(value, 3)
    return {"what": what, "value": shown, "unit": unit, "n": 1, "seeds": [], "low": shown, "high": shown}
