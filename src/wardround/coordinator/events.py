"""Tell whoever watches what happens, as it happens: values, no formatting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StudyStarted:
    """Say that a study starts or goes on."""

    study: str
    phases: tuple[str, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True)
class RoundOpened:
    """Say that sites are asked; `rounds` is the most there can be, or None where the phase does not say."""

    phase: str
    round: int
    rounds: int | None
    attempt: int
    sites: int


@dataclass(frozen=True)
class Answered:
    """Say that a site's answer was admitted."""

    phase: str
    round: int
    site: str


@dataclass(frozen=True)
class Refused:
    """Say that a site's part of a round did not happen, where, why, and what to do."""

    phase: str
    round: int
    site: str
    where: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class RoundClosed:
    """Say what a round came to; `seconds` is wall time."""

    phase: str
    round: int
    metric: str | None
    value: float | None
    seconds: float
    sites: int


@dataclass(frozen=True)
class PhaseDone:
    """Say that a phase ended, after how many rounds and why."""

    phase: str
    rounds: int
    stopped: str


@dataclass(frozen=True)
class Lost:
    """Say that nothing is heard of a site any more, for how many seconds."""

    site: str
    seconds: float


@dataclass(frozen=True)
class Back:
    """Say that a site is heard again."""

    site: str


@dataclass(frozen=True)
class Note:
    """Say something else worth a line."""

    text: str


Event = StudyStarted | RoundOpened | Answered | Refused | RoundClosed | PhaseDone | Lost | Back | Note
Watch = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Watch nothing."""
