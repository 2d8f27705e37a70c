"""Say on one page what an evaluation study does with a hospital's data: its page in `summary.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from wardround.study.protocol import secured
from wardround.study.protocol.testing import REMAINS
from wardround.study.threshold import LEAST

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol


def privacy(protocol: Protocol) -> Iterator[str]:
    """Yield what is seen of a hospital's sums, and from how many patients on."""
    least = protocol.privacy.smallest_count
    yield "No differential privacy: no noise is added, so there is no proven limit to what the figures reveal about one patient."
    if protocol.hides:
        yield from secured.promised(protocol)
        yield "Coordinator and hospitals see the exact total histogram of scores by class."
    else:
        yield (
            "Plain sums: the coordinator sees each hospital's histogram of scores by class, not only the total. At a small hospital it can "
            "show single patients' scores and labels, without their names."
        )
        if least > 1:
            yield (
                f"A subgroup with fewer than {least} patients at a hospital, in all or of a class, does not leave it, nor what gives one "
                "away; where that is so of all its patients, nothing does."
            )
    if protocol.bounds.sites < LEAST:
        few = (
            "one hospital the total is its own sums"
            if protocol.bounds.sites == 1
            else "two hospitals each takes its own sums off the total"
        )
        yield f"Of {few}: nothing can hide them."
    yield (
        f"In the passport no count is of fewer than {least} patients, nor gives one away within one table."
        if least > 1
        else "Counts of single patients too are written into the passport (privacy.smallest_count = 1)."
    )


def asked(protocol: Protocol) -> Iterator[str]:
    """Yield title, purpose, and which model is tested."""
    label, model = protocol.contract.fields[protocol.contract.label], protocol.model
    yield f"{protocol.question.title} (study {protocol.study})."
    yield f"Purpose: {protocol.question.purpose}"
    file = protocol.initial.get("file", "its digest is added when the study is submitted")
    yield f"A finished model is tested, and nothing is trained: {model.file} (kind {model.kind!r}), {file}."
    codes = f", one of {', '.join(label.codes)}" if label.codes else ""
    yield f"It predicts {protocol.contract.label!r}{codes}. Trained on, as the plan states: {model.trained_on}"
    yield "Each hospital tests only the file with that digest, in a process of its own, on one patient's row at a time."
    yield "That this process has no network is a matter of how the program is written; the system does not enforce it."


def reads(protocol: Protocol, described: Callable[..., str]) -> Iterator[str]:
    """Yield the fields, and what becomes of missing values."""
    contract = protocol.contract
    if contract.patient:
        yield f"Patient identifiers ({contract.patient!r}), to keep the rows of one patient together."
    else:
        yield "No patient identifiers: every row counts as a patient of its own, and all figures are about rows."
    yield f"Inputs: {'; '.join(f'{name} ({described(contract.fields[name])})' for name in contract.inputs)}."
    others = [name for name in contract.fields if name not in contract.inputs and name not in contract.targets]
    if others:
        yield f"Read, but not seen by the model: {', '.join(others)}."
    fill = protocol.model.options.get("fill") or {}
    for name, value in sorted(fill.items()):
        yield (
            f"Where {name} is missing the model is given {value:g}." if isinstance(value, float) else f"Where {name} is missing: {value!r}."
        )
    yield "All patients are tested, but those whom a hospital itself declares as training or validation patients of this model ([split])."


def never(protocol: Protocol) -> Iterator[str]:
    """Yield what stays."""
    yield "Rows of a patient; patient identifiers; the prediction for a single patient under any name."
    if not protocol.tells:
        yield "The hospital's own figures and verdict: it keeps them, in its own copy."


def judged(protocol: Protocol) -> Iterator[str]:
    """Yield by what the model is judged."""
    plan, options = protocol.evaluation, protocol.phases[0].options
    yield f"By {', '.join(plan.metrics)}; the first decides. For a yes-or-no question calibration and a decision curve stand beside it."
    bar = options.get("bar")
    if bar is None:
        yield "No bar is stated, so there is no verdict."
    else:
        yield f"Bar, stated beforehand: {plan.metrics[0]} {bar:g}. Verdict, in all and at each hospital: meets, misses, or cannot say."
    if options.get("subgroups"):
        yield f"Subgroups by {', '.join(sorted(options['subgroups']))}."
    if plan.replicates:
        yield f"Intervals come from {plan.replicates} bootstrap replicates by patient, drawn privately at each hospital."


def bounds(protocol: Protocol) -> Iterator[str]:
    """Yield how large a study may be."""
    most = protocol.bounds
    yield f"At most {most.sites} hospitals, each with at most {most.examples:,} rows. A sum that is too large or not finite is refused."


def unprotected(protocol: Protocol) -> Iterator[str]:
    """Yield what the rules do not cover."""
    if protocol.hides:
        yield from secured.remaining(protocol)
    yield from REMAINS
    yield "A hospital's administrator can always read the hospital's own data. The log shows what this program sent, not what others sent."
    yield "Research use; not a medical device."
