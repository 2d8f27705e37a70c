"""Play the attempts whose bytes stand in tests/vectors/secure; run as a module, write them anew.

python -m tests.combining.secure.golden
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.combining.secure.exchange import Exchange, task
from tests.combining.secure.one_message import HELPING, NAMES, Sum
from wardround.combining.secure.masks import add
from wardround.combining.secure.window import HELPERS, classes_of
from wardround.study.arrays import Arrays
from wardround.study.layout import Term

FOLDER = Path(__file__).parents[2] / "vectors/secure"
ATTEMPTS: Mapping[str, tuple[tuple[str, ...], Mapping[str, Collection[str]]]] = {
    "three": (("aarau", "basel", "chur"), {}),
    "five": (("aarau", "basel", "bern", "chur", "olten"), {"answer": ["bern"]}),
    "narrow": (("aarau", "basel", "bern", "chur"), {"answer": ["chur"]}),
}
"""Sites, and who drops out before which stage."""

BOUND = ("study", "protocol", "phase", "round", "attempt", "ask", "roster")
ONE_MESSAGE = "one-message"
NARROW = "narrow-one-message"
ABSENT = "basel"
"""A helper that gives no sums itself."""

LAYOUT = (Term("small", (5,), 32, 1.0, 1.0), Term("large", (2, 2), 64, 1.0, 1.0))


def sums(place: int) -> dict[str, np.ndarray]:
    """Return the sums of the site at a place: two tensors, of 32 and of 64 bits."""
    small = np.array([place, -place, 2**31 - 1 - place, -(2**31) + place, 1000 * place], np.int32)
    large = np.array([[place, -(2**63) + place], [2**63 - 1 - place, 10**15 * place]], np.int64)
    return {"small": small, "large": large}


def narrow(place: int) -> dict[str, np.ndarray]:
    """Return the sums of the site at a place: two tensors, of 8 and of 16 bits."""
    small = np.array([place, -place, 2**7 - 1 - place, -(2**7) + place, 10 * place], np.int8)
    large = np.array([[place, -(2**15) + place], [2**15 - 1 - place, 1000 * place]], np.int16)
    return {"small": small, "large": large}


SUMS: Mapping[str, Callable[[int], dict[str, np.ndarray]]] = {
    "three": sums, "five": sums, "narrow": narrow, ONE_MESSAGE: sums, NARROW: narrow
}  # fmt: skip
"""What each site gives, by attempt."""

LAYOUTS = {ONE_MESSAGE: LAYOUT, NARROW: (Term("small", (5,), 8, 1.0, 1.0), Term("large", (2, 2), 16, 1.0, 1.0))}
"""Of sums of one message, by name."""


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
            "sums": {tensor: _texts(value) for tensor, value in SUMS[name](place).items()},
        }
    survivors = list(exchange.said["answer"])
    hidden = {tensor: {site: _hidden(exchange, SUMS[name], tensor, site) for site in survivors} for tensor in ("small", "large")}
    return {
        "task": {what: getattr(asked, what) for what in BOUND},
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


def _hidden(exchange: Exchange, given: Callable[[int], dict[str, np.ndarray]], tensor: str, site: str) -> np.ndarray:
    return exchange.masked(site, given(exchange.names.index(site) + 1)[tensor], ("small", "large").index(tensor))


def _total(exchange: Exchange, place: int, hidden: Mapping[str, np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(list(hidden.values()), axis=0, dtype=next(iter(hidden.values())).dtype)
    add(exchange.opening().masks(), place, total)
    return total.view(f"i{total.itemsize}")


def _texts(values: np.ndarray) -> list[str]:
    """Return integers as texts, since JSON's numbers end at 2^53."""
    return [str(value) for value in values.reshape(-1).tolist()]


def made_in_one_message(name: str) -> dict[str, Any]:
    """Return everything that is said and computed in an attempt of a sum of one message; each helper reveals both classes that it can."""
    played, asked = Sum(layout=LAYOUTS[name], fixed=True), task("")
    own = {site: SUMS[name](place) for place, site in enumerate(NAMES, start=1) if site != ABSENT}
    hidden = {site: played.answer(site, values) for site, values in own.items()}
    passed = {helper: played.parcelled(played.told(helper)).decode() for helper in HELPING}
    for helper in HELPING:
        played.agree(helper)
    ways = [(helper, number) for at, helper in enumerate(HELPING) for number in classes_of(at)]
    revealed = {(helper, number): played.open(helper, number) for helper, number in ways}
    first = [next(value for (_, one), value in revealed.items() if one == number) for number in range(HELPERS)]
    return {
        "task": {what: getattr(asked, what) for what in BOUND},
        "quorum": played.quorum,
        "helpers": list(HELPING),
        "bond": played.sessions[HELPING[0]].bond,
        "sites": {site: _of_one(played, site, own.get(site, {})) for site in NAMES},
        "said": {
            "keys": {site: said.decode() for site, said in played.said["keys"].items()},
            "answer": {site: {"masked": _all(hidden[site]), "parcel": parcel.hex()} for site, parcel in played.parcels.items()},
            "agree": {site: said.decode() for site, said in played.said["agree"].items()},
            "open": {helper: {str(at): _all(revealed[one, at]) for one, at in ways if one == helper} for helper in HELPING},
        },
        "passed on": {
            "answer": played.relay().decode(),
            "agree": passed,
            "open": {helper: {str(at): played.signed(at).decode() for one, at in ways if one == helper} for helper in HELPING},
        },
        "total": _all({term.name: _opened(term, list(hidden.values()), first) for term in LAYOUTS[name]}),
    }


def _of_one(played: Sum, site: str, own: Arrays) -> dict[str, Any]:
    session = played.sessions[site]
    return {
        "identity": played.known[site],
        "channel": session.channel,
        "seeds": list(session.seeds),
        "masks": [mask.key.hex() for mask in session.masks()],
        "sums": _all(own),
    }


def _opened(term: Term, hidden: list[dict[str, np.ndarray]], revealed: list[Arrays]) -> np.ndarray:
    total: np.ndarray = np.sum([one[term.name] for one in hidden], axis=0, dtype=f"u{term.bits // 8}")
    for one in revealed:
        total = total - one[term.name]
    return total.view(f"i{term.bits // 8}")


def _all(arrays: Arrays) -> dict[str, list[str]]:
    return {name: _texts(arrays[name]) for name in arrays}


def written(name: str) -> str:
    """Return the text of an attempt's file."""
    return json.dumps(made_in_one_message(name) if name in LAYOUTS else made(name), indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in SUMS:
        (FOLDER / f"{name}.json").write_text(written(name))
