"""Imports go one way, and what a room may not do it does not import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.house.reading import Import, Source, entry_point_modules, imports, planted, room, sources

_LOW = {"data", "learning", "combining", "privacy", "record"}
_MIDDLE = {"study", *_LOW}
MAY_IMPORT: dict[str, set[str]] = {
    "study": set(),
    "data": {"study"},
    "learning": {"study", "data", "privacy"},
    "combining": {"study"},
    "privacy": {"study"},
    "record": {"study"},
    "site": _MIDDLE,
    "coordinator": _MIDDLE,
    "engines": {*_MIDDLE, "site", "coordinator"},
    "partitions": {"study", "data"},
    "pages": {*_MIDDLE, "site", "coordinator", "engines"},
    "top": {*_MIDDLE, "site", "coordinator", "engines", "pages", "partitions"},
    "demos": {"study", "data"},
    "cli": {*_MIDDLE, "site", "coordinator", "engines", "pages", "top", "demos"},
}
TORCH_FILES = ("wardround.privacy.dpsgd", "wardround.privacy.leakage")
NO_NETWORK = {"study", "learning", "combining", "privacy", "record"}
NETWORK = {"asyncio", "ftplib", "http", "httpx", "nats", "requests", "smtplib", "socket", "socketserver", "ssl", "urllib.request", "xmlrpc"}
UNSAFE = {"cloudpickle", "dill", "joblib", "marshal", "pandas", "pickle", "shelve"}


def is_within(target: str, names: set[str]) -> bool:
    """Tell whether an imported name is one of the modules or stands inside one."""
    parts = target.split(".")
    return any(".".join(parts[:length]) in names for length in range(1, len(parts) + 1))


def at(source: Source, line: int, what: str) -> str:
    """Return a complaint with its file and line."""
    return f"{source.path}:{line}: {what}"


def wrong_way(source: Source) -> Iterator[str]:
    """Complain of imports from a room that this room may not import from."""
    allowed = MAY_IMPORT.get(source.room)
    if allowed is None:
        yield at(source, 1, f"there is no room {source.room!r} in the plan; add it to MAY_IMPORT with its right")
        return
    for item in imports(source):
        if item.target.split(".")[0] == "wardround" and room(item.target) not in {source.room, *allowed}:
            yield at(
                source, item.line, f"{source.room} imports {item.target}; it may import only from {', '.join(sorted(allowed)) or 'itself'}"
            )


def misplaced_torch(source: Source) -> Iterator[str]:
    """Complain of torch outside the rooms that may have it; importing it for type checking alone is no import."""
    for item in imports(source):
        may = source.room == "learning" or source.module in TORCH_FILES
        if is_within(item.target, {"torch"}) and item.when != "typing" and not may:
            yield at(source, item.line, f"torch belongs in learning/, privacy/dpsgd.py and privacy/leakage.py, not in {source.room}")


def torch_when_loaded(house: Sequence[Source], entries: Sequence[str]) -> Iterator[str]:
    """Complain of chains of imports by which loading the gate or an entry point's module would load torch."""
    known = {source.module: source for source in house}
    came_from: dict[str, str] = {source.module: "" for source in house if source.room != "learning" and source.module not in TORCH_FILES}
    came_from.update((module, "") for module in entries)
    todo = list(came_from)
    while todo:
        source = known.get(todo.pop())
        if source is None:
            continue
        for item in imports(source):
            if item.when != "import":
                continue
            if is_within(item.target, {"torch"}):
                chain = [source.module]
                while came_from[chain[0]]:
                    chain.insert(0, came_from[chain[0]])
                yield at(source, item.line, f"import torch inside a function here; loading {' -> '.join(chain)} would load torch")
            for module in loaded_by(item, known):
                if module not in came_from:
                    came_from[module] = source.module
                    todo.append(module)


def loaded_by(item: Import, known: dict[str, Source]) -> list[str]:
    """Return our modules that an import loads: the one named and the packages around it."""
    parts = item.target.split(".")
    return [name for length in range(1, len(parts) + 1) if (name := ".".join(parts[:length])) in known]


def foreign_in_record(source: Source) -> Iterator[str]:
    """Complain of what an outsider's verifier would have to trust beyond the standard library and `cryptography`."""
    for item in imports(source):
        top = item.target.split(".")[0]
        if source.room == "record" and top not in {*sys.stdlib_module_names, "cryptography", "wardround"}:
            yield at(source, item.line, f"record/ stands on the standard library and cryptography alone, not on {top}")


def network(source: Source) -> Iterator[str]:
    """Complain of connections in the rooms that have no network."""
    for item in imports(source):
        if source.room in NO_NETWORK and is_within(item.target, NETWORK):
            yield at(source, item.line, f"{source.room} has no network, but imports {item.target}")


