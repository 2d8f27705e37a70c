"""`wardround doctor`: look whether this machine can do its part, and say what to do where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from wardround.cli import say

LEAST_DISK, LEAST_MEMORY = 2**30, 2**30
INSTALL = "pip install 'wardround[learn]'"
COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}


class Found(NamedTuple):
    """Hold one thing that was looked at.

    Attributes:
        name: one or two words.
        verdict: "ok", "warning" or "missing".
        text: what was found.
        remedy: what to do; empty when all is well.
    """

    name: str
    verdict: str
    text: str
    remedy: str = ""


def doctor(
    folder: Annotated[Path, typer.Argument(help="Folder in which studies will run.")] = Path("."),
    invite: Annotated[Path | None, typer.Option("--invite", help="An invite: test the way to its hub before joining.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look whether this machine can run a study: Python, torch, threads, disk, memory, extras and clock.

    In a hospital's folder, or with an invite, also whether it reaches the coordinating centre's hub: name, port, TLS, key and clock, and
    what to ask the firewall team for. In a coordinator's folder, whether a hub can run here.
    Exits with 0 when it can, with 1 when something is missing.
    """
    from wardround.cli.doctor_network import network

    found = [*_python(), *_plugins(), *_torch(), *_threads(), *_disk(folder), *_memory(), *_clock(), *network(folder, invite)]
    fine = all(one.verdict != "missing" for one in found)
    if json:
        say.document({"ok": fine, "checks": [one._asdict() for one in found]})
    else:
        for one in found:
            typer.echo(f"{typer.style(f'{one.verdict:<8}', fg=COLOURS[one.verdict])}  {one.name:<10}  {one.text}")
            if one.remedy:
                typer.echo(f"{'':22}{one.remedy}")
    raise typer.Exit(say.OK if fine else say.NO)


def _python() -> Iterator[Found]:
    import platform
    import sqlite3

    yield Found("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Found("sqlite", "ok", sqlite3.sqlite_version)


def _plugins() -> Iterator[Found]:
    from wardround.study.plugins import names

    for kind in ("source", "model", "question", "algorithm", "combiner"):
        listed = names(kind)
        if listed:
            yield Found(f"{kind}s", "ok", ", ".join(listed))
        else:
            yield Found(f"{kind}s", "missing", "none is registered", "Install wardround; its code alone does not register plugins.")


def _torch() -> Iterator[Found]:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        text = "not installed: studies can be checked, coordinated and verified here, but not trained"
        yield Found("torch", "warning", text, INSTALL)
    elif loaded := _answer("import torch; print(torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())"):
        version, _, device = loaded.partition(" ")
        yield Found("torch", "ok", f"{version} {'on the processor' if device == 'False' else f'with {device}'}")
    else:
        yield Found("torch", "missing", "installed, but does not load", f"Install it again: {INSTALL}")
    if find_spec("sklearn") is None:
        yield Found("extras", "warning", "scikit-learn is not installed: the demo does not run", INSTALL)
    else:
        yield Found("extras", "ok", "learn")


def _answer(code: str) -> str:
    """Return what a fresh Python prints, or nothing when it fails: a library that crashes must not take this command with it."""
    import subprocess
    import sys

    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _threads() -> Iterator[Found]:
    import os

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"{usable} processors, load {load:.1f}; a worker uses one thread"
    busy = load > 2 * usable
    yield Found("threads", "warning" if busy else "ok", text, "Other work slows training down; wait for it or stop it." if busy else "")


def _disk(folder: Path) -> Iterator[Found]:
    import os
    import shutil

    if not folder.is_dir():
        yield Found("disk", "missing", f"{folder} is not a folder", "Make it, or name another.")
        return
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free in {folder.resolve()}"
    if not os.access(folder, os.W_OK):
        yield Found("disk", "missing", f"{folder.resolve()} cannot be written", "Give this user the right to write there.")
    elif free < LEAST_DISK:
        yield Found("disk", "warning", text, "Make room: a study keeps snapshots, state and record there.")
    else:
        yield Found("disk", "ok", text)


def free_memory() -> int | None:
    """Return how many bytes of memory nothing uses, or None where the system does not say."""
    import os

    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _memory() -> Iterator[Found]:
    free = free_memory()
    if free is None:
        return
    text = f"{free / 2**30:.1f} GiB free"
    short = free < LEAST_MEMORY
    yield Found("memory", "warning" if short else "ok", text, "Close other programs; training needs about 1 GiB." if short else "")


def _clock() -> Iterator[Found]:
    import time
    from datetime import UTC, datetime

    import wardround

    now, installed = time.time(), Path(str(wardround.__file__)).stat().st_mtime
    text = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now + 86400 < installed:
        yield Found("clock", "missing", f"{text} is before this program was installed", "Set the clock.")
    else:
        yield Found("clock", "ok", text)
