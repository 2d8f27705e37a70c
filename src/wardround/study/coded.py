"""Carry out a training whose sums travel through a codec: the same training, with other terms on the way.

`Coded` wraps a training. What it asks is what the training asks, with the codec's terms in place of the updates and what all know of the
codec beside the parameters. A site answers as ever, checks its sums against the training's own limits, and codes them; its rest is kept
with whatever else the site keeps of the phase, and like that becomes the site's own only when the round has closed. `advance` decodes the
total and lets the training go on. Counts, single numbers and what is said of validation rows travel as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from wardround.study.arrays import Arrays, put_under, under
from wardround.study.coding import Codec, Coding
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError, VerificationError
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Layout
from wardround.study.plugins import find, names
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, Refusal, SiteWork, State, Total

if TYPE_CHECKING:
    from wardround.study.protocol import Protocol

PUBLIC, REST = "codec", "codec"
"""Under these names stand, in state and ask, what all know of the codec; and in what a site keeps of the phase, its rest."""


def coded(protocol: Protocol, algorithms: Sequence[Algorithm]) -> tuple[Algorithm, ...]:
    """Return what is carried out, with the sums of what trains a model travelling through the protocol's codec.

    Raises:
        ProtocolError: nothing trains a model, or coded sums cannot be added up the way the protocol says.
    """
    codec = protocol.codec_plugin
    assert codec is not None
    if not any(one.gives == "model" for one in algorithms):
        raise ProtocolError("codec: no phase of this study trains a model together.", "Leave out [codec].")
    _fits(protocol, codec)
    return tuple(Coded(one.phase, protocol, one.options, one, codec) if one.gives == "model" else one for one in algorithms)


def long_enough(protocol: Protocol) -> None:
    """Refuse a plan whose training ends before anything has travelled, by its rounds or by patience; a shortened one may.

    Raises:
        ProtocolError: names the phase, or `stop.patience`.
    """
    codec, patience = protocol.codec_plugin, protocol.stop.patience
    if codec is not None and patience is not None and patience <= codec.lead:
        wrong = f"stop.patience: the first {codec.lead} rounds agree on what travels and change nothing, and patience would end there."
        raise ProtocolError(wrong, f"Write patience = {codec.lead + 1} or more, or leave out [codec].")
    for one in protocol.algorithms:
        if codec is not None and isinstance(one, Coded) and getattr(one.options, "rounds", codec.lead + 1) <= codec.lead:
            wrong = f"codec.kind: the first {codec.lead} rounds agree on what travels, and {one.phase} has no more than that."
            raise ProtocolError(wrong, f"Write rounds = {codec.lead + 1} or more, or leave out [codec].")


def _fits(protocol: Protocol, codec: Codec) -> None:
    """Refuse a codec whose messages cannot be added up the way the protocol says, and name those that can."""
    assert protocol.codec is not None
    kind = protocol.codec.kind
    if protocol.hides and not codec.adds:
        others = " or ".join(f'"{name}"' for name in names("codec") if find("codec", name).adds)
        wrong = f"codec.kind: numbers coded by {kind!r} do not add up under the masks of combine = {protocol.rounds.combine!r}."
        raise ProtocolError(wrong, f"Write kind = {others} under [codec].")
    if codec.mixes and (protocol.rounds.combine not in ("plain", "secure", "one_message") or "aggregator" in protocol.unregistered):
        others = " or ".join(f'"{name}"' for name in names("codec") if not find("codec", name).mixes)
        wrong = f"codec.kind: of numbers coded by {kind!r} only the sum can be had, and a rule wants each site's or group's update."
        raise ProtocolError(wrong, f'Write combine = "plain" or "secure" under [rounds]; or, for a rule in plain sums, kind = {others}.')


@dataclass(frozen=True)
class Coded(Algorithm):
    """Train with sums that travel through a codec.

    Attributes:
        training: what is carried out.
        codec: how its sums travel.
    """

    gives = "model"
    training: Algorithm = None  # type: ignore[assignment]  # always given; the fields before it have defaults
    codec: Codec = None  # type: ignore[assignment]

    def leaves(self) -> tuple[int, str]:
        """Return what the training says."""
        return self.training.leaves()

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State | Done:
        """Return the training's first state with what all know of the codec at first."""
        state = self.training.begin(protocol, earlier, rng)
        if isinstance(state, Done):
            return state
        public = self.codec.begin(self._coding(self.training.ask(state).layout, state.round))
        return self._with(state, public)

    def ask(self, state: State) -> Ask:
        """Ask what the training asks, with the codec's terms in place of those that it codes."""
        return self._outer(self.training.ask(_without(state)), state.round, under(state.arrays, PUBLIC))

    def planned(self, ask: Ask, round: int) -> Ask:
        """Return what is asked in a round by the training's own plan."""
        public = under(ask.arrays, PUBLIC)
        return self._outer(self._inner(ask, round), round, public)

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Answer as the training does, then code what it gives."""
        inner = self._asked(ask)
        answer, proposal = self.training.answer(inner, data, self._own(mine), rng)
        return self._encoded(ask, inner, answer, proposal, mine, rng)

    def answer_many(self, ask: Ask, work: Sequence[SiteWork]) -> Iterator[tuple[Answer, Arrays | None] | Refusal]:
        """Answer for several sites as the training does, then code what each gives."""
        inner = self._asked(ask)
        replies = self.training.answer_many(inner, [replace(one, mine=self._own(one.mine)) for one in work])
        for one, reply in zip(work, replies, strict=True):
            yield reply if isinstance(reply, Refusal) else self._encoded(ask, inner, *reply, one.mine, one.rng)

    def advance(self, state: State, total: Total) -> State | Done:
        """Decode the total, and let the training go on."""
        before, layout, sums = _without(state), self.training.ask(_without(state)).layout, total.sums
        public: Arrays = under(state.arrays, PUBLIC)
        coding = self._coding(layout, state.round)
        if coding.terms:
            travelled = {term.name for term in self.codec.layout(coding)}
            decoded, public = self.codec.decode(coding, public, {name: sums[name] for name in travelled})
            sums = {**{name: sums[name] for name in sums if name not in travelled}, **decoded}
        new = self.training.advance(before, replace(total, layout=layout, sums=sums))
        return new if isinstance(new, Done) else self._with(new, public)

    def cut_short(self, state: State) -> Done | None:
        """Return what the training came to."""
        return self.training.cut_short(_without(state))

    def _coding(self, layout: Layout, round: int) -> Coding:
        """Return what of a layout is coded."""
        return Coding(_coded(layout), self.protocol.bounds.sites, self.protocol.hides, round)

    def _with(self, state: State, public: Arrays) -> State:
        return replace(state, arrays={**state.arrays, **put_under(PUBLIC, public)})

    def _outer(self, ask: Ask, round: int, public: Arrays) -> Ask:
        """Return an ask of the training as it travels; one without an update travels as it is."""
        coding = self._coding(ask.layout, round)
        if not coding.terms:
            return ask
        named = {term.name for term in coding.terms}
        layout = (*(term for term in ask.layout if term.name not in named), *self.codec.layout(coding))
        return Ask({**ask.arrays, **put_under(PUBLIC, public)}, layout, {**ask.options, "coded": round})

    def _inner(self, ask: Ask, round: int) -> Ask:
        """Return what the training asked, of an ask that travelled."""
        options = {name: value for name, value in ask.options.items() if name != "coded"}
        return self.training.planned(Ask(_strip(ask.arrays, PUBLIC), (), options), round)

    def _asked(self, ask: Ask) -> Ask:
        """Return what a site's training is asked."""
        return self._inner(ask, int(ask.options["coded"])) if "coded" in ask.options else ask

    def _own(self, mine: Mapping[str, Arrays]) -> dict[str, Arrays]:
        """Return what a site kept, without the codec's rest."""
        kept = {phase: mine[phase] for phase in mine}
        own = _strip(kept.get(self.phase, {}), REST)
        return {**{phase: one for phase, one in kept.items() if phase != self.phase}, **({self.phase: own} if own else {})}

    def _encoded(
        self, ask: Ask, inner: Ask, answer: Answer, proposal: Arrays | None, mine: Mapping[str, Arrays], rng: Stream
    ) -> tuple[Answer, Arrays | None]:
        """Code one site's sums; what it proposes to keep is what the training does, and the rest."""
        kept = mine.get(self.phase, {})
        rest: Arrays = under(kept, REST)
        own = _strip(kept, REST) if proposal is None else proposal
        if "coded" not in ask.options:
            return answer, None if proposal is None else {**own, **put_under(REST, rest)}
        coding, sums = self._coding(inner.layout, int(ask.options["coded"])), answer.sums
        _within(inner.layout, coding.terms, sums)
        chosen = {term.name: np.asarray(sums[term.name], dtype=np.float64) for term in coding.terms}
        small, fresh = self.codec.encode(coding, under(ask.arrays, PUBLIC), chosen, rest, rng.child("codec"))
        left = {name: value for name, value in sums.items() if name not in chosen}
        keeps = None if fresh is None else {**own, **put_under(REST, fresh)}  # what has no effect leaves no trace
        return Answer({**left, **small}), keeps or None


