"""Say what travels between the coordinator and a site, and what each round leaves behind.

A *task* asks; an *update* or a *refusal* answers; a *closing* says what the round came to. All are frozen values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from wardround.study.arrays import Arrays, arrays_digest, from_bytes, length_of, metadata_of, size_of, specs_of, to_bytes
from wardround.study.canonical import canonical, digest, digest_json
from wardround.study.dataset import Dataset
from wardround.study.errors import VerificationError, WardroundError
from wardround.study.files import LARGE, Data
from wardround.study.layout import Layout, Term, layout_json
from wardround.study.streams import Stream


@dataclass(frozen=True)
class Ask:
    """Hold what every site needs this round, the same for all.

    Attributes:
        arrays: parameters, coefficients, queries.
        layout: the sums that are asked for.
        options: JSON values that steer the answer, such as `{"train": true}`.
    """

    arrays: Arrays
    layout: Layout
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def layout_digest(self) -> str:
        """Return the digest of the layout's canonical JSON."""
        return digest(layout_json(self.layout))

    @cached_property
    def head(self) -> str:
        """Return canonical JSON of layout and options, which travels in the header of the arrays' file."""
        return canonical({"layout": [term.describe() for term in self.layout], "options": dict(self.options)}).decode()

    @cached_property
    def length(self) -> int:
        """Return how many bytes `wire` has; of large arrays without making them."""
        return length_of(specs_of(self.arrays), self.head) if size_of(self.arrays) >= LARGE else len(to_bytes(self.arrays, self.head))

    @property
    def wire(self) -> bytes:
        """Return the bytes that travel: safetensors of the arrays, with the head in its header."""
        return to_bytes(self.arrays, self.head)

    @classmethod
    def from_wire(cls, data: Data) -> Ask:
        """Return the ask in bytes that were made by `wire`; arrays in a file are read when they are asked for.

        Raises:
            VerificationError: these bytes are not an ask.
        """
        try:
            head = json.loads(metadata_of(data))
            layout = tuple(Term.described(term) for term in head["layout"])
            return cls(from_bytes(data), layout, head["options"])
        except (ValueError, KeyError, TypeError) as error:
            raise VerificationError(
                "These bytes are not what a site can be asked.", "Fetch the task again from the coordinator."
            ) from error

    @cached_property
    def digest(self) -> str:
        """Return the digest of `wire`."""
        return arrays_digest(self.arrays, self.head)


NOTHING = Ask({}, ())
"""Asks for no sums: the body of a task that only brings closings."""


@dataclass(frozen=True)
class Answer:
    """Hold one site's additive sums: exactly the layout's names, already weighed by the site."""

    sums: Arrays


@dataclass(frozen=True)
class State:
    """Hold all that `advance` needs and nothing else."""

    phase: str
    round: int
    arrays: Arrays

    @cached_property
    def digest(self) -> str:
        """Return the digest of phase, round and arrays."""
        return digest_json({"phase": self.phase, "round": self.round, "arrays": arrays_digest(self.arrays)})


@dataclass(frozen=True)
class Done:
    """Hold what a phase came to.

    Attributes:
        phase: its name.
        round: rounds that were closed.
        results: what later phases and reports read.
        stopped: why it ended: target, rounds, patience, budget, stopped, quorum or rolled_back.
        model: the arrays that a hospital would use for prediction, or none.
    """

    phase: str
    round: int
    results: Arrays
    stopped: str = "rounds"
    model: Arrays | None = None

    @cached_property
    def digest(self) -> str:
        """Return the digest of the model where there is one (the released file's), else of the results."""
        return arrays_digest(self.results if self.model is None else self.model)


Proof = tuple[tuple[str, ...], Mapping[str, str], tuple[str, ...]]
"""Of a secure sum: who is in it, the signatures of those who agreed to that, and the seal (see `RoundClosed`)."""


