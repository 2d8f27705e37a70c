"""Say things on the terminal: documents for machines, sentences for people, errors with their remedy.

A command with `--json` prints one JSON document on standard output and nothing else there; what is said on the way goes to standard error.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from wardround.study.errors import WardroundError

if TYPE_CHECKING:
    from wardround.study.findings import FileRefused

OK, NO, WRONG_USE = 0, 1, 2
"""Exit codes: all is well; the answer is no; the command was used wrongly or evidence is missing."""

WIDEST = 110


def document(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def line(text: str, bold: bool = False) -> None:
    """Print a line for people."""
    typer.echo(typer.style(text, bold=True) if bold else text)


def width() -> int:
    """Return how wide a page may be: as the terminal, but no wider than can be read."""
    return min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)


def complain(error: WardroundError, as_json: bool = False) -> None:
    """Print an error and its remedy on standard error; with `--json` also a document of both.

    Args:
        error: what is wrong.
        as_json: whether standard output belongs to a machine.
    """
    typer.echo(f"{typer.style('Error:', fg='red', bold=True)} {error.message.rstrip()}", err=True)
    typer.echo(f"{typer.style('What to do:', bold=True)} {error.remedy}", err=True)
    if as_json:
        document({"error": {"kind": type(error).__name__, "message": error.message.rstrip(), "remedy": error.remedy}})


def stopped(remedy: str, as_json: bool = False) -> None:
    """Say that somebody stopped the program, and what to do; with `--json` also a document of both."""
    typer.echo(f"Stopped. {remedy}", err=True)
    if as_json:
        document({"error": {"kind": "Stopped", "message": "Stopped.", "remedy": remedy}})


@contextmanager
def ending() -> Iterator[None]:
    """End in order when the system asks a long-running command to end, as when somebody presses Ctrl-C; the same command goes on later."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        stopped("The same command goes on.")
        raise typer.Exit(OK) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def findings(refused: FileRefused, as_json: bool) -> None:
    """Print all that is wrong with a file, on standard output: it is the answer to a check."""
    if as_json:
        found = [{"line": one.line, "key": one.key, "wrong": one.wrong, "remedy": one.remedy} for one in refused.findings]
        document({"ok": False, "file": refused.name, "findings": found})
        return
    count = len(refused.findings)
    line(f"{refused.name}: {'one thing is' if count == 1 else f'{count} things are'} wrong.", bold=True)
    for one in refused.findings:
        line(f"  {one.place('') or 'the file'}: {one.wrong}")
        line(f"      {one.remedy}")
