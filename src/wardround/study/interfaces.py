"""Name the places where something new can be plugged in: one abstract class each, one new file an implementation.

Each is found by its entry point's name (`plugins.py`), never by a dotted path in a file.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from wardround.study.arrays import Arrays, Specs
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError
from wardround.study.files import Data
from wardround.study.layout import Layout
from wardround.study.plugins import validated
from wardround.study.question import Batch as Batch
from wardround.study.question import Question as Question
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, Refusal, Short, SiteWork, State, Task, Total, Update

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from wardround.study.protocol import Contract, Field, Phase, Protocol

T = TypeVar("T")


@dataclass(frozen=True)
class NoOptions:
    """Take no options."""


@dataclass(frozen=True)
class Algorithm(ABC):
    """Describe one kind of computation by four pure functions: begin, ask, answer, advance.

    Both sides import it. `begin`, `ask` and `advance` need numpy only; `answer` may import torch inside the function.

    Attributes:
        phase: name of the phase it carries out.
        protocol: the signed plan.
        options: an instance of the class's `Options`, a frozen dataclass.
    """

    Options: ClassVar[type] = NoOptions
    gives: ClassVar[Literal["", "norm", "start", "model", "own model", "personal model", "judgement", "table"]] = ""
    """What later phases or the result find here: a normalisation, parameters to start from, a model, one of each site's own or made of the
    federated one, how models were judged, a table."""

    phase: str
    protocol: Protocol
    options: Any = field(default_factory=NoOptions)

    apart: ClassVar[bool] = False
    """Whether it compares sites, whose sums a combiner then keeps apart (`combine = "append"`); all others add up."""

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the algorithms that carry out one phase of a protocol: one, unless the phase tries several things first.

        Raises:
            ProtocolError: the phase cannot be carried out as written; the message names the key.
        """
        return (cls(phase.name, protocol, validated(cls.Options, phase.options, f"phases.{phase.name}")),)

    def leaves(self) -> tuple[int, str]:
        """Return how many answers one site gives at most, and what one of them holds, in words for the one-page summary."""
        return getattr(self.options, "rounds", 1), "the sums that its tasks name"

    @abstractmethod
    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State | Done:
        """Return the first state.

        Args:
            protocol: the signed plan.
            earlier: results of the phases before, by name; "initial" holds the parameters that stand in the protocol by digest.
            rng: public stream of this phase.
        """

    @abstractmethod
    def ask(self, state: State) -> Ask:
        """Return what every site is asked in this state."""

    def planned(self, ask: Ask, round: int) -> Ask:
        """Return what this algorithm asks in a round, for a hospital's gate to hold against what was asked.

        Layout and options follow from the arrays' names, types and shapes; where `ask` needs more of the state, this is overridden.

        Args:
            ask: the arrays, without what they hold, and the options that were sent.
            round: from 0.
        """
        return self.ask(State(self.phase, round, ask.arrays))

    @abstractmethod
    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return a site's sums, and what it proposes to keep for this phase (None: as before). Runs at the site.

        Args:
            ask: what every site is asked.
            data: the site's snapshot.
            mine: what the site kept of each phase, by phase name.
            rng: the site's private stream, keyed by this ask.
        """

    def answer_many(self, ask: Ask, work: Sequence[SiteWork]) -> Iterator[tuple[Answer, Arrays | None] | Refusal]:
        """Answer for several sites on one machine, in their order; a fast twin may override this and must give what `answer` gives."""
        for one in work:
            yield self.answer(ask, one.data, one.mine, one.rng)

    @abstractmethod
    def advance(self, state: State, total: Total) -> State | Done:
        """Return the next state.

        Elementwise + - * / and sqrt only, so that every site can repeat it bit for bit on any processor: no matrix products, no exp, log
        or powers.
        """

    def cut_short(self, state: State) -> Done | None:
        """Return what the phase came to when too few sites can answer this state and asking again would change nothing; None if nothing.

        Training that diverges ends here: every site refuses to send an update beyond the bounds.
        """
        return None


class Model(ABC):
    """Describe a model: how to build the module, and which parameters are shared. Forward only; the loss is the question's."""

    finished: ClassVar[bool] = False
    """Whether it comes as a file that holds its structure too: it can be tested as it is, and not be trained."""

    @abstractmethod
    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Return a new module that maps float32 [B, *inputs] to float32 [B, outputs].

        Its parameters are initialised from torch's generator.

        Args:
            inputs: (F,) for F columns of a table, (channels, length), (channels, height, width) or (channels, depth, height, width).
            outputs: how many numbers it gives for one example.

        Raises:
            ProtocolError: it does not take inputs of that kind.
        """

    def parts(self, name: str) -> frozenset[str]:
        """Return which parts of the model a parameter or buffer belongs to, at least one; without torch, from its name alone.

        "head": the last layer, which gives the outputs; "intercept": the bias of the head (which is "head" too); "norm": parameters and
        buffers of normalising layers; "body": everything but the head.

        Args:
            name: as in the module's `state_dict`.
        """
        return frozenset({"body"})


@dataclass(frozen=True)
class Flaw:
    """Say why a row has no image, in words that are the same for all rows with the same flaw and name no file and no patient.

    Attributes:
        wrong: goes after "12 images", such as "cannot be read to their end".
        remedy: what the hospital can do.
    """

    wrong: str
    remedy: str


class Source(ABC):
    """Describe where a site's rows come from. Runs in the loader, which may reach local systems."""

    synthetic: ClassVar[bool] = False
    """Whether its rows are made up; figures on them are called synthetic."""

    @abstractmethod
    def read(self, contract: Contract) -> pl.DataFrame:
        """Return the site's rows under its own column names, every cell as text or as the source's own type.

        Raises:
            DataError: the source cannot be read; the message names file and reason, never a value.
        """

    def pictures(self, field: Field, references: pl.Series) -> Iterator[np.ndarray | Flaw]:
        """Yield the image of each reference, one at a time: an array [channels, ...] of raw values, or why there is none.

        Size, channels and values are as the hospital has them; the loader holds them against the contract.

        Args:
            field: of type "image"; says how many axes are wanted.
            references: cells of the column that `read` gave for it, under that column's name, in its order; some rows may be left out.

        Raises:
            DataError: this source has no images, or none of them can be read.
        """
        raise DataError(
            "This kind of source has no images.", 'Write kind = "images" under [source], and path = the folder or the .npz file.'
        )


