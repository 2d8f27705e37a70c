"""Play the two attempts whose bytes stand in tests/vectors/secure; run as a module, write them anew.

python -m tests.combining.secure.golden
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.combining.secure.exchange import Exchange, task
from wardround.combining.secure.masks import add

FOLDER = Path(__file__).parents[2] / "vectors/secure"
ATTEMPTS: Mapping[str, tuple[tuple[str, ...], Mapping[str, Collection[str]]]] = {
    "three": (("aarau", "basel", "chur"), {}),
    "five": (("aarau", "basel", "bern", "chur", "olten"), {"answer": ["bern"]}),
}
"""Sites, and who drops out before which stage."""


def sums(place: int) -> dict[str, np.ndarray]:
    """Return the sums of the site at a place: two tensors, of 32 and of 64 bits."""
    small = np.array([place, -place, 2**31 - 1 - place, -(2**31) + place, 1000 * place], np.int32)
    large = np.array([[place, -(2**63) + place], [2**63 - 1 - place, 10**15 * place]], np.int64)
    return {"small": small, "large": large}


def made(name: str) -> dict[str, Any]:
    """Return everything that is said and computed in an attempt."""
    names, gone = ATTEMPTS[name]
    exchange = Exchange(names, fixed=True)
    exchange.play(gone)
    asked = task("")
    sites: dict[str, Any] = {}
    for place, site in enumerate(names, start=1):
        session = exchange.sessions[site]
        sites[site] = {
            "identity": exchange.sessions[site].adverts[site].identity,
            "secrets": {what: getattr(session, what) for what in ("channel", "mask", "seed", "part")},
            "masks": [[mask.sign, mask.key.hex()] for mask in session.masks()],
            "sums": {tensor: _texts(value) for tensor, value in sums(place).items()},
        }
    survivors = list(exchange.said["answer"])
    hidden = {tensor: {site: _hidden(exchange, tensor, site) for site in survivors} for tensor in ("small", "large")}
    return {
        "task": {what: getattr(asked, what) for what in ("study", "protocol", "phase", "round", "attempt", "ask", "roster")},
        "quorum": exchange.quorum,
        "bond": exchange.bond,
        "listed": exchange.sessions[survivors[0]].listed,
        "sites": sites,
        "said": {stage: {site: said.decode() for site, said in by.items()} for stage, by in exchange.said.items() if stage != "answer"},
        "passed on": {
            stage: {site: exchange.passed(stage, site).decode() for site in by} for stage, by in exchange.said.items() if stage != "keys"
        },
        "masked": {tensor: {site: _texts(value) for site, value in by.items()} for tensor, by in hidden.items()},
        "taken off": [[mask.sign, mask.key.hex()] for mask in exchange.opening().masks()],
        "total": {tensor: _texts(_total(exchange, place, by)) for place, (tensor, by) in enumerate(hidden.items())},
    }


def _hidden(exchange: Exchange, tensor: str, site: str) -> np.ndarray:
    return exchange.masked(site, sums(exchange.names.index(site) + 1)[tensor], ("small", "large").index(tensor))


def _total(exchange: Exchange, place: int, hidden: Mapping[str, np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(list(hidden.values()), axis=0, dtype=next(iter(hidden.values())).dtype)
    add(exchange.opening().masks(), place, total)
    return total.view(f"i{total.itemsize}")


def _texts(values: np.ndarray) -> list[str]:
    """Return integers as texts, since JSON's numbers end at 2^53."""
    return [str(value) for value in values.reshape(-1).tolist()]


def written(name: str) -> str:
    """Return the text of an attempt's file."""
    return json.dumps(made(name), indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in ATTEMPTS:
        (FOLDER / f"{name}.json").write_text(written(name))