def _coded(layout: Layout) -> Layout:
    """Return what is coded: updates, and what a method sends beside them of each parameter; no counts and no single numbers."""
    updated = {term.name.removeprefix("update/") for term in layout if term.name.startswith("update/")}
    sums = [term for term in layout if term.kind == "sum" and not term.name.startswith("validation/")]
    return tuple(term for term in sums if term.name.partition("/")[2] in updated)


def _strip(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    """Return the arrays that do not stand under a name."""
    return {key: arrays[key] for key in arrays if not key.startswith(f"{name}/")}


def _without(state: State) -> State:
    """Return the training's own state."""
    return replace(state, arrays=_strip(state.arrays, PUBLIC))


def _within(layout: Layout, coded: Layout, sums: Arrays) -> None:
    """Refuse sums beyond the training's limits, as they would be refused uncoded: what is beyond is never clipped.

    Raises:
        VerificationError: names the term.
    """
    most = {term.name: float(np.max(term.limit)) for term in layout}
    for term in coded:
        share = 1.0 if term.per is None else min(max(float(sums[term.per]), 0.0) / most[term.per], 1.0)
        if not bool(np.all(np.abs(sums[term.name]) <= share * np.asarray(term.limit))):  # NaN fails here
            remedy = "Look for inputs far outside the contract's ranges, or lower the learning rate; the protocol sets the limit."
            raise VerificationError(f"{term.name} is beyond its limit, or not finite.", remedy)
