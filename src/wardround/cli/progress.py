"""Show a running study: on a terminal a bar with phase, round, sites in, metric and time left; elsewhere a line for each phase.

Everything goes to standard error. A site that is absent or refused is always named, with what to do: once for each reason and phase, and
counted when the phase ends.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from wardround.coordinator import events

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def watching() -> Iterator[events.Watch]:
    """Give what `simulate` takes as `watch`, for as long as the study runs."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True, highlight=False, markup=False)
    text = TextColumn("{task.description}", markup=False)
    with Progress(SpinnerColumn(), text, BarColumn(bar_width=24), TextColumn("{task.fields[facts]}", markup=False), console=console) as bar:
        yield Live(bar)


class Lines:
    """Print a line when the study starts, when a phase ends, and for each new refusal."""

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()
        self._told: set[tuple[str, str, str]] = set()
        self._last = ""

    def __call__(self, event: events.Event) -> None:
        """Take note of what happened, and print what is worth a line."""
        match event:
            case events.StudyStarted():
                self.say(f"{event.study}: {len(event.phases)} phases at {len(event.sites)} sites ({', '.join(event.sites)})")
            case events.Refused():
                self._refused[event.site] += 1
                if (event.phase, event.site, event.reason) not in self._told:
                    self._told.add((event.phase, event.site, event.reason))
                    said = f"absent: {event.reason}" if event.where == "deadline" else f"refused ({event.where}): {event.reason}"
                    self.say(f"  {event.phase}, round {event.round + 1}: {event.site} {said}. {event.remedy}")
            case events.RoundClosed() if event.metric is not None and event.value is not None:
                self._last = f", {event.metric} {event.value:.3f}"
            case events.PhaseDone():
                self.say(f"{event.phase}: {_came_to(event)}{self._last}{self._missing()}")
                self._refused.clear()
                self._last = ""
            case events.Note():
                self.say(event.text)

    def say(self, text: str) -> None:
        """Print one line."""
        typer.echo(text, err=True)

    def _missing(self) -> str:
        named = ", ".join(f"{site} {_rounds(count)}" for site, count in sorted(self._refused.items()))
        return f"; without {named}" if named else ""


class Live(Lines):
    """Move a bar for the phase that runs, and print lines above it."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._task: TaskID | None = None
        self._in = self._asked = self._closed = 0
        self._seconds = 0.0
        self._metric = ""

    def __call__(self, event: events.Event) -> None:
        """Move the bar; print what `Lines` prints."""
        super().__call__(event)
        match event:
            case events.RoundOpened():
                self._opened(event)
            case events.Answered():
                self._in += 1
            case events.RoundClosed():
                self._closed += 1
                self._seconds += event.seconds
                self._metric = f"{event.metric} {event.value:.3f}" if event.metric and event.value is not None else self._metric
                if self._task is not None:
                    self._bar.update(self._task, completed=event.round + 1)
            case events.PhaseDone() if self._task is not None:
                self._bar.remove_task(self._task)
                self._task = None
        self._refresh()

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self._bar.console.print(text)

    def _opened(self, event: events.RoundOpened) -> None:
        if self._task is None:
            self._task = self._bar.add_task(event.phase, total=event.rounds, facts="")
            self._closed, self._seconds, self._metric = 0, 0.0, ""
        self._in, self._asked = 0, event.sites
        of = f" of {event.rounds}" if event.rounds else ""
        again = f", attempt {event.attempt + 1}" if event.attempt else ""
        last = event.rounds is not None and event.round >= event.rounds
        self._bar.update(self._task, description=f"{event.phase} {'last look' if last else f'round {event.round + 1}{of}'}{again}")

    def _refresh(self) -> None:
        if self._task is not None:
            facts = (f"{self._in}/{self._asked} sites in", self._metric, self._left())
            self._bar.update(self._task, facts="  ".join(fact for fact in facts if fact))

    def _left(self) -> str:
        task = next((one for one in self._bar.tasks if one.id == self._task), None)
        if task is None or task.total is None or not self._closed:
            return ""
        seconds = self._seconds / self._closed * max(task.total - task.completed, 0)
        return f"at most {seconds // 60:.0f}:{seconds % 60:02.0f} left"


def _came_to(event: events.PhaseDone) -> str:
    if not event.rounds:
        return "chosen among the phases before"
    return _rounds(event.rounds) + ("" if event.stopped == "rounds" else f", ended by {event.stopped}")


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"
