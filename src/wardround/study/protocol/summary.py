"""Say on one page, in plain words, what a study does with a hospital's data: what a data-protection officer reads before signing.

Every sentence follows from the protocol, so the page and its digest belong together. Pure text: the terminal, the report and a printout set
it as they like.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from wardround.study.plugins import find
from wardround.study.protocol import counted, followed, lasting, robust, secured, tested
from wardround.study.protocol.contract import Field
from wardround.study.protocol.protocol import Protocol
from wardround.study.protocol.sections import ROLLBACKS
from wardround.study.threshold import LEAST

_COMPARED = {
    "pooled": "one model trained on all hospitals' rows together (in a simulation only)",
    "ensemble": "the mean prediction of the hospitals' own models (in a simulation only)",
    "best_single": "the best model of a single hospital (in a simulation only)",
}
_NORMALISED = {
    "federated": "Inputs are normalised by the mean and deviation over all hospitals' training patients.",
    "site": "Inputs are normalised by each hospital's own mean and deviation.",
    "combat": (
        "Numbers are harmonised: what differs between hospitals and no covariate explains is taken away, true differences too (ComBat). "
        "Then inputs are normalised by the mean and deviation over all hospitals' training patients."
    ),
    "none": "Inputs are scaled by the ranges above.",
}
_MISSING = {
    "mean": "the mean takes its place",
    "indicator": "the mean takes its place, and the model is told",
    "refuse": "not allowed",
}


class Part(NamedTuple):
    """Hold one heading of the summary and its lines."""

    title: str
    lines: tuple[str, ...]


def summary(protocol: Protocol) -> list[Part]:
    """Return the page, part by part; the first line of all is about privacy, the last is the digest.

    Args:
        protocol: with every default spelled out, as `read_protocol` returns it.
    """
    if not protocol.trains:
        return [*(_tested if protocol.evaluates else _counted)(protocol), Part("Digest of this protocol", (protocol.digest,))]
    parts = {
        "Privacy": _privacy,
        "What is asked": _question,
        "Who answers for it": _parties,
        "What each hospital reads": _reads,
        "What leaves each hospital": _leaves,
        "What never leaves": _never,
        "Limits on what may leave": _bounds,
        "How patients are split": _splits,
        "When training stops": _stop,
        "How the model is judged": _judged,
        "Who must answer, and when": _rounds,
        "What this does not protect against": _unprotected,
    }
    written = [Part(title, tuple(lines(protocol))) for title, lines in parts.items()]
    return [*written, Part("Digest of this protocol", (protocol.digest,))]


def _counted(protocol: Protocol) -> list[Part]:
    """Return the page of a study that trains nothing."""
    parts = {
        "Privacy": counted.privacy(protocol),
        "What is asked": counted.asked(protocol),
        "Who answers for it": _parties(protocol),
        "What each hospital reads": counted.reads(protocol, _described),
        "What leaves each hospital": _leaves(protocol),
        "What never leaves": counted.never(protocol),
        "Limits on what may leave": counted.bounds(protocol),
        "Who must answer, and when": _rounds(protocol),
        "What this does not protect against": counted.unprotected(protocol),
    }
    return [Part(title, tuple(lines)) for title, lines in parts.items()]


def _tested(protocol: Protocol) -> list[Part]:
    """Return the page of a study that tests a finished model."""
    parts = {
        "Privacy": tested.privacy(protocol),
        "What is asked": tested.asked(protocol),
        "Who answers for it": _parties(protocol),
        "What each hospital reads": tested.reads(protocol, _described),
        "What leaves each hospital": _leaves(protocol),
        "What never leaves": tested.never(protocol),
        "Limits on what may leave": tested.bounds(protocol),
        "How the model is judged": tested.judged(protocol),
        "Who must answer, and when": _rounds(protocol),
        "What this does not protect against": tested.unprotected(protocol),
    }
    return [Part(title, tuple(lines)) for title, lines in parts.items()]


def as_text(parts: list[Part], width: int = 100) -> str:
    """Return the page as text, its lines folded at `width` characters."""
    blocks: list[str] = []
    for part in parts:
        folded = [textwrap.fill(line, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False) for line in part.lines]
        blocks.append("\n".join([part.title, *folded]))
    return "\n\n".join(blocks) + "\n"


def _privacy(protocol: Protocol) -> Iterator[str]:
    if protocol.privacy.mode == "none":
        yield "No differential privacy: no noise is added, so there is no proven limit to what sums and model reveal about one patient."
    if protocol.model.options.get("norm") == "batch" and "norm" not in protocol.model.private:
        yield "BatchNorm: means and variances that the model keeps of patients' pictures leave with it; no privacy can be claimed for them."
    if protocol.hides:
        yield from secured.promised(protocol)
    else:
        yield "Plain sums: the coordinator sees each hospital's sums, not only their total."
        if protocol.bounds.sites < LEAST:
            yield "A secure sum would hide nothing between two hospitals: each takes its own sums off the total. So none is claimed."
        may = "may" if protocol.privacy.counts else "may not"
        yield f"Counts and histograms of patients, small ones too, {may} leave a hospital in these sums (privacy.counts)."


def _question(protocol: Protocol) -> Iterator[str]:
    contract = protocol.contract
    yield f"{protocol.question.title} (study {protocol.study})."
    yield f"Purpose: {protocol.question.purpose}"
    kind, inputs = protocol.model.kind, len(contract.inputs)
    codes = {name: ", ".join(contract.fields[name].codes or ()) for name in contract.targets}
    listed = "; ".join(f"{name!r}{one and ', one of '}{one}" for name, one in codes.items())
    seen = f"{inputs} inputs" if contract.image is None else "an image"
    yield f"A model of kind {kind!r} predicts {listed} from {seen}."
    if protocol.unregistered:
        yield f"Unregistered code takes part ({', '.join(protocol.unregistered)}), not covered by this page. No hospital should run it."


def _parties(protocol: Protocol) -> Iterator[str]:
    parties = protocol.parties
    yield f"Coordinating centre: {parties.coordinator}."
    yield f"Legal basis: {parties.legal_basis}. Ethics: {parties.ethics}. Retention: {parties.retention}."
    yield f"No hospital answers after {parties.expires.isoformat()}." if parties.expires else "The study has no last day."


def _reads(protocol: Protocol) -> Iterator[str]:
    contract = protocol.contract
    yield (
        f"Patient identifiers ({contract.patient!r}), to keep the rows of one patient together."
        if contract.patient
        else ("No patient identifiers: every row counts as a patient of its own, and all figures are about rows.")
    )
    if contract.time:
        yield f"The time of each row ({contract.time!r})."
    fields = [(name, field) for name, field in contract.fields.items() if name in contract.inputs]
    others = [name for name in contract.fields if name not in contract.inputs and name not in contract.targets]
    yield f"Inputs: {'; '.join(f'{name} ({_described(field)})' for name, field in fields)}."
    if others:
        yield f"Read, but not seen by the model: {', '.join(others)}."
    for rule, names in groupby(sorted(fields, key=lambda one: one[1].missing), key=lambda one: one[1].missing):
        listed = [name for name, _ in names]
        yield f"A missing value in {'any input' if len(listed) == len(fields) else ', '.join(listed)}: {_MISSING[rule]}."
    unknown = [name for name in contract.labels if contract.fields[name].missing == "unknown"]
    if unknown:
        yield f"May be unknown, and then left out of training and tests of that label alone: {', '.join(unknown)}."
    yield _NORMALISED[protocol.model.normalise]
    yield from lasting.said(protocol)


def _described(field: Field) -> str:
    about = field.description and f"{field.description}, "
    if field.shape is not None and field.intensity is not None:
        size, (low, high) = " x ".join(map(str, field.shape[1:])), field.intensity
        channels = "1 channel" if field.shape[0] == 1 else f"{field.shape[0]} channels"
        return f"{about}an image of {size} in {channels}, intensities {low:g} to {high:g}"
    if field.range is not None:
        return f"{about}{field.range[0]:g} to {field.range[1]:g}{'' if field.unit == '1' else f' {field.unit}'}"
    return f"{about}one of {', '.join(field.codes or ())}"


def _leaves(protocol: Protocol) -> Iterator[str]:
    together = 0
    for number, phase in enumerate(protocol.phases, start=1):
        group = find("algorithm", phase.kind).expand(protocol, phase)
        counts = [algorithm.leaves()[0] for algorithm in group]
        together += sum(counts)
        settings = f" for {len(group) - 1} settings" if len(group) > 1 else ""
        yield f"{number}. {phase.name}: at most {_messages(sum(counts))}{settings}, with {group[0].leaves()[1]}."
    yield f"Together at most {_messages(together)}, apart from repeated ones. Each is written to the hospital's own log before it is sent."
    if protocol.codec_plugin is not None:
        yield protocol.codec_plugin.said
    if protocol.hides:
        yield secured.said_beside(protocol)
    if protocol.tells:
        yield from _told(protocol)
    if _histograms_seen(protocol) and protocol.trains:
        yield "The coordinator sees each hospital's histograms: at a small hospital they can show single patients' scores and labels."
    yield "A message also names the hospital, the task and its entry in that log, and is signed. A refusal says its reason, never a value."


def _told(protocol: Protocol) -> Iterator[str]:
    """Yield what leaves of a hospital's own test figures at the end."""
    bare = ", not under masks" if protocol.hides else ""
    yield (
        f"When the study ends, also the hospital's own test figures ({', '.join(protocol.evaluation.metrics)} and the like, with "
        f"intervals){bare}; none with fewer than 10 test patients, in all or of a class."
    )
    if protocol.evaluation.site_results == "open":
        yield "All hospitals and whoever reads the result see them with the hospital's name, and its verdict (evaluation.site_results)."
    else:
        yield "The coordinator sees them; all others see each metric's median, lowest and highest value over three hospitals or more."


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _histograms_seen(protocol: Protocol) -> bool:
    """Say whether the coordinator may see a single hospital's histograms."""
    return not protocol.hides and protocol.privacy.counts


