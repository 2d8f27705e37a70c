"""Progress names every phase and every site that is missing, quietly when nobody watches, and never falls silent for long."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest

from wardround.cli import progress
from wardround.cli.progress import Lines, Live, watching
from wardround.coordinator import events
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.templates import template

RUN: list[events.Event] = [
    events.StudyStarted("small", ("train", "evaluate"), ("north", "south")),
    events.RoundOpened("train", 0, 2, 0, 2),
    events.Answered("train", 0, "north"),
    events.Refused("train", 0, "south", "deadline", "no answer within 60 s", "Look whether it runs."),
    events.RoundClosed("train", 0, "auroc", 0.7512, 2.0, 1),
    events.RoundOpened("train", 1, 2, 0, 2),
    events.Answered("train", 1, "north"),
    events.Refused("train", 1, "south", "deadline", "no answer within 60 s", "Look whether it runs."),
    events.RoundClosed("train", 1, "auroc", 0.8, 2.0, 1),
    events.PhaseDone("train", 2, "patience"),
    events.PhaseDone("evaluate", 1, "rounds"),
    events.Note("Done."),
]
EXPECTED = [
    "small: 2 phases at 2 sites (north, south)",
    "  train, round 1 of 2: south absent: no answer within 60 s. Look whether it runs.",
    "train: 1 round, ended by patience; kept round 1, auroc 0.800; without south 2 times",
    "evaluate: 1 round",
    "Done.",
]


def protocol(**changes: str) -> Protocol:
    """Return the template's study, judged by auroc, with nothing to tune; some texts replaced."""
    text = template("binary").replace('"brier", "auroc"', '"auroc", "brier"').replace("tune =", "# tune =")
    for old, new in changes.items():
        text = text.replace(old, new)
    return read_protocol(text, "study.toml")


def tuned(refit: str = "false") -> Protocol:
    return protocol(**{"# tune": f"refit = {refit}\ntune", '"auroc", "brier"': '"brier", "auroc"'})


def told(capsys: pytest.CaptureFixture[str], agreed: Protocol, happened: list[events.Event], earlier: list[Mapping[str, Any]]) -> list[str]:
    watch = Lines(agreed, earlier)
    for event in happened:
        watch(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def training(phase: str, scores: list[float | None], rounds: int, stopped: str = "rounds") -> list[events.Event]:
    """Return what happens while a phase trains, one score a round that was closed."""
    closed: list[events.Event] = [events.RoundClosed(phase, number, "brier", score, 0.1, 2) for number, score in enumerate(scores)]
    return [*closed, events.PhaseDone(phase, rounds, stopped)]


def test_a_refusal_is_told_once_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, protocol(), RUN, []) == EXPECTED


def test_without_a_terminal_it_is_quiet() -> None:
    with watching(protocol()) as watch:
        assert type(watch) is Lines


@pytest.mark.parametrize(
    ("scores", "rounds", "stopped", "said"),
    [
        ([0.3, 0.2, 0.1], 3, "rounds", "2 rounds; kept round 2, brier 0.100"),
        ([0.3, 0.1, 0.2, 0.2], 4, "patience", "3 rounds, ended by patience; kept round 1, brier 0.100"),
        ([0.3, 0.4], 2, "rounds", "1 round; kept the initial model, brier 0.300"),
        ([0.3, 0.1, 0.1], 3, "rounds", "2 rounds; kept round 1, brier 0.100"),
        ([0.3, 0.2], 2, "quorum", "2 rounds, ended by quorum; kept round 1, brier 0.200"),
        ([None], 1, "rounds", "1 round"),
    ],
)
def test_the_kept_round_is_named_with_its_value(
    capsys: pytest.CaptureFixture[str], scores: list[float | None], rounds: int, stopped: str, said: str
) -> None:
    assert told(capsys, tuned(), training("train.0", scores, rounds, stopped), []) == [f"train.0: {said}"]


