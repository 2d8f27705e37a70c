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

import numpy as np

from wardround.study.arrays import Arrays, arrays_digest, from_bytes, metadata_of, to_bytes
from wardround.study.canonical import canonical, digest, digest_json
from wardround.study.dataset import Dataset
from wardround.study.errors import VerificationError, WardroundError
from wardround.study.files import Data
from wardround.study.streams import Stream


def finest_step(limit: float | np.ndarray, sites: int, bits: int, noise: float = 0.0) -> float | np.ndarray:
    """Return the smallest power of two with `sites x limit + 12 noise < 2^(bits - 1) x step`.

    Args:
        limit: largest magnitude one site may send.
        sites: largest number of sites.
        bits: 32 or 64.
        noise: standard deviation of the noise in the total.

    Example:
        >>> finest_step(1.0, 3, 32) == 2.0**-29
        True
    """
    total = np.asarray(sites * np.asarray(limit, dtype=np.float64) + 12 * noise)
    rounding = sites * np.ldexp(1.0, np.frexp(total)[1] - bits)  # each site may round up by half a step
    step = np.ldexp(1.0, np.frexp(total * (1 + 2.0**-50) + rounding)[1] - (bits - 1))
    return float(step) if step.ndim == 0 else step


@dataclass(frozen=True)
class Term:
    """Describe one summed tensor: what every site may send under this name.

    Attributes:
        name: unique in its layout.
        shape: of the tensor.
        bits: 32 or 64, of the integers that travel.
        limit: largest magnitude one site may send, a number or an array that broadcasts to `shape`. Beyond it the site is refused.
        step: power of two (or array of them) that one integer unit stands for.
        kind: "sum" of real numbers, or "count" of examples or patients (leaves a hospital in plain mode only where the protocol says so).
        per: name of the count term by which this sum is divided, when it is the sum of a mean.
        noise: standard deviation of the privacy noise in the total; 0 for none.
    """

    name: str
    shape: tuple[int, ...]
    bits: Literal[32, 64]
    limit: float | np.ndarray
    step: float | np.ndarray
    kind: Literal["sum", "count"] = "sum"
    per: str | None = None
    noise: float = 0.0

    @classmethod
    def sized(
        cls, name: str, shape: tuple[int, ...], limit: float | np.ndarray, sites: int, *, bits: Literal[32, 64] = 32, per: str | None = None
    ) -> Term:
        """Return a "sum" term whose total over `sites` sites fits `bits`: the finest step that cannot overflow."""
        return cls(name, shape, bits, limit, finest_step(limit, sites, bits), "sum", per)

    @classmethod
    def count(cls, name: str, shape: tuple[int, ...], limit: float, sites: int) -> Term:
        """Return a "count" term: step 1, 64 bits where 32 could overflow."""
        return cls(name, shape, 32 if sites * limit < 2**31 else 64, limit, 1.0, "count")

    def total_type(self, sites: int) -> type[np.int32 | np.int64]:
        """Return the type in which integers of so many sites add without overflow."""
        return np.int32 if self.bits == 32 and sites * np.max((self.limit + 12 * self.noise) / self.step + 1) < 2**31 else np.int64

    def describe(self) -> dict[str, Any]:
        """Return this term as JSON values, for digests and for the record."""
        numbers = {name: np.asarray(getattr(self, name), dtype=np.float64).tolist() for name in ("limit", "step")}
        return {**{name: getattr(self, name) for name in ("name", "bits", "kind", "per", "noise")}, **numbers, "shape": list(self.shape)}

    @classmethod
    def described(cls, values: Mapping[str, Any]) -> Term:
        """Return the term that `describe` described."""
        plain = {name: values[name] for name in ("name", "bits", "kind", "per", "noise")}
        limit, step = (np.asarray(values[name]) if isinstance(values[name], list) else values[name] for name in ("limit", "step"))
        return cls(shape=tuple(values["shape"]), limit=limit, step=step, **plain)


Layout = tuple[Term, ...]


def layout_json(layout: Layout) -> bytes:
    """Return a layout as canonical JSON; the record keeps these bytes beside the protocol and refers to them by digest."""
    return canonical([term.describe() for term in layout])


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


@dataclass(frozen=True)
class Total:
    """Hold the exact sum over the sites that were admitted.

    Attributes:
        layout: its terms.
        integers: by term, the summed integers; where a rule replaced a sum, the numbers it gave.
        sums: the same as float64 numbers.
        sites: how many sites were admitted.
        receipts: leaf hashes of their egress entries, sorted.
    """

    layout: Layout
    integers: Arrays
    sums: Arrays
    sites: int
    receipts: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Return the digest of the integers, so that no rounding of a decoder can change it."""
        return arrays_digest(self.integers)


@dataclass(frozen=True)
class Short:
    """Say that too few sites were admitted: the same state is asked again with the next attempt."""

    sites: int
    quorum: int


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
    """Say what a round came to; rides to each site on its next task."""

    phase: str
    round: int
    attempt: int
    receipts: tuple[str, ...]
    total: str
    state: str
    signature: str = ""

    def signed_part(self, protocol: str) -> bytes:
        """Return the bytes that the coordinator signs, bound to a protocol's digest."""
        return canonical(
            {**self.turn, "protocol": protocol, "total": self.total, "state": self.state, "receipts": digest_json(list(self.receipts))}
        )


@dataclass(frozen=True)
class Task(_Turn):
    """Ask one site for one answer.

    Attributes:
        study: name of the study.
        protocol: digest of the signed protocol.
        phase: phase name.
        round: from 0.
        attempt: from 0; grows when a quorum was missed.
        stage: "answer" (give sums) or "close" (only take the last closings).
        site: whom it is for.
        due: seconds that the site has, from receipt.
        ask: digest of what is asked.
        roster: digest of the participants' names.
        head: size and Merkle root of the study log when the task was made.
        closed: every closing since this site's last answer.
        body: what is asked; nothing for stage "close".
    """

    study: str
    protocol: str
    phase: str
    round: int
    attempt: int
    stage: Literal["answer", "close"]
    site: str
    due: float
    ask: str
    roster: str
    head: tuple[int, str] = (0, "")
    closed: tuple[RoundClosed, ...] = ()
    body: Ask = field(default=NOTHING, repr=False, compare=False)

    @cached_property
    def digest(self) -> str:
        """Return the digest of the task's header (the body stands in it by digest)."""
        named = ("study", "protocol", "phase", "round", "attempt", "stage", "site", "ask", "roster")
        return digest_json({name: getattr(self, name) for name in named})


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

    @classmethod
    def of(cls, site: str, error: Exception) -> Refusal:
        """Return what a worker's failure means; the text of a foreign error may hold a patient's value, so only its kind is told."""
        if isinstance(error, WardroundError):
            return cls("", site, "answer", error.message, error.remedy)
        return cls("", site, "answer", f"the worker failed ({type(error).__name__})", "Report this with the command that led here.")


@dataclass(frozen=True)
class SiteWork:
    """Hold what a worker needs to answer: the snapshot, the site's own earlier results by phase, and its private stream."""

    data: Dataset
    mine: Mapping[str, Arrays]
    rng: Stream