def _never(protocol: Protocol) -> Iterator[str]:
    yield "Rows, images or texts of a patient; patient identifiers; dates of a patient."
    if _histograms_seen(protocol):
        yield "Predictions leave in histograms only, without a patient's name; what these can show is said above."
    else:
        yield "The prediction for a single patient."


def _bounds(protocol: Protocol) -> Iterator[str]:
    bounds = protocol.bounds
    yield f"At most {bounds.sites} hospitals, each with at most {bounds.examples:,} examples."
    yield f"A change of a model parameter by more than {bounds.update:g} a round is refused; so is a sum that is too large or not finite."


def _splits(protocol: Protocol) -> Iterator[str]:
    plan = protocol.evaluation
    shares = (1 - plan.validation - plan.test, plan.validation, plan.test)
    train, validation, test = (f"{share:.0%}" for share in shares)
    unit = "patient" if protocol.contract.patient else "row"
    yield f"By {unit}, with one keyed hash for all: {train} training, {validation} validation, {test} test (seed {plan.seed})."
    yield "A hospital that brings its own split keeps its test part; validation is then taken out of its training part."
    yield "Stop rule, settings and thresholds look at validation only. The test part is opened once, for the evaluation."


def _stop(protocol: Protocol) -> Iterator[str]:
    stop, metric = protocol.stop, protocol.primary
    yield "At the latest after the rounds named above."
    if stop.target is not None:
        yield f"Earlier when {metric} on validation patients reaches {stop.target:g}."
    if stop.patience is not None:
        yield f"Earlier when {metric} on validation patients has not improved for {stop.patience} rounds."
    yield f"The model kept is that of the {'best round on validation' if stop.keep == 'best' else 'last round'}."
    if stop.rollback is not None:
        worse = f"worse than the kept one's by more than {stop.rollback:g}"
        yield f"A round whose {metric} is {worse} is undone; {ROLLBACKS} such rounds end training."