def test_where_the_last_round_is_to_be_kept_it_is() -> None:
    agreed = protocol(**{"patience = 10": 'keep = "last"'})
    watch = Lines(agreed)
    for event in training("train", [0.7, 0.9, 0.8], 3)[:-1]:
        watch(event)
    kept = watch._scores.kept("train")
    assert kept is not None
    assert (kept.round, kept.value) == (2, 0.8)


def test_the_choice_among_settings_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    tried = [*training("train.1", [0.3, 0.12, 0.2], 3), *training("train.2", [0.3, None, 0.15], 3)]
    earlier: list[Mapping[str, Any]] = [{"phase": "moments", "round": 0, "brier": None}]
    earlier += [{"phase": "train.0", "round": number, "brier": score} for number, score in enumerate((0.3, 0.2, 0.11))]
    because = "chose train.0, learning_rate 0.05: lowest brier on validation, 0.110 at round 2 of 2"
    assert told(capsys, tuned(), [*tried, events.PhaseDone("train", 0, "rounds")], earlier)[-1] == f"train: {because}"
    again = [*tried, *training("train", [None] * 2, 2)]
    assert told(capsys, tuned("true"), again, earlier)[-1] == (
        f"train: {because}; trained again on training and validation patients, 2 rounds"
    )
    other = told(capsys, tuned(), [*tried, events.PhaseDone("train", 0, "rounds")], earlier[:1])[-1]
    assert other.startswith("train: chose train.1, learning_rate 0.2: ")
    assert told(capsys, tuned(), [events.PhaseDone("train", 0, "rounds")], [])[-1] == "train: chosen among the phases before"


@pytest.mark.parametrize(
    ("opened", "said"),
    [
        (events.RoundOpened("moments", 0, None, 0, 2), None),
        (events.RoundOpened("moments", 0, None, 1, 2), "going on at moments, round 1"),
        (events.RoundOpened("train.1", 11, 60, 0, 2), "going on at train.1, round 12 of 60"),
        (events.RoundOpened("train.1", 60, 60, 0, 2), "going on at train.1, last look"),
    ],
)
def test_where_a_study_goes_on_is_said_once(capsys: pytest.CaptureFixture[str], opened: events.RoundOpened, said: str | None) -> None:
    started = events.StudyStarted("small", ("moments", "train.1"), ("north",))
    later = events.RoundOpened("train.1", 59, 60, 0, 2)
    assert told(capsys, tuned(), [started, opened, later], [])[1:] == [said] * (said is not None)


def test_a_long_phase_never_falls_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])

    def after(seconds: float, watch: Lines, event: events.Event) -> list[str]:
        now[0] += seconds
        watch(event)
        return capsys.readouterr().err.splitlines()

    watch = Lines(protocol())
    closed = [events.RoundClosed("train", number, "auroc", 0.7, 0.0, 2) for number in range(30)]
    after(0, watch, events.RoundOpened("train", 0, 60, 0, 2))
    assert after(4.9, watch, events.Answered("train", 0, "north")) == []
    assert after(0.2, watch, events.Answered("train", 0, "south")) == ["  train, round 1 of 60: 2 of 2 sites in"]
    assert after(5.1, watch, events.Answered("train", 0, "south")) == ["  train, round 1 of 60: 2 of 2 sites in"]  # its next exchange
    assert after(4.9, watch, closed[0]) == []
    assert after(0.2, watch, closed[1]) == ["  train, round 2 of 60: auroc 0.700"]
    assert [line for event in closed[2:12] for line in after(0.11, watch, event)] == ["  train, round 12 of 60: auroc 0.700"]
    assert [line for event in closed[12:30] for line in after(0.01, watch, event)] == []


def test_the_bar_shows_round_sites_metric_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    now = iter(range(0, 9000, 60))
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    screen = io.StringIO()
    columns = (TextColumn("{task.description}"), TextColumn("{task.fields[facts]}"))
    bar = Progress(*columns, console=Console(file=screen, width=200, markup=False), auto_refresh=False)
    watch = Live(bar, protocol())
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
