"""Name the places where something new can be plugged in: one abstract class each, one new file an implementation.

Each is found by its entry point's name (`plugins.py`), never by a dotted path in a file.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.files import Data
from wardround.study.layout import Layout, Term
from wardround.study.plugins import validated
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, Refusal, Short, SiteWork, State, Task, Total, Update

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor, nn

    from wardround.study.protocol import Contract, Phase, Protocol

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
    gives: ClassVar[Literal["", "norm", "model", "own model", "judgement", "table"]] = ""
    """What later phases or the result find here: a normalisation, a model, a model of each site's own, how models were judged, a table."""

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


Batch = Mapping[str, Any]
"""Rows of one site, arrays or tensors: `x` inputs [B, ...], `y` targets [B, ...], `patient` int64 [B], `mask` bool [B] (False: padding)."""


class Question(ABC):
    """Describe what is to be learnt: the loss, and the sums that its metrics are made of."""

    validated: ClassVar[str] = "the loss and a histogram of the received model's scores"
    """What a training round tells of validation rows, in words for the one-page summary."""

    tested: ClassVar[str] = "histograms of the scores"
    """What the evaluation tells of a model on test and validation rows."""

    few: ClassVar[str] = "fewer than 30, or fewer than 5 of a class"
    """Test patients that `enough` finds too few, in words."""

    smallest: ClassVar[int] = 0
    """Patients under which a site's sums on validation or test rows do not leave it where they are seen singly."""

    later: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})
    """Sums that validation rows are asked for only where they are needed, each with what needs it: a first metric, or "interval"."""

    @property
    @abstractmethod
    def better(self) -> Mapping[str, int]:
        """Return its metrics, each with +1 where larger is better and -1 where smaller is."""

    @property
    def units(self) -> Mapping[str, str]:
        """Return the unit of each metric that has one."""
        return {}

    def about(self, contract: Contract) -> Question:
        """Return the question as it is asked of this contract; overridden where a label's range or unit matters."""
        return self

    @abstractmethod
    def outputs(self, contract: Contract) -> int:
        """Return how many numbers a model must give for one example.

        Raises:
            ProtocolError: the label's type does not fit the question.
        """

    @abstractmethod
    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return the label of each row, in the form that `loss` and `metrics` take as `y`."""

    def batch(self, contract: Contract, columns: Arrays, rows: np.ndarray, norm: Arrays) -> dict[str, np.ndarray]:
        """Return what a batch of these rows holds of the label: `y`, and whatever else `loss` and `told` need of each row.

        Args:
            contract: names the label.
            columns: of the snapshot.
            rows: numbers of the rows, [N].
            norm: "mean" and "deviation" of the inputs and, last, of a label that is a number.
        """
        return {"y": self.target(contract, {contract.label: columns[contract.label][rows]})}

    def told(self, output: np.ndarray, batch: Batch) -> np.ndarray:
        """Return what `metrics` takes of a network's outputs on the rows of a batch; overridden where these are in a unit of their own."""
        return output

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each example, float32 [B].

        Args:
            output: float32 [B, outputs], a model's raw scores.
            batch: of tensors.
        """

    @abstractmethod
    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout of what `metrics` gives.

        Args:
            outputs: how many numbers a model gives for one example.
            most: largest number of examples at one site.
            sites: largest number of sites.
            replicates: bootstrap replicates beside the plain sums; 0 for none.
        """

    @abstractmethod
    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return the additive sums that `finalise` needs.

        Args:
            output: float64 [N, outputs], finite, from `told`.
            batch: of arrays.
            weights: integers [R, N]: one row a replicate; None for one row of ones, and then without the leading axis.

        Raises:
            DataError: a score is not finite.
        """

    @abstractmethod
    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return one metric from sums with or without a leading replicate axis: elementwise + - * / and cumulative sums only."""

    @abstractmethod
    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return metrics that need a choice on validation: sensitivity and specificity at the threshold that gives `specificity`."""

    def further(self, total: Arrays, sites: Mapping[str, Arrays]) -> dict[str, Any]:
        """Return further parts of the result, from the sums of the federated model over all sites and by site; as a rule none."""
        return {}

    def here(self, told: Mapping[str, Any], test: Arrays) -> dict[str, Any]:
        """Return by part what a site's own test sums add to the further parts of a released result; as a rule nothing."""
        return {}

    @abstractmethod
    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return what each metric would be for guessing by the shares of the classes alone, from sums with or without replicates."""

    @abstractmethod
    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return counts of patients, int64 [groups]: in all, then of classes with an example of each; `enough` judges them."""

    @abstractmethod
    def groups(self, outputs: int) -> int:
        """Return the length of a tally."""

    @abstractmethod
    def enough(self, tally: np.ndarray) -> bool:
        """Say whether test patients are enough for a claim: 30, and of classes 5 of each."""

    @abstractmethod
    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return float64 [N, classes] probabilities of raw scores: what is averaged over several models. Of a number: itself."""

    @abstractmethod
    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return float64 [N, outputs] raw scores that give these probabilities: the inverse of `probability`."""


class Model(ABC):
    """Describe a model: how to build the module, and which parameters are shared. Forward only; the loss is the question's."""

    finished: ClassVar[bool] = False
    """Whether it comes as a file that holds its structure too: it can be tested as it is, and not be trained."""

    @abstractmethod
    def build(self, inputs: int, outputs: int) -> nn.Module:
        """Return a new module that maps float32 [B, inputs] to float32 [B, outputs].

        Its parameters are initialised from torch's generator.
        """

    def scope(self, name: str) -> str:
        """Return "shared" for a parameter that travels, "site" for one that stays at the site."""
        return "shared"


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

    @abstractmethod
    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return the total over the admitted sites, or `Short` when fewer than `quorum` were.

        And a refusal for each site that is not in it.
        """

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
