"""Fill in what an evaluation study leaves out, and refuse what it has no use for or what would make it unfair.

Such a study (`kind = "evaluation"`) tests a finished model, ours or bought, at hospitals that it has not seen. Nothing is trained, so there
are no parts to divide patients into: every patient that a hospital brings is a test patient, but those it declares itself as training or
validation patients of that very model. The plan says on whom the model was trained; that sentence is what a reader has to believe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wardround.study.findings import Finding
from wardround.study.plugins import find

if TYPE_CHECKING:
    from wardround.study.protocol.protocol import Protocol

KIND = "evaluation"
_UNUSED = {
    "stop": "nothing is trained, so there is nothing to stop.",
    "evaluation.tune": "nothing is trained, so there is nothing to tune.",
    "evaluation.refit": "nothing is trained, so there is nothing to train again.",
    "evaluation.compare": "the model is tested alone; no other is trained beside it.",
    "evaluation.margin": "no other model is tested beside it; a bar for the model itself is an option of the phase (bar).",
    "evaluation.validation": "there is no validation part: every patient is a test patient.",
    "evaluation.test": "there is no share to choose: every patient is a test patient.",
    "evaluation.specificity": "a threshold would need validation patients; the decision curve shows all thresholds.",
}


REMAINS = (
    "Subgroups by two fields are each safe alone; what the two tell together is not worked out.",
    "Two studies with almost the same patients can be subtracted from each other; each hospital decides what it approves.",
    "No noise is added, so there is no proven limit to what the figures reveal about one patient; it comes with patient privacy.",
    "The model scores each patient alone, but one made for it could write what it is given of a patient into the score, or fail at one; "
    "the bins in which scores are counted, and a refusal, carry that to the coordinator. Test only models whose maker you trust.",
    "Figures are written to three places, which is no proven limit: many of them together narrow down the counts behind them.",
    "The figures are the coordinator's arithmetic; no hospital works them out again.",
    "That the model was trained on other patients is what the plan states; the figures do not show it.",
)
"""What an evaluation does not protect against, or cannot show."""


def filled_in(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of an evaluation study with what such a study leaves out; what is there stays as it is."""
    found = dict(data)
    if isinstance(found.get("evaluation", {}), dict):
        found["evaluation"] = {"compare": [], **found.get("evaluation", {})}
    return found


def not_written(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for each key of an evaluation study that only a study that trains has; and the other way round."""
    if data.get("kind") != KIND:
        model = data["model"] if isinstance(data.get("model"), dict) else {}
        for key in ("file", "trained_on"):
            if key in model:
                yield Finding(f"model.{key}", "is for a study that tests a finished model.", 'Leave it out, or write kind = "evaluation".')
        return
    for key, wrong in _UNUSED.items():
        table, _, name = key.partition(".")
        if table in data and (not name or (isinstance(data[table], dict) and name in data[table])):
            yield Finding(key, wrong, "Leave it out.")


def contradictions(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding for whatever makes an evaluation study impossible, or unclear to those who sign it."""
    model, rounds = protocol.model, protocol.rounds
    if len(protocol.phases) != 1 or find("algorithm", protocol.phases[0].kind).gives != "judgement":
        yield Finding(
            "phases", "an evaluation study has one phase, of kind 'assess'.", "Leave out the others; two tests would tell small counts."
        )
    if not model.file:
        yield Finding("model.file", "is missing.", 'Name the model\'s file, which lies beside this one: file = "model.onnx".')
    if not model.trained_on.strip():
        remedy = "Write on which patients the model was trained, and why none of them is tested here; every hospital signs that sentence."
        yield Finding("model.trained_on", "is missing.", remedy)
    if protocol.privacy.smallest_count == 2 and any(one.options.get("subgroups") for one in protocol.phases):
        wrong = "of 2 lets hidden subgroups be worked out: two that hold 2 together are 1 and 1."
        yield Finding("privacy.smallest_count", wrong, "Write 3 or more; or 1, which hides nothing.")
    if model.normalise == "site":
        wrong = "a hospital's own normalisation would need rows that are not tested."
        yield Finding("model.normalise", wrong, "Leave it out: the model's file brings its own.")
    if rounds.combine == "plain" and not protocol.privacy.counts:
        says = "histograms of scores leave each hospital in plain sums, and the protocol does not say so."
        yield Finding("privacy.counts", says, 'Write counts = true under [privacy], or combine = "secure" under [rounds].')
    if rounds.combine == "bucketed":
        yield Finding("rounds.combine", "sums in groups are for training, not for testing.", 'Write combine = "secure" or "plain".')


def untrainable(protocol: Protocol) -> Iterator[Finding]:
    """Yield a finding where a study that trains names a model that comes finished."""
    if protocol.trains and "model" not in protocol.unregistered and find("model", protocol.model.kind).finished:
        wrong = f"a model of kind {protocol.model.kind!r} comes finished and cannot be trained."
        yield Finding("model.kind", wrong, 'Name another, or test it: kind = "evaluation" at the top.')
