"""Make small studies with the secure sum among seven sites, run them, and say what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.engines.losing import Loss, digests, lose
from tests.support import PHASES, Small, protocol, rows, small
from wardround.coordinator import events
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol

SEVEN = tuple(f"site{number}" for number in range(7))
SECOND = ("train", 1)
TINY = [PHASES[0], {**PHASES[1], "rounds": 2, "batch_size": 64}]
"""Two phases, three rounds."""


def agreed(combine: str = "secure", sites: int = 7, **changes: Any) -> Protocol:
    """Return the plan of a study that so many sites take part in."""
    changes.setdefault("rounds", {})
    changes["rounds"] = {"quorum": 3, "attempts": 2, **changes["rounds"], "combine": combine}
    return protocol(**{"bounds": {"sites": sites, "examples": 500}, **changes})


def patients(count: int = 7) -> dict[str, Dataset]:
    return {f"site{number}": rows(number, 40 + number) for number in range(count)}


def ran(folder: Path, combine: str, *losses: Loss, sites: int = 7, **changes: Any) -> tuple[dict[str, str], Small]:
    """Run a study to its end; return what its phases came to."""
    folder.mkdir(parents=True)
    made = small(folder, agreed(combine, sites, **changes), patients(sites), wrap=lose(*losses), following=combine != "plain")
    done = digests(made.run())
    made.store.close()
    return done, made


def named(made: Small) -> set[tuple[str, int, str]]:
    """Return whose part in which round did not happen, as the record says."""
    entries = [event for event in made.seen if isinstance(event, events.Refused)]
    return {(one.phase, one.round, one.site) for one in entries}


def shorts(made: Small) -> list[tuple[str, int]]:
    """Return the rounds that had to be asked again."""
    opened = [(one.phase, one.round) for one in made.seen if isinstance(one, events.RoundOpened)]
    return sorted({turn for turn in opened if opened.count(turn) > 1})