class Engine(ABC):
    """Carry tasks to sites and their answers back."""

    @abstractmethod
    def sites(self) -> tuple[str, ...]:
        """Return the names of the sites that take part, sorted."""

    @abstractmethod
    def send(self, tasks: Sequence[Task]) -> None:
        """Hand over tasks; sending the same task again changes nothing."""

    @abstractmethod
    def receive(self, due: float) -> Iterator[Update | Refusal]:
        """Give back answers as they come, until each asked site has answered or has had its `due` seconds."""

    @abstractmethod
    def close(self) -> None:
        """Let go of processes and connections."""


Read = Callable[[Layout, Data], T]
"""Makes of an update's body what it holds; raises VerificationError where it is not what was asked for."""


class Admit(typing.Protocol):
    """Hold an update against its task: what `read` makes of its body, or a refusal that names the site."""

    def __call__(self, task: Task, update: Update, read: Read[T]) -> T | Refusal:
        """Return what `read` makes of layout and body."""
        ...


Reply = tuple[Answer, Arrays | None] | Refusal
"""What a worker gives for one ask: sums and what to keep, or why not."""

Collected = tuple[Total | Short, tuple[Refusal, ...]]
"""What a round came to, and who is not in it."""


Hides = Literal["", "exchanges", "window"]
"""How a combiner hides single sites' sums: not at all, in exchanges of all sites, or in one message a site and the help of three."""


class Combiner(ABC):
    """Collect the answers of a round and add them up."""

    hides: ClassVar[Hides] = ""
    """Whether a site's own sums stay hidden; then an attempt that a restart cut is over: nobody says the same thing in two ways."""

    publishes: ClassVar[bool] = False
    """Whether sites can be given its totals, and repeat what follows from them, in place of being given that."""

    @abstractmethod
    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return the total over the admitted sites, or `Short` when fewer than `quorum` were.

        And a refusal for each site that is not in it.
        """

    def specs(self, layout: Layout, sites: int) -> Specs:
        """Return type and shape of each array of a published total of so many sites, of one group where sites are divided."""
        raise NotImplementedError(f"{type(self).__name__} publishes no totals")

    def sums(self, layout: Layout, integers: Arrays, sites: int) -> Arrays:
        """Return the sums that a published total of so many sites stands for, so that each site can repeat what follows from it.

        Raises:
            VerificationError: it is not of this layout, or beyond what so many sites may send.
        """
        raise NotImplementedError(f"{type(self).__name__} publishes no totals")


class Rule(ABC):
    """Combine updates in a way that is not a plain mean: a robust rule, or a researcher's own."""

    @abstractmethod
    def combine(self, updates: Mapping[str, Arrays], counts: Mapping[str, float]) -> Arrays:
        """Return the combined update.

        Args:
            updates: by site, in order of name: trained minus received, by parameter name, float64.
            counts: by site: the examples behind its update.
        """
