"""Say what a combiner may keep on the coordinator's disk while a total is being opened.

Once sites were asked to open a total of a round, some of them may have done so, and these help to open no other one of that round. So what
the coordinator has collected by then must outlive it: only with that can the round close while others are away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wardround.study.arrays import Arrays
from wardround.study.interfaces import Read, T
from wardround.study.task import Refusal, Stage, Task, Update


@dataclass(frozen=True)
class Standing:
    """Hold an attempt whose total is being opened.

    Attributes:
        facts: JSON values that its combiner wrote.
        sums: what was added up so far.
        said: what came after that, in order: stage, who said it and what.
    """

    facts: Mapping[str, Any]
    sums: Arrays
    said: Sequence[tuple[Stage, Update]]


class Keeping(ABC):
    """Be an `Admit` that also keeps the round's attempt from the moment that its total is asked to be opened."""

    @abstractmethod
    def __call__(self, task: Task, update: Update, read: Read[T]) -> T | Refusal:
        """Return what `read` makes of layout and body, or a refusal that names the site."""

    @abstractmethod
    def standing(self) -> Standing | None:
        """Return the attempt that is to be taken up again; None where this one begins."""

    @abstractmethod
    def keep(self, facts: Mapping[str, Any], sums: Arrays) -> None:
        """Keep an attempt: durable when this returns."""

    @abstractmethod
    def add(self, stage: Stage, update: Update) -> None:
        """Keep what a site said after that; it becomes durable together with the entry that says that it came."""

    @abstractmethod
    def identities(self) -> Mapping[str, str]:
        """Return the public key that each site joined with, in hex."""

    @abstractmethod
    def bound(self) -> Sequence[str]:
        """Return who is in a total of this round that sites may have helped to open and that never came out; nobody as a rule."""

    @abstractmethod
    def tell(self, refusals: Sequence[Refusal]) -> None:
        """Tell people of sites that are in the total and did not help to open it."""
