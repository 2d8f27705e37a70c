"""Train one model at all sites: federated averaging with a server optimiser.

Each round a site first judges the model it received on its validation rows, then trains it on its training rows, and sends
`examples x (trained - received)` with the validation sums. The coordinator divides, lets the server optimiser step, and applies the stop
rule. One last round only validates, so that the last model is judged too.

Other methods are subclasses, one file each: what they change is how a site trains (`optimiser`, `local`), what it sends and is sent
(`terms`, `sent`), and how the next parameters follow (`start_server`, `stepped`). Parts of the model that the plan calls private never
leave: a site keeps its own and puts them into what it receives.

Source: McMahan et al., Communication-efficient learning of deep networks from decentralized data, AISTATS 2017, algorithm 1; Reddi et al.,
Adaptive federated optimization, ICLR 2021 (server optimisers); Arivazhagan et al., Federated learning with personalization layers,
arXiv 1912.00818 (private heads); Li et al., FedBN, ICLR 2021 (private normalisation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from wardround.learning.algorithms.tuned import expanded
from wardround.learning.augment import refuse_unfit
from wardround.learning.network import fill, new_network, parameters_of, reproducible, scores
from wardround.learning.norm import need_moments, norm_here, shared_norm
from wardround.learning.options import FedAvgOptions
from wardround.learning.rows import batch_of
from wardround.learning.servers import SERVERS
from wardround.learning.train import optimiser_for, train
from wardround.learning.votes import voted_score
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm, Batch
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.protocol.sections import ROLLBACKS
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

PRIVATE = "private"
"""Under this name a site keeps its own parts of the model, by phase."""


@dataclass(frozen=True)
class Visit:
    """Hold one site's part of one round of training.

    Attributes:
        network: filled with what was received, and with the site's own parts.
        batch: the rows to train on.
        received: parameters by name.
        mine: what the site kept of each phase, by phase name.
        ask: what was asked.
        rng: the site's private stream.
        options: with the learning rate of this round.
    """

    network: nn.Module
    batch: Batch
    received: Arrays
    mine: Mapping[str, Arrays]
    ask: Ask
    rng: Stream
    options: FedAvgOptions


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """Average the sites' updates, round by round.

    Attributes:
        parent: of one setting among several that are tried, the phase that chooses.
    """

    Options: ClassVar[type] = FedAvgOptions
    gives: ClassVar[Literal["start", "model"]] = "model"
    options: FedAvgOptions = field(default_factory=FedAvgOptions)
    parent: str = ""

    sent: ClassVar[tuple[str, ...]] = ("params/", "norm/")
    """How the names of those arrays of a state begin that sites are sent."""

    ruled: ClassVar[bool] = True
    """Whether a robust rule judges all that moves the model: sums beside the mean update would go past it."""

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return one training, or one for each setting and the choice among them; once there are question, model and normalisation."""
        need_moments(protocol, phase.name)
        _ = protocol.model_plugin, protocol.outputs, protocol.direction
        if protocol.model.private and protocol.stop.keep != "last":
            wrong = "stop.keep: a hospital's private parts are those of its last round, and 'best' may be an earlier one."
            raise ProtocolError(wrong, "Write keep = 'last' under [stop].")
        found = expanded(cls, protocol, phase)
        for one in found:
            refuse_unfit(getattr(one.options, "augment", ()), protocol.inputs)
        return found

    @property
    def place(self) -> str:
        """Return the name under which the phase stands in the protocol."""
        return self.parent or self.phase

    def leaves(self) -> tuple[int, str]:
        """Return one answer a round, and one that only validates."""
        many = "the number of training rows and that many times the" if self.options.weighting == "examples" else "the"
        change = f"{many} change of each model parameter{self.protocol.parts_that_stay}"
        return self.options.rounds + 1, f"{change}, and {self.protocol.question_plugin.validated} on validation rows"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State | Done:
        """Return the initial parameters, the shared normalisation and an empty stop rule."""
        pretrained = protocol.giving("start", before=self.place)
        parameters = {**earlier["initial"].results, **(under(earlier[pretrained].results, "params") if pretrained else {})}
        server_state = put_under("server", self.start_server(self.moving(parameters)))
        shared = {**put_under("params", parameters), **server_state, **put_under("norm", shared_norm(protocol, self.place, earlier))}
        rule = {"kept_round": np.zeros((), dtype=np.int64), "scores": np.full(self.options.rounds + 1, np.nan)}
        if protocol.stop.rollback is not None:
            rule["undone"] = np.zeros(self.options.rounds + 1, dtype=bool)
        return State(self.phase, 0, {**shared, **put_under("kept", parameters), **rule})

    def moving(self, parameters: Arrays) -> dict[str, np.ndarray]:
        """Return the parameters that are trained together: numbers that are neither private nor frozen."""
        model, numbers = self.protocol.model, {name: value for name, value in parameters.items() if value.dtype.kind == "f"}
        return {name: numbers[name] for name in numbers if self.protocol.moves(name)} if model.private or model.frozen else numbers

    def start_server(self, parameters: Arrays) -> dict[str, np.ndarray]:
        """Return the server's first state, by name."""
        return SERVERS[self.options.server_optimiser].start(parameters, self.options)

    def ask(self, state: State) -> Ask:
        """Ask for an update and validation sums; after the last round for validation sums alone."""
        return self.ask_for(state, ("train",), train=state.round < self.options.rounds, validate=True)

    def ask_for(self, state: State, roles: tuple[str, ...], *, train: bool, validate: bool, **more: Any) -> Ask:
        """Return the ask for a round that trains on rows with some roles, validates, or both."""
        bounds, question, first = self.protocol.bounds, self.protocol.question_plugin, self.protocol.primary
        moving = self.moving(under(state.arrays, "params"))
        terms = self.terms({name: moving[name].shape for name in sorted(moving)}) if train else []
        wanted = question.terms(self.protocol.outputs, bounds.examples, bounds.sites) if validate else ()
        terms += [replace(term, name=f"validation/{term.name}") for term in wanted if first in question.later.get(term.name, (first,))]
        arrays = {name: state.arrays[name] for name in state.arrays if name.startswith(self.sent)}
        scheduled = {"round": state.round} if self.options.schedule != "constant" else {}
        return Ask(arrays, tuple(terms), {"train": train, "validate": validate, "roles": list(roles), **scheduled, **more})

    def terms(self, shapes: Mapping[str, tuple[int, ...]]) -> list[Term]:
        """Return what a site sends of its training: how much it counts, and its update; a method adds what it needs beside them."""
        bounds = self.protocol.bounds
        most = float(bounds.examples) if self.options.weighting == "examples" else 1.0
        limit, sites = most * bounds.update, bounds.sites
        updates = [Term.sized(f"update/{name}", shape, limit, sites, per="examples") for name, shape in shapes.items()]
        return [Term.count("examples", (), most, sites), *updates]

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Validate the model received, on no rows where sums about so few patients may not leave; then train it on this site's rows."""
        question, received = self.protocol.question_plugin, under(ask.arrays, "params")
        norm, sums, own = norm_here(self.protocol, under(ask.arrays, "norm"), data), dict[str, np.ndarray](), None
        with reproducible(rng):
            network = new_network(self.protocol)
            fill(network, {**received, **under(mine.get(self.phase, {}), PRIVATE)} if self.protocol.model.private else received)
            if ask.options["validate"]:
                few = not self.protocol.hides and len(np.unique(data.patient[data.rows("validation")])) < question.smallest
                batch = batch_of(self.protocol, data, norm, *(() if few else ("validation",)))
                sums.update(put_under("validation", question.metrics(question.told(scores(network, batch["x"]), batch), batch)))
            if ask.options["train"]:
                batch = batch_of(self.protocol, data, norm, *ask.options["roles"])
                options = self.options.at(int(ask.options["round"])) if "round" in ask.options else self.options
                trained, own = self.local(Visit(network, batch, received, mine, ask, rng, options))
                sums.update(trained)
        return Answer({term.name: sums[term.name] for term in ask.layout}), own

    def local(self, visit: Visit) -> tuple[dict[str, np.ndarray], Arrays | None]:
        """Train at one site; return what it sends, and what it proposes to keep."""
        self.train(visit)
        return self.weighed(visit, self.moved(visit)), self.kept(visit) if self.protocol.model.private else None

    def train(self, visit: Visit) -> int:
        """Train the visit's network for one round and return how many steps it took."""
        return train(visit.network, self.protocol.question_plugin, visit.batch, visit.options, visit.rng, self.optimiser(visit))

    def optimiser(self, visit: Visit) -> Optimizer:
        """Return what takes the steps; a method may correct the gradients before each (`train.corrected`)."""
        return optimiser_for(visit.network, visit.options)

    def moved(self, visit: Visit) -> dict[str, np.ndarray]:
        """Return trained minus received of what is trained together, float64 by name."""
        trained = parameters_of(visit.network)
        return {name: trained[name].astype(np.float64) - before for name, before in self.moving(visit.received).items()}

    def weighed(self, visit: Visit, moved: Arrays) -> dict[str, np.ndarray]:
        """Return an update times how much this site counts, and how much that is."""
        share = len(visit.batch["mask"]) if self.options.weighting == "examples" else min(len(visit.batch["mask"]), 1)
        return {**{f"update/{name}": share * value for name, value in moved.items()}, "examples": np.asarray(share)}

    def kept(self, visit: Visit) -> dict[str, np.ndarray]:
        """Return the site's own parts of the model, to be kept."""
        own = {name: value for name, value in parameters_of(visit.network).items() if self.protocol.stays(name)}
        return put_under(PRIVATE, own)

    def advance(self, state: State, total: Total) -> State | Done:
        """Judge the model that was sent, stop if the rule says so, else take the server optimiser's step."""
        arrays = dict(state.arrays)
        if (stopped := self.judge(arrays, state.round, total)) is not None:
            return self.finish(arrays, state.round, state.round + 1, stopped)
        undone = "undone" in arrays and arrays["undone"][state.round]
        return State(self.phase, state.round + 1, arrays if undone else {**arrays, **self.stepped(arrays, total)})

    def cut_short(self, state: State) -> Done | None:
        """Return the best round before training diverged; None when it was the first and there is no other setting to try."""
        return self.finish(state.arrays, state.round, state.round, "quorum") if state.round > 0 or self.parent else None

    def stepped(self, arrays: Arrays, total: Total) -> dict[str, np.ndarray]:
        """Return parameters and server state after the mean update of this round."""
        mean = {name: value / np.maximum(total.sums["examples"], 1) for name, value in under(total.sums, "update").items()}
        params, kept = SERVERS[self.options.server_optimiser].step(under(arrays, "params"), mean, under(arrays, "server"), self.options)
        return {**put_under("params", params), **put_under("server", kept)}

    def judge(self, arrays: dict[str, np.ndarray], round_: int, total: Total) -> str | None:
        """Note the validation score of the model that was sent, and keep it if it is to be kept; return why training ends, or None."""
        rule, sign, question = self.protocol.stop, self.protocol.direction, self.protocol.question_plugin
        said = voted_score(self.protocol, total.sums) if self.protocol.rounds.hostile else None
        score = float(question.finalise(under(total.sums, "validation"), self.protocol.primary)) if said is None else said
        best = float(arrays["scores"][int(arrays["kept_round"])])
        arrays["scores"] = np.where(np.arange(len(arrays["scores"])) == round_, score, arrays["scores"])
        if rule.rollback is not None and sign * score < sign * best - rule.rollback:
            if self.undo(arrays, round_):
                return "rolled_back"
        elif rule.keep == "last" or np.isnan(best) or sign * score > sign * best:
            arrays.update({**put_under("kept", under(arrays, "params")), "kept_round": np.asarray(round_)})
        if rule.target is not None and sign * score >= sign * rule.target:
            return "target"
        if round_ >= self.options.rounds:
            return "rounds"
        return "patience" if rule.patience is not None and round_ - int(arrays["kept_round"]) >= rule.patience else None

    def undo(self, arrays: dict[str, np.ndarray], round_: int) -> bool:
        """Go back to the model that is kept, with a new server optimiser; say whether that was once too often."""
        kept = under(arrays, "kept")
        arrays.update({**put_under("params", kept), **put_under("server", self.start_server(self.moving(kept)))})
        arrays["undone"] = arrays["undone"] | (np.arange(len(arrays["undone"])) == round_)
        return int(np.sum(arrays["undone"])) >= ROLLBACKS

    def finish(self, arrays: Arrays, trained: int, closed: int, stopped: str) -> Done:
        """Return the kept parameters, how they were chosen, and the model file's arrays.

        Args:
            arrays: of the last state, with the last score.
            trained: rounds of training behind its parameters.
            closed: rounds that were closed, with the one that only validated.
            stopped: why training ended.
        """
        model = {**put_under("params", under(arrays, "kept")), **put_under("norm", under(arrays, "norm"))}
        facts = {name: arrays[name] for name in ("scores", "kept_round", "undone") if name in arrays}
        return Done(self.phase, closed, {**model, **facts, "trained_rounds": np.asarray(trained)}, stopped, model)