def unsafe(source: Source) -> Iterator[str]:
    """Complain of anything that can run code from a file, and of pandas."""
    for item in imports(source):
        if is_within(item.target, UNSAFE | {"torch.load", "torch.save"}):
            yield at(source, item.line, f"{item.target} is not used here; arrays travel as safetensors, tables are polars")
    for part in ast.walk(source.tree):
        if isinstance(part, ast.Attribute) and ast.unparse(part) in ("torch.load", "torch.save"):
            yield at(source, part.lineno, f"{ast.unparse(part)} is not used here; arrays travel as safetensors")
        if isinstance(part, ast.keyword) and part.arg == "allow_pickle" and ast.unparse(part.value) != "False":
            yield at(source, part.value.lineno, "allow_pickle runs code from the file; use safetensors")


def environment(source: Source) -> Iterator[str]:
    """Complain of the environment being read outside `cli`."""
    names = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
    if source.room == "cli":
        return
    found = [(item.line, item.target) for item in imports(source) if item.target in names]
    found += [
        (part.lineno, ast.unparse(part)) for part in ast.walk(source.tree) if isinstance(part, ast.Attribute) and ast.unparse(part) in names
    ]
    for line, name in found:
        yield at(source, line, f"{name} outside cli/; take the value as an argument")


CHECKS = (wrong_way, misplaced_torch, foreign_in_record, network, unsafe, environment)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_is_in_order(check: Callable[[Source], Iterator[str]]) -> None:
    complaints = [complaint for source in sources() for complaint in check(source)]
    assert not complaints, "\n" + "\n".join(complaints)


def test_the_gate_and_the_entry_points_load_no_torch() -> None:
    complaints = list(torch_when_loaded(sources(), entry_point_modules()))
    assert not complaints, "\n" + "\n".join(complaints)


PLANTED: list[tuple[Callable[[Source], Iterator[str]], str, str]] = [
    (wrong_way, "wardround.study.x", "import wardround.data.contract"),
    (wrong_way, "wardround.data.x", "from wardround.learning import train"),
    (wrong_way, "wardround.combining.x", "from ..record import log"),
    (wrong_way, "wardround.site.x", "def f():\n    from wardround.coordinator.rounds import run_phase"),
    (wrong_way, "wardround.coordinator.x", "from wardround import site"),
    (wrong_way, "wardround.record.x", "from wardround import load_study"),
    (wrong_way, "wardround.engines.x", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from wardround.cli import main"),
    (misplaced_torch, "wardround.site.x", "def f():\n    import torch.nn"),
    (misplaced_torch, "wardround.privacy.noise", "from torch import Tensor"),
    (misplaced_torch, "wardround.pages.x", "import importlib\nimportlib.import_module('torch')"),
    (foreign_in_record, "wardround.record.x", "import numpy as np"),
    (network, "wardround.learning.x", "def f():\n    from urllib.request import urlopen"),
    (unsafe, "wardround.data.x", "import pickle"),
    (unsafe, "wardround.data.x", "from joblib import load"),
    (unsafe, "wardround.learning.x", "import torch\ntorch.load('x')"),
    (unsafe, "wardround.learning.x", "from torch import load"),
    (unsafe, "wardround.learning.x", "np.load('x', allow_pickle=True)"),
    (unsafe, "wardround.data.x", "import pandas.io"),
    (environment, "wardround.site.x", "import os\nos.environ['HOME']"),
    (environment, "wardround.engines.x", "from os import getenv"),
]


@pytest.mark.parametrize(("check", "module", "text"), PLANTED)
def test_a_planted_violation_is_found(check: Callable[[Source], Iterator[str]], module: str, text: str) -> None:
    source = planted(module, text)
    (complaint,) = check(source)
    assert complaint.startswith(f"{source.path}:")


ALLOWED: list[tuple[Callable[[Source], Iterator[str]], str, str]] = [
    (wrong_way, "wardround.learning.x", "from wardround.data.snapshot import read\nfrom .rows import rows"),
    (wrong_way, "wardround.__main__", "from wardround.cli.main import main"),
    (misplaced_torch, "wardround.study.x", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
    (misplaced_torch, "wardround.privacy.dpsgd", "def f():\n    import torch"),
    (foreign_in_record, "wardround.record.x", "import sqlite3\nfrom cryptography import x509\nfrom wardround.study import errors"),
    (network, "wardround.engines.x", "import socket"),
    (unsafe, "wardround.data.x", "np.load('x', allow_pickle=False)"),
    (environment, "wardround.cli.x", "import os\nos.environ['HOME']"),
]


@pytest.mark.parametrize(("check", "module", "text"), ALLOWED)
def test_what_is_allowed_passes(check: Callable[[Source], Iterator[str]], module: str, text: str) -> None:
    assert list(check(planted(module, text))) == []


def test_a_planted_chain_to_torch_is_found() -> None:
    lazy = planted("wardround.learning.fast", "def f():\n    import torch")
    eager = planted("wardround.learning.train", "import torch")
    behind = planted("wardround.learning.models.net", "from wardround.learning import train")
    house = (lazy, eager, behind)
    assert list(torch_when_loaded(house, ["wardround.learning.fast"])) == []
    (complaint,) = torch_when_loaded(house, ["wardround.learning.models.net"])
    assert complaint.startswith(f"{eager.path}:1:")
    assert "wardround.learning.models.net -> wardround.learning.train" in complaint
