"""Find what no single section can see: sections of a protocol that do not fit each other, or do not fit the plugins they name.

Runs on a protocol whose options are spelled out, and reports all that it finds. What one algorithm alone understands (a training phase that
needs the moments before it) is refused by that algorithm's `expand`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from wardround.study.coded import long_enough
from wardround.study.errors import ProtocolError
from wardround.study.findings import Finding, nearest
from wardround.study.interfaces import Question
from wardround.study.plugins import find, names
from wardround.study.protocol import followed, lasting, robust, testing
from wardround.study.threshold import IN_GROUPS, LEAST

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol


def contradictions(protocol: Protocol) -> list[Finding]:
    """Return every contradiction in a protocol; an empty list when there is none."""
    question = protocol.question_plugin
    beside = (
        testing.contradictions(protocol)
        if protocol.evaluates
        else _statistics(protocol)
        if not protocol.trains
        else testing.untrainable(protocol)
    )
    checks: list[Callable[[], object]] = [
        lambda: protocol.combiner,
        partial(_labels, protocol),
        *(partial(_known, metric, question) for metric in protocol.evaluation.metrics),
    ]
    found = [*_tune(protocol), *_failing(checks), *beside, *lasting.contradictions(protocol), *_apart(protocol)]
    found = found or [
        *_target(protocol),
        *_secure(protocol),
        *_running(protocol),
        *robust.contradictions(protocol),
        *followed.contradictions(protocol),
    ]
    if found:
        return found
    kinds = [find("algorithm", phase.kind, f"phases.{phase.name}.kind") for phase in protocol.phases]
    found = _failing([partial(kind.expand, protocol, phase) for kind, phase in zip(kinds, protocol.phases, strict=True)])
    return found or _failing([lambda: protocol.algorithms]) or _failing([partial(long_enough, protocol)])


def _labels(protocol: Protocol) -> None:
    """Refuse labels that the question does not predict.

    Raises:
        ProtocolError: one label where it takes several, or the other way round; or labels of another type than it asks for.
    """
    question, contract = protocol.question_plugin, protocol.contract
    if contract.labels and not question.several:
        message = f"contract.labels: a question of kind {protocol.question.kind!r} predicts one label."
        raise ProtocolError(message, f"Write label = {contract.labels[0]!r}, or kind = 'multilabel' for several labels of two codes each.")
    question.outputs(contract)


def _known(metric: str, question: Question) -> None:
    if metric not in question.better:
        message = f"evaluation.metrics: there is no metric {metric!r} for this question."
        raise ProtocolError(message, f"Use some of: {', '.join(sorted(question.better))}.")


def _failing(checks: Iterable[Callable[[], object]]) -> list[Finding]:
    """Return what checks refuse, each thing once."""
    found: list[Finding] = []
    for check in checks:
        try:
            check()
        except ProtocolError as error:
            if (finding := Finding.of(error)) not in found:
                found.append(finding)
    return found


def _tune(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for each tuned option that no phase has, and for each value that is listed twice."""
    known = sorted({option for phase in protocol.phases for option in phase.options})
    for option, values in protocol.evaluation.tune.items():
        key = f"evaluation.tune.{option}"
        if option not in known:
            yield Finding(key, "no phase has such an option.", nearest(option, known))
        if any(value in values[:index] for index, value in enumerate(values)):
            yield Finding(key, "lists a value twice.", "Leave out the second.")


def _secure(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for a secure sum of so few sites that it would hide nothing."""
    if not protocol.hides:
        return
    of_two = "of two hospitals each takes its own sums off the total, so a secure sum hides nothing."
    if protocol.bounds.sites < LEAST:
        yield Finding("bounds.sites", of_two, f'Have {LEAST} hospitals or more, or write combine = "plain" and say so to them.')
    elif protocol.rounds.quorum < LEAST:
        yield Finding("rounds.quorum", of_two, f'Write {LEAST} or more, or combine = "plain".')
    if protocol.rounds.combine == "bucketed" and protocol.bounds.sites < IN_GROUPS:
        few = f"fewer than {IN_GROUPS} hospitals make no three groups of five."
        yield Finding("bounds.sites", few, f'Have {IN_GROUPS} hospitals or more, or write combine = "secure".')


def _apart(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for hospitals' sums that are kept apart and that a phase would add up."""
    for phase in protocol.phases if protocol.rounds.combine == "append" else ():
        if not getattr(find("algorithm", phase.kind, f"phases.{phase.name}.kind"), "apart", False):
            wrong = f"'append' keeps hospitals' sums apart, and a phase of kind {phase.kind!r} adds them up."
            yield Finding("rounds.combine", wrong, 'Write combine = "secure" or "plain".')


def _statistics(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding where a study of statistics trains after all, or lets counts leave without saying so."""
    for phase in protocol.phases:
        if getattr(find("algorithm", phase.kind, f"phases.{phase.name}.kind"), "gives", "") != "table":
            others = ", ".join(kind for kind in names("algorithm") if find("algorithm", kind).gives == "table")
            wrong = f"a study of statistics has no phase of kind {phase.kind!r}."
            yield Finding(f"phases.{phase.name}.kind", wrong, f"Use one of: {others}; or leave out kind = 'statistics' to train a model.")
    if protocol.rounds.combine in ("plain", "append") and not protocol.privacy.counts:
        says = "counts leave each hospital in plain sums, and the protocol does not say so."
        yield Finding("privacy.counts", says, 'Write counts = true under [privacy], or combine = "secure" under [rounds].')
    if protocol.rounds.combine == "bucketed":
        yield Finding("rounds.combine", "sums in groups are for models, not for counts.", 'Write combine = "secure" or "plain".')


def _running(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for BatchNorm's running variances under a method or a server optimiser that can step past zero."""
    if protocol.model.options.get("norm") != "batch" or "norm" in (*protocol.model.private, *protocol.model.frozen):
        return
    for phase in protocol.phases:
        if phase.kind == "fednova":
            wrong = "'fednova' can take the sites' mean change several times, and so make running variances of BatchNorm negative."
            remedy = 'Write kind = "fedavg", or norm = "group" or private = ["norm"] under [model].'
            yield Finding(f"phases.{phase.name}.kind", wrong, remedy)
        plain = phase.options.get("server_optimiser", "sgd") == "sgd" and not phase.options.get("server_momentum")
        if not plain or phase.options.get("server_learning_rate", 1.0) > 1:
            wrong = "a server optimiser other than the plain mean can make running variances of BatchNorm negative."
            remedy = 'Write norm = "group" or private = ["norm"] under [model], or leave the server optimiser at its default.'
            yield Finding(f"phases.{phase.name}.server_optimiser", wrong, remedy)


def _target(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for a target that a metric between 0 and 1 can never reach, or has from the start; and for a margin like that."""
    metric, target = protocol.evaluation.metrics[0], protocol.stop.target
    if protocol.evaluation.margin > 1 and not protocol.question_plugin.units:
        yield Finding("evaluation.margin", f"{metric} has no unit, so a loss of more than 1 is no margin.", "Choose a value of 1 or less.")
    if target is None:
        return
    larger_is_better = protocol.question_plugin.better[metric] > 0
    if larger_is_better and not 0 < target <= 1:
        yield Finding("stop.target", f"{metric} lies between 0 and 1, so {target} is no target.", "Choose a value above 0, at most 1.")
    if not larger_is_better and target < 0:
        yield Finding("stop.target", f"{metric} is never below 0.", "Choose a value of 0 or more.")