@dataclass(frozen=True)
class Total:
    """Hold the exact sum over the sites that were admitted.

    Attributes:
        layout: its terms.
        integers: by term, the summed integers; where a rule replaced a sum, the numbers it gave.
        sums: the same as float64 numbers.
        sites: how many sites were admitted.
        receipts: leaf hashes of their egress entries, sorted.
        proof: of a secure sum.
    """

    layout: Layout
    integers: Arrays
    sums: Arrays
    sites: int
    receipts: tuple[str, ...] = ()
    proof: Proof = ((), {}, ())

    @cached_property
    def digest(self) -> str:
        """Return the digest of the integers, so that no rounding of a decoder can change it."""
        return arrays_digest(self.integers)


@dataclass(frozen=True)
class Short:
    """Say that too few sites were admitted: the same state is asked again with the next attempt.

    Attributes:
        sites: that were.
        quorum: how many it takes.
        why: if it was something else than too few answers.
        stands: whether the very same attempt is asked again: its total was asked to be opened, and is opened by more sites later.
        never: whether no attempt can close the round, since a site has left whom it cannot do without.
    """

    sites: int
    quorum: int
    why: str = ""
    stands: bool = False
    never: bool = False


Stage = Literal["keys", "shares", "answer", "agree", "open", "close"]


class _Turn:
    """Be of one attempt of one round."""

    phase: str
    round: int
    attempt: int

    @property
    def turn(self) -> dict[str, Any]:
        """Return phase, round and attempt, as entries name them."""
        return {"phase": self.phase, "round": self.round, "attempt": self.attempt}


@dataclass(frozen=True)
class RoundClosed(_Turn):
    """Say what a round came to; rides to each site on its next task.

    Attributes:
        phase: its name.
        round: from 0.
        attempt: that closed it.
        receipts: leaf hashes of the messages that are in it, sorted.
        total: digest of the total's integers.
        state: digest of the state that followed.
        signature: of the coordinator.
        survivors: of a secure sum, who is in the total.
        agreed: of a secure sum, the signatures of those who agreed to that.
        seal: of a secure sum, hex numbers by which its sites tell whether the total is what their integers came to.
    """

    phase: str
    round: int
    attempt: int
    receipts: tuple[str, ...]
    total: str
    state: str
    signature: str = ""
    survivors: tuple[str, ...] = ()
    agreed: Mapping[str, str] = field(default_factory=dict)
    seal: tuple[str, ...] = ()

    def signed_part(self, protocol: str) -> bytes:
        """Return the bytes that the coordinator signs, bound to a protocol's digest."""
        facts = {**self.turn, "protocol": protocol, "total": self.total, "state": self.state, "receipts": digest_json(list(self.receipts))}
        return canonical({**facts, "survivors": list(self.survivors), "seal": list(self.seal)} if self.survivors else facts)

    @property
    def described(self) -> dict[str, Any]:
        """Return this closing as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RoundClosed:
        """Return the closing in JSON values.

        Raises:
            ValueError: they are not those of a closing.
        """
        texts = [values[name] for name in ("phase", "total", "state", "signature")]
        texts += [one for name in ("receipts", "survivors", "seal", "agreed") for one in values[name]] + list(values["agreed"].values())
        whole = [values["round"], values["attempt"]]
        if not all(type(one) is str for one in texts) or not all(type(one) is int and one >= 0 for one in whole):
            raise ValueError("a closing's values are of other types")
        lists = {name: tuple(values[name]) for name in ("receipts", "survivors", "seal")}
        return cls(**{**values, **lists, "agreed": dict(values["agreed"])})


@dataclass(frozen=True)
class Task(_Turn):
    """Ask one site for one answer.

    Attributes:
        study: name of the study.
        protocol: digest of the signed protocol.
        phase: phase name.
        round: from 0.
        attempt: from 0; grows when a quorum was missed.
        stage: "answer" (give sums) or "close" (only take the last closings); and, in a secure sum, the exchanges around the answer.
        site: whom it is for.
        due: seconds that the site has, from receipt.
        ask: digest of what is asked.
        roster: digest of the participants' names.
        head: size and Merkle root of the study log when the task was made.
        closed: every closing since this site's last answer.
        body: what is asked; nothing for the stages other than "answer".
        relay: what the coordinator passes on of other sites in a secure sum, canonical JSON.
        layout: digest of the layout of what is asked, where the body is not there to say it.
        supplies: by digest, the totals of `closed` and the initial parameters, from which a site works out itself what it is asked; None
            where sites take what they are asked as it comes.
    """

    study: str
    protocol: str
    phase: str
    round: int
    attempt: int
    stage: Stage
    site: str
    due: float
    ask: str
    roster: str
    head: tuple[int, str] = (0, "")
    closed: tuple[RoundClosed, ...] = ()
    body: Ask = field(default=NOTHING, repr=False, compare=False)
    relay: bytes = field(default=b"", repr=False)
    layout: str = ""
    supplies: Mapping[str, Data] | None = field(default=None, repr=False, compare=False)

    def holds(self, hides: bool) -> str:
        """Return which of the record's kinds of messages answers this task, in a study that hides single sites' sums or does not."""
        return "key_share" if self.stage != "answer" else "masked_sums" if hides else "sums"

    @cached_property
    def digest(self) -> str:
        """Return the digest of the task's header (the body stands in it by digest)."""
        named = ("study", "protocol", "phase", "round", "attempt", "stage", "site", "ask", "roster")
        return digest_json({**{name: getattr(self, name) for name in named}, **({"relay": digest(self.relay)} if self.relay else {})})