def _judged(protocol: Protocol) -> Iterator[str]:
    plan = protocol.evaluation
    beside = f"Sensitivity is given at specificity {plan.specificity:g}."
    if any(protocol.contract.fields[name].range is not None for name in protocol.contract.targets):
        beside = "Prediction intervals are chosen on validation patients; which share of test patients they hold is counted."
    yield f"By {', '.join(plan.metrics)} on test patients; the first decides. {beside}"
    whose = "with the model it made of the shared one" if protocol.giving("personal model") else "with the shared model"
    yield f"Each hospital, {whose}, against its own: gains, no worse (by more than {plan.margin:g}), loses, or too few patients to say."
    if plan.replicates:
        yield f"Intervals come from {plan.replicates} bootstrap replicates by patient, drawn privately at each hospital."
    if plan.compare:
        yield f"Compared with: {'; '.join(_COMPARED[name] for name in plan.compare)}."
    for option, values in plan.tune.items():
        yield f"{option} is tried at {', '.join(str(value) for value in values)}; validation chooses."
    if plan.tune and plan.refit:
        yield "The chosen setting is then trained again on training and validation patients together."


def _rounds(protocol: Protocol) -> Iterator[str]:
    rounds = protocol.rounds
    yield f"A round counts with the answers of at least {rounds.quorum} hospitals. Each has {_duration(rounds.due_seconds)} to answer."
    yield from followed.said(protocol)
    if protocol.hides:
        yield from secured.closing(protocol)
    yield from robust.said(protocol)
    yield f"With fewer it is asked again, at most {rounds.attempts} times in all; then the study stops. Who was absent or refused is named."


def _duration(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}{'' if seconds == length else 's'}"
    return f"{seconds:g} seconds"


def _unprotected(protocol: Protocol) -> Iterator[str]:
    if protocol.privacy.mode == "none":
        yield "Whoever holds the trained model may learn that a patient was, or was not, among those it was trained on."
    if protocol.hides:
        yield from secured.remaining(protocol)
    else:
        yield "A curious coordinator, or whoever breaks into it, may infer things about patients from a small hospital's sums."
        if _histograms_seen(protocol):
            yield "It may read single patients' scores and labels off a small hospital's histogram, without their names."
    yield "A hospital's administrator can always read the hospital's own data. The log shows what this program sent, not what others sent."
    yield "Research use; not a medical device."
