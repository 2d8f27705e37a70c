"""Show a running study: on a terminal a bar with phase, round, sites in, metric and time left; elsewhere a line for each phase.

Everything goes to standard error. A site that is absent or refused is always named, with what to do: once for each reason and phase, and
counted when the phase ends. Where nobody sees a bar, a long phase says now and then how far it is, so that it never looks dead.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import typer

from wardround.cli.scores import Scores
from wardround.coordinator import events

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from wardround.study.protocol import Protocol

QUIET, SOON, MANY = 5.0, 1.0, 10
"""Seconds without a line after which a round, or an answer, is worth one; and seconds after which ten rounds are."""


@contextmanager
def watching(protocol: Protocol, earlier: Iterable[Mapping[str, Any]] = ()) -> Iterator[events.Watch]:
    """Give what `simulate` takes as `watch`, for as long as the study runs.

    Args:
        protocol: of the study.
        earlier: rows of its history, when it goes on.
    """
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield Lines(protocol, earlier)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True, highlight=False, markup=False)
    text = TextColumn("{task.description}", markup=False)
    with Progress(SpinnerColumn(), text, BarColumn(bar_width=24), TextColumn("{task.fields[facts]}", markup=False), console=console) as bar:
        yield Live(bar, protocol, earlier)


class Lines:
    """Print a line when the study starts or goes on, when a phase ends, for each new refusal, and now and then in a long phase.

    Args:
        protocol: of the study.
        earlier: rows of its history, when it goes on.
    """

    def __init__(self, protocol: Protocol, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        self._protocol, self._scores = protocol, Scores(protocol, earlier)
        self._refused: Counter[str] = Counter()
        self._told: set[tuple[str, str, str]] = set()
        self._first: str | None = None
        self._most: int | None = None
        self._asked = self._silent = 0
        self._in: set[str] = set()
        self._said = monotonic()

    def __call__(self, event: events.Event) -> None:
        """Take note of what happened, and print what is worth a line."""
        match event:
            case events.StudyStarted():
                self._first = event.phases[0]
                self.say(f"{event.study}: {len(event.phases)} phases at {len(event.sites)} sites ({', '.join(event.sites)})")
            case events.RoundOpened():
                self._opened(event)
            case events.Answered():
                self._in.add(event.site)  # in a secure sum a site speaks several times
                self._pulse(event, f"{len(self._in)} of {self._asked} sites in", QUIET)
            case events.Refused():
                self._refused[event.site] += 1
                if (event.phase, event.site, event.reason) not in self._told:
                    self._told.add((event.phase, event.site, event.reason))
                    said = f"absent: {event.reason}" if event.where == "deadline" else f"refused ({event.where}): {event.reason}"
                    self.say(f"  {event.phase}, {self._name(event.round)}: {event.site} {said}. {event.remedy}")
            case events.RoundClosed():
                self._scores.add(event.phase, event.round, event.value)
                self._silent += 1
                self._pulse(event, _metric(event), SOON if self._silent >= MANY else QUIET)
            case events.PhaseDone():
                self._done(event)
            case events.Lost():
                self.say(f"  {event.site} is lost: nothing was heard of it for {event.seconds:g} s. See that it runs and reaches the hub.")
            case events.Back():
                self.say(f"  {event.site} is back.")
            case events.Note():
                self.say(event.text)

    def say(self, text: str) -> None:
        """Print one line."""
        typer.echo(text, err=True)
        self._said, self._silent = monotonic(), 0

    def _opened(self, event: events.RoundOpened) -> None:
        self._most, self._in, self._asked = event.rounds, set(), event.sites
        if self._first is not None and (event.phase, event.round, event.attempt) != (self._first, 0, 0):
            self.say(f"going on at {event.phase}, {self._name(event.round)}")
        self._first = None

    def _pulse(self, event: events.Answered | events.RoundClosed, text: str, seconds: float) -> None:
        if monotonic() - self._said >= seconds:
            self.say(f"  {event.phase}, {self._name(event.round)}{text and ': '}{text}")

    def _name(self, number: int) -> str:
        """Return what a round is called; the last one of a training looks at its outcome only."""
        if self._most is None:
            return f"round {number + 1}"
        return "last look" if number >= self._most else f"round {number + 1} of {self._most}"

    def _done(self, event: events.PhaseDone) -> None:
        self.say(f"{event.phase}: {self._came_to(event)}{self._missing()}")
        self._refused.clear()

    def _came_to(self, event: events.PhaseDone) -> str:
        scores, chosen, kept = self._scores, self._scores.chosen(event.phase), self._scores.kept(event.phase)
        ended = "" if event.stopped == "rounds" else f", ended by {event.stopped}"
        if chosen is not None and (best := scores.kept(chosen)) is not None:
            again = f"; trained again on training and validation patients, {_rounds(event.rounds)}{ended}" if event.rounds else ""
            which = ", ".join(part for part in (chosen, scores.settings(chosen)) if part)
            return f"chose {which}: {scores.best()} on validation, {best.value:.3f} at round {best.round} of {best.of}{again}"
        if kept is None:
            return f"{_rounds(event.rounds)}{ended}" if event.rounds else "chosen among the phases before"
        # The last round looks at the model and trains no more; training that diverges does not come to it.
        trained = event.rounds if event.stopped == "quorum" else event.rounds - 1
        model = f"round {kept.round}" if kept.round else "the initial model"
        return f"{_rounds(trained)}{ended}; kept {model}, {self._protocol.primary.replace('_', ' ')} {kept.value:.3f}"

    def _missing(self) -> str:
        named = ", ".join(f"{site} {'once' if count == 1 else f'{count} times'}" for site, count in sorted(self._refused.items()))
        return f"; without {named}" if named else ""


class Live(Lines):
    """Move a bar for the phase that runs, and print lines above it.

    Args:
        bar: to be moved.
        protocol: of the study.
        earlier: rows of its history, when it goes on.
    """

    def __init__(self, bar: Progress, protocol: Protocol, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        super().__init__(protocol, earlier)
        self._bar = bar
        self._task: TaskID | None = None
        self._closed = 0
        self._seconds = 0.0
        self._metric = ""

    def __call__(self, event: events.Event) -> None:
        """Move the bar; print what `Lines` prints."""
        super().__call__(event)
        match event:
            case events.RoundClosed():
                self._closed += 1
                self._seconds += event.seconds
                self._metric = _metric(event) or self._metric
                if self._task is not None:
                    self._bar.update(self._task, completed=event.round + 1)
            case events.PhaseDone() if self._task is not None:
                self._bar.remove_task(self._task)
                self._task = None
        self._refresh()

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self._bar.console.print(text)

    def _pulse(self, event: events.Answered | events.RoundClosed, text: str, seconds: float) -> None:
        """Say nothing: the bar moves."""

    def _opened(self, event: events.RoundOpened) -> None:
        super()._opened(event)
        if self._task is None:
            self._task = self._bar.add_task(event.phase, total=event.rounds, facts="")
            self._closed, self._seconds, self._metric = 0, 0.0, ""
        again = f", attempt {event.attempt + 1}" if event.attempt else ""
        self._bar.update(self._task, description=f"{event.phase} {self._name(event.round)}{again}")

    def _refresh(self) -> None:
        if self._task is not None:
            facts = (f"{len(self._in)}/{self._asked} sites in", self._metric, self._left())
            self._bar.update(self._task, facts="  ".join(fact for fact in facts if fact))

    def _left(self) -> str:
        task = next((one for one in self._bar.tasks if one.id == self._task), None)
        if task is None or task.total is None or not self._closed:
            return ""
        seconds = self._seconds / self._closed * max(task.total - task.completed, 0)
        return f"at most {seconds // 60:.0f}:{seconds % 60:02.0f} left"


def _metric(event: events.RoundClosed) -> str:
    return f"{event.metric.replace('_', ' ')} {event.value:.3f}" if event.metric is not None and event.value is not None else ""


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"
