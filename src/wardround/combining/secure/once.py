"""Add up sums of one message: the combiner behind `rounds.combine = "one_message"`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wardround.combining.secure.driving import collected, identities_of
from wardround.combining.secure.masked import opened_specs, opened_sums
from wardround.combining.secure.window import HELPERS
from wardround.combining.secure.window_attempt import WindowAttempt
from wardround.study.arrays import Arrays, Specs
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Admit, Collected, Combiner, Engine, Hides
from wardround.study.layout import Layout
from wardround.study.task import Task


@dataclass(frozen=True)
class OneMessage(Combiner):
    """Sum integers that nobody sees one by one, one message a site, with the help of three.

    Attributes:
        helpers: names of three sites that hold the seeds of the masks.
    """

    hides: ClassVar[Hides] = "window"
    publishes: ClassVar[bool] = True
    helpers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse anything but three helpers."""
        if len(set(self.helpers)) != HELPERS or len(self.helpers) != HELPERS:
            example = 'such as helpers = ["north", "south", "west"]'
            raise ProtocolError(
                "rounds.helpers: a sum of one message needs three different helpers.",
                f"Name three hospitals that are there when a round begins and when it closes, {example}.",
            )

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return the exact total over the sites whose message came, or `Short`."""
        return collected(engine, WindowAttempt(tasks, quorum, self.helpers, identities_of(admit)), admit, tasks)

    def specs(self, layout: Layout, sites: int) -> Specs:
        """Return type and shape of each opened sum."""
        return opened_specs(layout)

    def sums(self, layout: Layout, integers: Arrays, sites: int) -> Arrays:
        """Return the sums that a published total stands for."""
        return opened_sums(layout, integers, sites)
