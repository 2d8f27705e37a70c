"""Test a finished model once, at every site, on all its test patients, in all and by subgroup.

Sites send histograms of scores with the same histograms under private bootstrap weights, as in `evaluate`, and once more for each subgroup
that the plan names. Each site first holds the file it was sent against the digest in the protocol. In plain sums a site holds a subgroup
back where it has fewer than k patients of it, or of a class within it, with as many others as keep the rest from telling; and everything
where that is so of all its patients. What a site keeps are its own full sums, for its own page.

Source: Hanley and McNeil 1982 (AUROC); Chamandy et al., Estimating uncertainty for massive data streams, Google 2012 (Poisson bootstrap).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from wardround.learning.algorithms.evaluate import bootstrap_weights
from wardround.learning.finished import Finished, agreed_file, scores_of
from wardround.privacy.disclosure import held_totals
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError, ProtocolError
from wardround.study.findings import nearest
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Contract, Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

MODEL, HELD, TOOK_PART = "model", "held", "/sites"
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class AssessOptions:
    """Say what is looked at beside the whole.

    Attributes:
        subgroups: by field of the contract: of a code nothing, each code is a subgroup; of a number the edges between its subgroups.
        thresholds: probabilities at which the decision curve and the table of calibration are divided; each is moved to the nearest edge
            of the 256 bins of scores, which is then named.
        bar: what the first metric must reach for "meets" (or stay under, where smaller is better); stated before anything was tested.
    """

    subgroups: dict[str, tuple[float, ...]] = field(default_factory=dict)
    thresholds: Annotated[tuple[Share, ...], Field(min_length=1, max_length=40)] = (
        0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
    )  # fmt: skip
    bar: float | None = None


@dataclass(frozen=True)
class Group:
    """Describe one subgroup.

    Attributes:
        field: of the contract.
        code: its place among the field's codes, or None.
        low: lowest number in it; None for no bound.
        high: number below which it ends; None for no bound.
        missing: rows in which the field is missing.
    """

    field: str
    code: int | None = None
    low: float | None = None
    high: float | None = None
    missing: bool = False

    def label(self, contract: Contract) -> dict[str, Any]:
        """Return what the subgroup is, as JSON values."""
        one = contract.fields[self.field]
        found: dict[str, Any] = {"field": self.field, **({} if one.codes else {"unit": one.unit})}
        if self.missing:
            return {**found, "missing": True}
        return {**found, "code": (one.codes or ())[self.code]} if self.code is not None else {**found, "from": self.low, "below": self.high}

    def rows(self, columns: Arrays, rows: np.ndarray) -> np.ndarray:
        """Return bool [N], which of these rows are in it."""
        values = columns[self.field][rows]
        if self.missing:
            return np.asarray(np.isnan(values) if values.dtype.kind == "f" else values < 0)
        if self.code is not None:
            return np.asarray(values == self.code)
        inside = ~np.isnan(values)
        inside &= values >= self.low if self.low is not None else True
        return np.asarray(inside & (values < self.high) if self.high is not None else inside)


def groups_of(contract: Contract, wanted: Mapping[str, tuple[float, ...]]) -> tuple[Group, ...]:
    """Return the subgroups, by field in order of name; each field's subgroups divide all rows.

    Raises:
        ProtocolError: a field is unknown, or its edges are not possible.
    """
    found: list[Group] = []
    for name, edges in sorted(wanted.items()):
        if name not in contract.fields or name in contract.targets:
            known = [one for one in contract.fields if one not in contract.targets]
            raise ProtocolError(f"phases.subgroups.{name}: is no field of the contract that can divide patients.", nearest(name, known))
        one = contract.fields[name]
        if one.codes is not None and edges:
            raise ProtocolError(f"phases.subgroups.{name}: a code has no edges.", f"Write {name} = [].")
        if one.codes is None and (not edges or list(edges) != sorted(set(edges))):
            raise ProtocolError(f"phases.subgroups.{name}: a number needs edges in ascending order.", f"Write such as {name} = [50, 65].")
        if one.range is not None and not all(one.range[0] < edge <= one.range[1] for edge in edges):
            raise ProtocolError(f"phases.subgroups.{name}: an edge lies outside the contract's range.", "Choose edges within it.")
        found += [Group(name, code=place) for place in range(len(one.codes or ()))]
        ends = [None, *edges, None]
        found += [Group(name, low=low, high=high) for low, high in pairwise(ends)] if one.codes is None else []
        found += [Group(name, missing=True)] if one.missing != "refuse" or one.outside == "missing" else []
    return tuple(found)


@dataclass(frozen=True)
class Assess(Algorithm):
    """Judge a model that comes as a file."""

    Options = AssessOptions
    gives = "judgement"
    options: AssessOptions

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once plan, model and subgroups fit each other."""
        if not protocol.evaluates:
            remedy = "Use a phase of kind 'evaluate', or write kind = \"evaluation\" at the top of the study file."
            raise ProtocolError(f"phases.{phase.name}: 'assess' tests a model that comes as a file.", remedy)
        _classes(protocol, phase.name)
        model = protocol.model_plugin
        if isinstance(model, Finished):
            model.fits(protocol)
        found = super().expand(protocol, phase)
        for one in found:
            if isinstance(one, Assess):
                _ = one.groups
        return found

    @property
    def groups(self) -> tuple[Group, ...]:
        """Return the subgroups."""
        return groups_of(self.protocol.contract, self.options.subgroups)

    @property
    def strict(self) -> bool:
        """Return whether single sites' sums are seen by others, so that small groups must stay."""
        return not self.protocol.hides and self.protocol.privacy.smallest_count > 1

    def leaves(self) -> tuple[int, str]:
        """Return one answer: histograms of scores."""
        replicates = self.protocol.evaluation.replicates
        again = f", each also {replicates} times with random private counts" if replicates else ""
        by = f", and the same for each subgroup by {', '.join(sorted(self.options.subgroups))}" if self.options.subgroups else ""
        return (
            1,
            f"counts of test patients, in all and by class, and a histogram of the model's scores by class with the summed loss{again}{by}",
        )

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the model's file, as it stands in the protocol by digest."""
        return State(self.phase, 0, put_under(MODEL, earlier["initial"].results))

    def ask(self, state: State) -> Ask:
        """Ask for histograms, with replicates, of all test rows and of each subgroup's."""
        bounds, question, outputs = self.protocol.bounds, self.protocol.question_plugin, self.protocol.outputs
        replicates, terms = self.protocol.evaluation.replicates, []
        for name in (MODEL, *(f"groups/{place}" for place in range(len(self.groups)))):
            terms.append(Term.count(f"{name}/patients", (question.groups(outputs),), bounds.examples, bounds.sites))
            wanted = question.terms(outputs, bounds.examples, bounds.sites, replicates)
            terms += [replace(term, name=f"{name}/test/{term.name}") for term in wanted]
        terms.append(Term.count(HELD, (1 + len(self.groups),), 1, bounds.sites))
        return Ask(state.arrays, tuple(terms), {"replicates": replicates})

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Score this site's test rows with the protocol's model; keep the full sums for the site's own page."""
        output = scores_of(self.protocol, agreed_file(self.protocol, under(ask.arrays, MODEL)), data, data.rows("test"))
        kept = dict(self._sums(output, data, bootstrap_weights(data, int(ask.options["replicates"]), rng)))
        held = self._held(kept, data)
        told = {HELD: held.astype(np.float64)}
        for place, name in enumerate((MODEL, *(f"groups/{number}" for number in range(len(self.groups))))):
            told.update({key: np.zeros_like(one) if held[place] else one for key, one in kept.items() if key.startswith(f"{name}/")})
        return Answer({term.name: told[term.name] for term in ask.layout}), kept

    def advance(self, state: State, total: Total) -> Done:
        """Return the sums as they are; figures and intervals are for the passport."""
        return Done(self.phase, 1, {**total.sums, TOOK_PART: np.asarray(float(total.sites))})

    def _sums(self, output: np.ndarray, data: Dataset, weights: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the sums of all test rows, then of each subgroup's."""
        question, contract, rows = self.protocol.question_plugin, self.protocol.contract, data.rows("test")
        y = question.target(contract, {contract.label: data.columns[contract.label][rows]})
        patient = data.patient[rows]
        parts = [(MODEL, np.ones(len(rows), dtype=bool))]
        parts += [(f"groups/{place}", one.rows(data.columns, rows)) for place, one in enumerate(self.groups)]
        for name, inside in parts:
            batch = {"y": y[inside], "patient": patient[inside], "mask": np.ones(int(inside.sum()), dtype=bool)}
            sums = question.metrics(output[inside], batch, None if weights is None else weights[:, inside])
            yield f"{name}/patients", question.tally(batch, self.protocol.outputs)
            yield from ((f"{name}/test/{key}", np.asarray(value)) for key, value in sums.items())

    def _held(self, sums: Arrays, data: Dataset) -> np.ndarray:
        """Return bool [1 + groups], what this site holds back: everything, or single subgroups.

        Raises:
            DataError: a patient has several rows; counts are of rows, and k of patients.
        """
        least, groups = self.protocol.privacy.smallest_count, self.groups
        rows = data.rows("test")
        if least > 1 and len(np.unique(data.patient[rows])) < len(rows):
            remedy = "Give this study one row a patient; or let the protocol write privacy.smallest_count = 1."
            raise DataError("A patient has several rows, and histograms count rows: one patient could fill a cell.", remedy)
        held = np.zeros(1 + len(groups), dtype=bool)
        if not self.strict:
            return held
        held[1:] = hidden_groups(groups, [sums[f"groups/{place}/patients"] for place in range(len(groups))], least)
        return np.ones_like(held) if small(sums[f"{MODEL}/patients"], least) else held


def _classes(protocol: Protocol, phase: str) -> None:
    """Refuse a question whose answers are not the codes of one label.

    Raises:
        ProtocolError: there are several labels, the label is a number, or its codes are grades.
    """
    where, remedy = f"phases.{phase}: 'assess' tests models that tell classes apart", "Name a label with codes"
    if protocol.contract.labels:
        raise ProtocolError(f"{where}, and the contract has several labels.", f"{remedy}, and test each finding in a study of its own.")
    codes = protocol.contract.fields[protocol.contract.label].codes
    if codes is None:
        raise ProtocolError(f"{where}, and the label is a number.", f"{remedy}.")
    if protocol.outputs != (1 if len(codes) == 2 else len(codes)):
        message = f"{where}, and a question of kind {protocol.question.kind!r} asks for something else."
        raise ProtocolError(message, "Use kind = 'binary' or 'multiclass' under [question].")


def small(tally: np.ndarray, least: int) -> bool:
    """Say whether a tally [all, then by class] is of fewer than k patients, or has fewer than k but some of a class."""
    return bool(tally[0] < least or np.any((tally[1:] > 0) & (tally[1:] < least)))


def hidden_groups(groups: tuple[Group, ...], tallies: list[np.ndarray], least: int) -> np.ndarray:
    """Return bool [G], the subgroups that must not be told beside the whole: small ones, and others that keep the rest from telling them.

    Args:
        groups: each field's divide all rows.
        tallies: by subgroup: patients in all, then by class; one row a patient.
        least: k.
    """
    hidden = np.zeros(len(groups), dtype=bool)
    for name in dict.fromkeys(one.field for one in groups):
        places = [place for place, one in enumerate(groups) if one.field == name]
        cells = np.stack([np.asarray(tallies[place][1:], dtype=np.int64) for place in places])
        flags = np.zeros(len(places), dtype=bool)
        while True:  # a hidden subgroup hides its cells of every class, which may leave another class with one hidden cell
            more = flags | np.any([_alone(cells[:, number], flags, least) for number in range(cells.shape[1])], axis=0)
            if bool(np.all(more == flags)):
                break
            flags = more
        hidden[places] = flags
    return hidden


def _alone(counts: np.ndarray, flags: np.ndarray, least: int) -> np.ndarray:
    """Return which subgroups one class needs hidden: its small cells, and others until those hidden come to 2k - 1 together.

    So that each of two could be of k, as far as their sum tells. Which one covers goes by place and not by size, which would tell the size.
    """
    found = flags | held_totals(counts, least)
    first = int(np.argmax(found))
    while bool(np.any(found)) and 0 < int(counts[found].sum()) < 2 * least - 1:
        shown = np.flatnonzero(~found & (counts > 0))
        if not len(shown):
            found[:] = True
            break
        found[shown[shown > first][0] if np.any(shown > first) else shown[0]] = True
    return np.asarray(found)
