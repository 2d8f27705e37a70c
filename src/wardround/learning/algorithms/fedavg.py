"""Train one model at all sites: federated averaging with a server optimiser.

Each round a site first judges the model it received on its validation rows, then trains it on its training rows, and sends
`examples x (trained - received)` with the validation sums. The coordinator divides, lets the server optimiser step, and applies the stop
rule. One last round only validates, so that the last model is judged too.

Source: McMahan et al., Communication-efficient learning of deep networks from decentralized data, AISTATS 2017, algorithm 1; Reddi et al.,
Adaptive federated optimization, ICLR 2021 (server optimisers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from wardround.learning import server
from wardround.learning.norm import need_moments, norm_here, shared_norm
from wardround.learning.options import FedAvgOptions
from wardround.learning.rows import batch_of
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """Average the sites' updates, round by round."""

    Options: ClassVar[type] = FedAvgOptions
    gives = "model"
    options: FedAvgOptions = field(default_factory=FedAvgOptions)

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return one training, once there are a question, a model and a normalisation for it."""
        need_moments(protocol, phase.name)
        _ = protocol.model_plugin, protocol.outputs, protocol.direction
        return super().expand(protocol, phase)

    @property
    def place(self) -> str:
        """Return the name under which the phase stands in the protocol."""
        return self.phase

    def leaves(self) -> tuple[int, str]:
        """Return one answer a round, and one that only validates."""
        many = "the number of training rows and that many times the" if self.options.weighting == "examples" else "the"
        change = f"{many} change of each model parameter"
        return self.options.rounds + 1, f"{change}, and {self.protocol.question_plugin.validated} on validation rows"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State | Done:
        """Return the initial parameters, the shared normalisation and an empty stop rule.

        Raises:
            ProtocolError: the model has parameters that shall stay at a site, which averaging would send.
        """
        parameters = dict(earlier["initial"].results)
        for name in parameters:
            if protocol.model_plugin.scope(name) == "site":
                raise ProtocolError(f"model.kind: parameter {name!r} shall stay at its site, and 'fedavg' sends all.", "Use another model.")
        server_state = put_under("server", server.start(parameters, self.options))
        shared = {**put_under("params", parameters), **server_state, **put_under("norm", shared_norm(protocol, self.place, earlier))}
        rule = {"kept_round": np.zeros((), dtype=np.int64), "scores": np.full(self.options.rounds + 1, np.nan)}
        return State(self.phase, 0, {**shared, **put_under("kept", parameters), **rule})

    def ask(self, state: State) -> Ask:
        """Ask for an update and validation sums; after the last round for validation sums alone."""
        return self.ask_for(state, ("train",), train=state.round < self.options.rounds, validate=True)

    def ask_for(self, state: State, roles: tuple[str, ...], *, train: bool, validate: bool, **more: Any) -> Ask:
        """Return the ask for a round that trains on rows with some roles, validates, or both."""
        bounds, question, first = self.protocol.bounds, self.protocol.question_plugin, self.protocol.primary
        params = under(state.arrays, "params")
        most = float(bounds.examples) if self.options.weighting == "examples" else 1.0
        terms = [Term.count("examples", (), most, bounds.sites)] if train else []
        floats = {name: value.shape for name, value in sorted(params.items()) if train and np.issubdtype(value.dtype, np.floating)}
        terms += [Term.sized(f"update/{name}", shape, most * bounds.update, bounds.sites, per="examples") for name, shape in floats.items()]
        wanted = question.terms(self.protocol.outputs, bounds.examples, bounds.sites) if validate else ()
        terms += [replace(term, name=f"validation/{term.name}") for term in wanted if first in question.later.get(term.name, (first,))]
        arrays = {**put_under("params", params), **put_under("norm", under(state.arrays, "norm"))}
        return Ask(arrays, tuple(terms), {"train": train, "validate": validate, "roles": list(roles), **more})

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Validate the model received, on no rows where sums about so few patients may not leave; then train it on this site's rows."""
        from wardround.learning.network import fill, new_network, parameters_of, reproducible, scores
        from wardround.learning.train import train

        question, received = self.protocol.question_plugin, under(ask.arrays, "params")
        norm, sums = norm_here(self.protocol, under(ask.arrays, "norm"), data), dict[str, np.ndarray]()
        with reproducible(rng):
            network = new_network(self.protocol)
            fill(network, received)
            if ask.options["validate"]:
                few = not self.protocol.hides and len(np.unique(data.patient[data.rows("validation")])) < question.smallest
                batch = batch_of(self.protocol, data, norm, *(() if few else ("validation",)))
                sums.update(put_under("validation", question.metrics(question.told(scores(network, batch["x"]), batch), batch)))
            if ask.options["train"]:
                batch = batch_of(self.protocol, data, norm, *ask.options["roles"])
                train(network, question, batch, self.options, rng)
                examples, trained = len(batch["mask"]), parameters_of(network)
                share = examples if self.options.weighting == "examples" else min(examples, 1)
                moved = {name: share * (new.astype(np.float64) - received[name]) for name, new in trained.items() if new.dtype.kind == "f"}
                sums.update(put_under("update", moved), examples=np.asarray(share))
        return Answer({term.name: sums[term.name] for term in ask.layout}), None

    def advance(self, state: State, total: Total) -> State | Done:
        """Judge the model that was sent, stop if the rule says so, else take the server optimiser's step."""
        arrays = dict(state.arrays)
        if (stopped := self.judge(arrays, state.round, total)) is not None:
            return self.finish(arrays, state.round, state.round + 1, stopped)
        return State(self.phase, state.round + 1, {**arrays, **self.stepped(arrays, total)})

    def cut_short(self, state: State) -> Done | None:
        """Return the best round before training diverged; None when it was the first."""
        return self.finish(state.arrays, state.round, state.round, "quorum") if state.round > 0 else None

    def stepped(self, arrays: Arrays, total: Total) -> dict[str, np.ndarray]:
        """Return parameters and server state after the mean update of this round."""
        mean = {name: value / np.maximum(total.sums["examples"], 1) for name, value in under(total.sums, "update").items()}
        params, kept = server.step(under(arrays, "params"), mean, under(arrays, "server"), self.options)
        return {**put_under("params", params), **put_under("server", kept)}

    def judge(self, arrays: dict[str, np.ndarray], round_: int, total: Total) -> str | None:
        """Note the validation score of the model that was sent, and keep it if it is to be kept; return why training ends, or None."""
        rule, sign = self.protocol.stop, self.protocol.direction
        score = float(self.protocol.question_plugin.finalise(under(total.sums, "validation"), self.protocol.primary))
        best = float(arrays["scores"][int(arrays["kept_round"])])
        arrays["scores"] = np.where(np.arange(len(arrays["scores"])) == round_, score, arrays["scores"])
        if rule.keep == "last" or np.isnan(best) or sign * score > sign * best:
            arrays.update({**put_under("kept", under(arrays, "params")), "kept_round": np.asarray(round_)})
        if rule.target is not None and sign * score >= sign * rule.target:
            return "target"
        if round_ >= self.options.rounds:
            return "rounds"
        return "patience" if rule.patience is not None and round_ - int(arrays["kept_round"]) >= rule.patience else None

    def finish(self, arrays: Arrays, trained: int, closed: int, stopped: str) -> Done:
        """Return the kept parameters, how they were chosen, and the model file's arrays.

        Args:
            arrays: of the last state, with the last score.
            trained: rounds of training behind its parameters.
            closed: rounds that were closed, with the one that only validated.
            stopped: why training ended.
        """
        model = {**put_under("params", under(arrays, "kept")), **put_under("norm", under(arrays, "norm"))}
        facts = {"scores": arrays["scores"], "kept_round": arrays["kept_round"], "trained_rounds": np.asarray(trained)}
        return Done(self.phase, closed, {**model, **facts}, stopped, model)
