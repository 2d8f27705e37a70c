"""Read our own source as syntax trees, for the tests that keep the house in order.

Every check is a function from sources to complaints, so that a test can hand it a planted violation as well as the real house.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """One module: its dotted name, its path for messages, its text."""

    module: str
    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def room(self) -> str:
        return room(self.module)


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` gives "a.b.c". `when`: "import" (of our module), "call" (of a function) or "typing"."""

    target: str
    line: int
    when: str


def planted(module: str, text: str) -> Source:
    """Return a source that does not exist, for showing that a check can fail."""
    return Source(module, f"src/{module.replace('.', '/')}.py", text)


@cache
def sources() -> tuple[Source, ...]:
    """Return all modules under `src`."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Source(module, path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")))
    return tuple(found)


def room(module: str) -> str:
    """Return the room of a dotted name of ours; "top" for modules that stand beside the rooms."""
    parts = module.split(".")
    if len(parts) > 1 and parts[1] == "__main__":
        return "cli"
    return parts[1] if len(parts) > 1 and (ROOT / "src" / "wardround" / parts[1]).is_dir() else "top"


def imports(source: Source) -> Iterator[Import]:
    """Yield every name that a module imports, with the moment at which it does."""
    yield from _imports(source, source.tree, "import")


def _imports(source: Source, parent: ast.AST, when: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(parent):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, when) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (Import(f"{_origin(source, child)}.{alias.name}", child.lineno, when) for alias in child.names)
        elif isinstance(child, ast.Call) and ast.unparse(child.func) in ("__import__", "import_module", "importlib.import_module"):
            name = child.args[0] if child.args else None
            if isinstance(name, ast.Constant):
                yield Import(str(name.value), child.lineno, when)
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for branch, moment in ((child.body, "typing"), (child.orelse, when)):
                yield from _imports(source, ast.Module(branch, []), moment)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(source, child, "call" if when == "import" else when)
        else:
            yield from _imports(source, child, when)


def _origin(source: Source, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    package = source.module.split(".")
    if not source.path.endswith("__init__.py"):
        package = package[:-1]
    base = package[: len(package) - statement.level + 1]
    return ".".join([*base, statement.module] if statement.module else base)


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of a module, inner ones too."""
    for item in ast.walk(source.tree):
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield item


@cache
def pyproject() -> dict[str, Any]:
    """Return `pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def entry_point_modules() -> tuple[str, ...]:
    """Return the modules behind the entry points, which the gate and the coordinator load."""
    groups = pyproject()["project"]["entry-points"].values()
    return tuple(sorted({target.partition(":")[0] for group in groups for target in group.values()}))