@dataclass(frozen=True)
class Receipt:
    """Name the entry in a site's egress log that an update was logged under before it was sent.

    Attributes:
        entry: leaf hash, 64 hex digits.
        index: of the entry in the site's log.
        size: of the log after it.
        root: Merkle root of the log at that size, 64 hex digits.
        commit: digest of salt and payload.
        salt: 32 bytes as hex, which opens the commitment.
    """

    entry: str
    index: int
    size: int
    root: str
    commit: str
    salt: str = field(repr=False)

    @property
    def well_formed(self) -> bool:
        """Say whether every part has its type and length; what comes from elsewhere is asked before it is used."""
        texts = (self.entry, self.root, self.salt, str(self.commit).removeprefix("sha256:"))
        hashes = all(isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None for text in texts)
        return hashes and all(type(number) is int and 0 <= number < 2**53 for number in (self.index, self.size))


@dataclass(frozen=True)
class Update:
    """Carry one site's encoded sums.

    Attributes:
        task: digest of the task it answers.
        site: who sends it.
        body: safetensors bytes of the integers, exactly the layout's names; large ones lie in a file.
        spent: privacy spent by this answer.
        receipt: its entry in the site's log.
        signature: Ed25519 over task, commitment and entry, hex.
    """

    task: str
    site: str
    body: Data = field(repr=False)
    spent: Mapping[str, float]
    receipt: Receipt
    signature: str

    def signed_part(self) -> bytes:
        """Return the bytes that the site signs."""
        return canonical({"task": self.task, "site": self.site, "commit": self.receipt.commit, "entry": self.receipt.entry})


@dataclass(frozen=True)
class Refusal:
    """Say that a site's part of a round did not happen, where, why and what to do: a value, not an exception."""

    task: str
    site: str
    where: Literal["accept", "answer", "release", "admit", "deadline"]
    reason: str
    remedy: str
    again: bool = False
    kind: str = ""  # class of the exception behind it; stays at the site, but for a worker's, which is told in place of the reason

    @classmethod
    def of(cls, site: str, error: Exception) -> Refusal:
        """Return what a worker's failure means; the text of a foreign error may hold a patient's value, so only its kind is told."""
        if isinstance(error, WardroundError):
            return cls("", site, "answer", error.message, error.remedy, kind=type(error).__name__)
        return cls("", site, "answer", f"the worker failed ({type(error).__name__})", "Report this with the command that led here.")


@dataclass(frozen=True)
class SiteWork:
    """Hold what a worker needs to answer: the snapshot, the site's own earlier results by phase, and its private stream."""

    data: Dataset
    mine: Mapping[str, Arrays]
    rng: Stream
