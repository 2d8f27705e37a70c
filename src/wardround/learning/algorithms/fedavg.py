"""Train one model at all sites: federated averaging with a server optimiser.

Each round a site first judges the model it received on its validation rows, then trains it on its training rows, and sends
`examples x (trained - received)` with the validation sums. The coordinator divides, lets the server optimiser step, and applies the stop
rule. One last round only validates, so that the last model is judged too.

Source: McMahan et al., Communication-efficient learning of deep networks from decentralized data, AISTATS 2017, algorithm 1; Reddi et al.,
Adaptive federated optimization, ICLR 2021 (server optimisers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from wardround.learning import server
from wardround.learning.norm import need_moments, norm_here, shared_norm
from wardround.learning.options import FedAvgOptions
from wardround.learning.rows import inputs_and_targets
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Algorithm
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Term, Total


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """Average the sites' updates, round by round."""

    Options: ClassVar[type] = FedAvgOptions
    options: FedAvgOptions = field(default_factory=FedAvgOptions)

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return one training, once there is a normalisation for it."""
        need_moments(protocol, phase.name)
        return super().expand(protocol, phase)

    def leaves(self) -> tuple[int, str]:
        """Return one answer a round, and one that only validates."""
        many = "the number of training rows and that many times the" if self.options.weighting == "examples" else "the"
        change = f"{many} change of each model parameter"
        return self.options.rounds + 1, f"{change}, and the loss and a histogram of the received model's scores on validation rows"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State | Done:
        """Return the initial parameters, the shared normalisation and an empty stop rule."""
        parameters = dict(earlier["initial"].results)
        return State(
            self.phase,
            0,
            {
                **put_under("params", parameters),
                **put_under("server", server.start(parameters, self.options)),
                **put_under("norm", shared_norm(protocol, earlier)),
                **put_under("best", parameters),
                "best_round": np.zeros((), dtype=np.int64),
                "scores": np.full(self.options.rounds + 1, np.nan),
            },
        )

    def ask(self, state: State) -> Ask:
        """Ask for an update and validation sums; after the last round for validation sums alone."""
        params = under(state.arrays, "params")
        return self.ask_for(state, params, train=state.round < self.options.rounds, validate=True, roles=("train",))

    def ask_for(self, state: State, params: Arrays, *, train: bool, validate: bool, roles: tuple[str, ...], **more: Any) -> Ask:
        """Return the ask for a round that trains, validates, or both."""
        bounds, question = self.protocol.bounds, self.protocol.question_plugin
        most = float(bounds.examples) if self.options.weighting == "examples" else 1.0
        terms: list[Term] = []
        if train:
            terms.append(Term.count("examples", (), most, bounds.sites))
            for name, value in sorted(params.items()):
                if np.issubdtype(value.dtype, np.floating):
                    terms.append(Term.sized(f"update/{name}", value.shape, most * bounds.update, bounds.sites, per="examples"))
        if validate:
            outputs = question.outputs(self.protocol.contract)
            terms += [renamed(term, f"validation/{term.name}") for term in question.terms(outputs, bounds.examples, bounds.sites)]
        arrays = {**put_under("params", params), **put_under("norm", under(state.arrays, "norm"))}
        return Ask(arrays, tuple(terms), {"train": train, "validate": validate, "roles": list(roles), **more})

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Validate the model received, then train it on this site's rows."""
        from wardround.learning.network import fill, new_network, parameters_of, reproducible, scores
        from wardround.learning.train import train

        question = self.protocol.question_plugin
        norm = norm_here(self.protocol, under(ask.arrays, "norm"), data)
        received = under(ask.arrays, "params")
        sums: dict[str, np.ndarray] = {}
        with reproducible(rng):
            network = new_network(self.protocol)
            fill(network, received)
            if ask.options["validate"]:
                x, y = inputs_and_targets(self.protocol, data, norm, "validation")
                sums.update(put_under("validation", question.sums(scores(network, x), y)))
            if ask.options["train"]:
                x, y = inputs_and_targets(self.protocol, data, norm, *ask.options["roles"])
                train(network, question, x, y, self.options, rng)
                share = len(x) if self.options.weighting == "examples" else min(len(x), 1)
                trained = parameters_of(network)
                sums["examples"] = np.asarray(share)
                for name in [term.name for term in ask.layout if term.name.startswith("update/")]:
                    key = name.removeprefix("update/")
                    sums[name] = share * (trained[key].astype(np.float64) - received[key])
        return Answer(sums), None

    def advance(self, state: State, total: Total) -> State | Done:
        """Judge the model that was sent, stop if the rule says so, else take the server optimiser's step."""
        arrays = dict(state.arrays)
        judged = self.judge(arrays, state.round, total)
        if judged is not None:
            return self.finish(arrays, state.round, state.round + 1, judged)
        arrays.update(self.stepped(arrays, total))
        return State(self.phase, state.round + 1, arrays)

    def cut_short(self, state: State) -> Done | None:
        """Return the best round before training diverged; None when it was the first."""
        return self.finish(state.arrays, state.round, state.round, "quorum") if state.round > 0 else None

    def stepped(self, arrays: Arrays, total: Total) -> dict[str, np.ndarray]:
        """Return parameters and server state after the mean update of this round."""
        examples = np.maximum(total.sums["examples"], 1)
        mean = {name: value / examples for name, value in under(total.sums, "update").items()}
        params, kept = server.step(under(arrays, "params"), mean, under(arrays, "server"), self.options)
        return {**put_under("params", params), **put_under("server", kept)}

    def judge(self, arrays: dict[str, np.ndarray], round_: int, total: Total) -> str | None:
        """Note the validation score of the model that was sent; return why training ends, or None."""
        question, rule = self.protocol.question_plugin, self.protocol.stop
        metric = self.protocol.evaluation.metrics[0]
        score = float(question.metrics(under(total.sums, "validation"))[metric])
        before = arrays["scores"]
        best = float(before[int(arrays["best_round"])])
        arrays["scores"] = np.where(np.arange(len(before)) == round_, score, before)
        sign = question.better(metric)
        if round_ == 0 or np.isnan(best) or sign * score > sign * best:
            arrays.update(put_under("best", under(arrays, "params")))
            arrays["best_round"] = np.asarray(round_)
        if rule.target is not None and sign * score >= sign * rule.target:
            return "target"
        if round_ >= self.options.rounds:
            return "rounds"
        if rule.patience is not None and round_ - int(arrays["best_round"]) >= rule.patience:
            return "patience"
        return None

    def finish(self, arrays: Arrays, trained: int, closed: int, stopped: str) -> Done:
        """Return the kept parameters, how they were chosen, and the model file's arrays.

        Args:
            arrays: of the last state, with the last score.
            trained: rounds of training behind its parameters.
            closed: rounds that were closed, with the one that only validated.
            stopped: why training ended.
        """
        best = self.protocol.stop.keep == "best"
        model = {**put_under("params", under(arrays, "best" if best else "params")), **put_under("norm", under(arrays, "norm"))}
        kept = np.asarray(int(arrays["best_round"]) if best else trained)
        results = {**model, "scores": arrays["scores"], "kept_round": kept, "trained_rounds": np.asarray(trained)}
        return Done(self.phase, closed, results, stopped, model)


def renamed(term: Term, name: str) -> Term:
    """Return a term under another name."""
    return Term(name, term.shape, term.bits, term.limit, term.step, term.kind, term.per, term.noise)
