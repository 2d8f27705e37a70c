"""Progress names every phase and every site that is missing, quietly when nobody watches."""

from __future__ import annotations

import io

import pytest

from wardround.cli.progress import Lines, Live, watching
from wardround.coordinator import events

RUN: list[events.Event] = [
    events.StudyStarted("small", ("train", "test"), ("north", "south")),
    events.RoundOpened("train", 0, 2, 0, 2),
    events.Answered("train", 0, "north"),
    events.Refused("train", 0, "south", "deadline", "no answer within 60 s", "Look whether it runs."),
    events.RoundClosed("train", 0, "auroc", 0.7512, 2.0, 1),
    events.RoundOpened("train", 1, 2, 0, 2),
    events.Answered("train", 1, "north"),
    events.Refused("train", 1, "south", "deadline", "no answer within 60 s", "Look whether it runs."),
    events.RoundClosed("train", 1, "auroc", 0.8, 2.0, 1),
    events.PhaseDone("train", 2, "patience"),
    events.PhaseDone("test", 1, "rounds"),
    events.Note("Done."),
]
EXPECTED = [
    "small: 2 phases at 2 sites (north, south)",
    "  train, round 1: south absent: no answer within 60 s. Look whether it runs.",
    "train: 2 rounds, ended by patience, auroc 0.800; without south 2 rounds",
    "test: 1 round",
    "Done.",
]


def test_a_refusal_is_told_once_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Lines()
    for event in RUN:
        watch(event)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == EXPECTED
    assert captured.out == ""


def test_without_a_terminal_it_is_quiet() -> None:
    with watching() as watch:
        assert type(watch) is Lines


def test_the_bar_shows_round_sites_metric_and_time_left() -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    screen = io.StringIO()
    columns = (TextColumn("{task.description}"), TextColumn("{task.fields[facts]}"))
    bar = Progress(*columns, console=Console(file=screen, width=200, markup=False), auto_refresh=False)
    watch = Live(bar)
    for event in RUN[:7]:
        watch(event)
    (task,) = bar.tasks
    assert task.description == "train round 2 of 2"
    assert (task.completed, task.total) == (1, 2)
    assert task.fields["facts"] == "1/2 sites in  auroc 0.751  at most 0:02 left"
    for event in RUN[7:]:
        watch(event)
    assert bar.tasks == []
    assert screen.getvalue().splitlines() == EXPECTED
