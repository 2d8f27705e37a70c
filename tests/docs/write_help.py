"""Write `docs/commands.md`: the help text of every command, under a heading of its own.

Refresh it with `python -m tests.docs.write_help`; `test_help.py` fails while it says anything else than the program does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer import Typer
from typer.main import get_command
from typer.testing import CliRunner

from tests.house.reading import ROOT

COMMANDS = ROOT / "docs" / "commands.md"
OPENING = """# Commands

Every command with its options, as `--help` prints them. This page is written by `python -m tests.docs.write_help` and checked by a test.
"""


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that is not hidden, a group before its commands."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from paths(inner, (*path, name))


def help_text(app: Typer, path: tuple[str, ...]) -> str:
    """Return what `--help` prints for one command, 100 characters wide and without colours.

    Raises:
        RuntimeError: the command does not answer to `--help`.
    """
    done = CliRunner().invoke(app, [*path, "--help"], prog_name="wardround", env={"COLUMNS": "100", "NO_COLOR": "1"})
    if done.exit_code:
        raise RuntimeError(f"wardround {' '.join(path)} --help exits with {done.exit_code}: {done.output}")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return "\n".join(line.rstrip() for line in plain.strip().splitlines())


def document(app: Typer) -> str:
    """Return the page: one heading and one block for each command."""
    blocks = [f"\n## {' '.join(('wardround', *path))}\n\n```text\n{help_text(app, path)}\n```\n" for path in paths(get_command(app))]
    return OPENING + "".join(blocks)


if __name__ == "__main__":
    from wardround.cli.main import app as wardround

    COMMANDS.write_text(document(wardround), encoding="utf-8")
    print(f"wrote {COMMANDS.relative_to(ROOT)}")
