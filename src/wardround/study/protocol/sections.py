"""Hold the small tables of a protocol: who, how much, how private, how judged."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from wardround.study.protocol.plugged import Plugged
from wardround.study.protocol.section import Name, Section

SMALLEST_COUNT = 10

ROLLBACKS = 3
"""How often a training phase goes back to the round that is kept; when one more is needed, it ends."""


class QuestionSection(Plugged):
    """Say what is to be learnt.

    Attributes:
        kind: "binary", "multiclass", "ordinal", "multilabel" or "regression" (entry-point name).
        title: one line.
        purpose: what the model is for; the sites agree to this purpose and no other.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)]
    purpose: Annotated[str, Field(min_length=1, max_length=2000)]


class Parties(Section):
    """Say who answers for the study, and on what basis; free text for now.

    Attributes:
        coordinator: coordinating centre.
        legal_basis: such as "GDPR Art. 9(2)(j)".
        ethics: reference of the ethics vote.
        retention: how long sites and coordinator keep what.
        expires: after this day no site answers any more.
    """

    coordinator: str
    legal_basis: str = "not stated"
    ethics: str = "not stated"
    retention: str = "not stated"
    expires: datetime.date | None = None


def _listed(value: Any) -> Any:
    """Return a list as the tuple that is meant; a plugged section is gathered first, and then holds lists."""
    return tuple(value) if isinstance(value, list) else value


class ModelSection(Plugged):
    """Name the model and what its inputs are normalised by.

    Attributes:
        kind: "logistic", "mlp" or another entry-point name.
        normalise: "federated" (moments of all sites' training patients), "site" (each site's own), "combat" (what differs between sites is
            taken away first, by a phase of that kind) or "none" (the contract's ranges).
        file: in an evaluation study: name of the model's file, which lies beside the study file; its digest stands in the signed plan.
        trained_on: in an evaluation study: on which patients the model was trained, and why none of them is tested here.
        private: parts that stay at each hospital, which trains its own: "norm" (normalising layers: FedBN), "head" (the last layer) or
            "intercept" (the bias of the last layer).
        frozen: parts that are neither trained nor sent, but stay as they are at the start: "body", "norm" or "head".
        start: name of a file with parameters to start from, which lies beside the study file; what it lacks is initialised as ever.
    """

    later: ClassVar[frozenset[str]] = frozenset({"private", "frozen", "start"})

    normalise: Literal["federated", "site", "combat", "none"] = "federated"
    file: Annotated[str, StringConstraints(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] = ""
    trained_on: Annotated[str, Field(max_length=2000)] = ""
    private: Annotated[tuple[Literal["norm", "head", "intercept"], ...], BeforeValidator(_listed)] = ()
    frozen: Annotated[tuple[Literal["body", "norm", "head"], ...], BeforeValidator(_listed)] = ()
    start: Annotated[str, StringConstraints(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] = ""

    @model_validator(mode="after")
    def _parts(self) -> Self:
        both = sorted({*self.private} & {*self.frozen})
        if both:
            raise ValueError(f"private: {both[0]!r} is frozen as well, so nobody would train it; leave it out of one of them")
        if {"body", "head"} <= {*self.frozen} or ("body" in self.frozen and "head" in self.private):
            raise ValueError("frozen: nothing is left that hospitals train together; leave a part out")
        return self


class Phase(Plugged):
    """Name one step of the study: an algorithm with its options.

    Attributes:
        name: unique in the study.
        kind: "moments", "fedavg", "local", "evaluate" or another entry-point name.
    """

    name: Name


class CodecSection(Plugged):
    """Say how the sums of a training travel in fewer bytes.

    Attributes:
        kind: "quantised", "topk", "float16", "bfloat16" or another entry-point name.
    """


class Bounds(Section):
    """Bound what a site may send; the scales of the fixed-point sums follow.

    Attributes:
        sites: largest number of sites.
        examples: largest number of examples at one site.
        update: largest change of one parameter in one round; an update beyond it is refused, never clipped.
    """

    sites: Annotated[int, Field(ge=1, le=100_000)]
    examples: Annotated[int, Field(ge=1, le=1_000_000_000)]
    update: Annotated[float, Field(gt=0, le=1e6)] = 16.0


class Rounds(Section):
    """Say when a round counts.

    Attributes:
        quorum: fewest sites whose answers make a round.
        due_seconds: how long a site may take.
        lost_seconds: how long a site whose connection is lost may hold up a round; in a sum of one message: due_seconds.
        attempts: how often a round that missed its quorum is asked again before the study stops.
        combine: how answers are added up (entry-point name of a combiner).
        helpers: of a sum of one message, the three sites that hold the seeds of its masks.
        hostile: of a robust rule ("trimmed_mean", "geometric_median", "multi_krum" or "median"), how many sites may be hostile.
        mixing: of a robust rule: each update is averaged with its nearest neighbours first.
        down: what sites are given each round: the "model", or the "totals" of the rounds since, from which each works out the model itself.
            Where single sites' sums are hidden it is always the totals.
    """

    later: ClassVar[frozenset[str]] = frozenset({"hostile", "mixing", "down"})

    quorum: Annotated[int, Field(ge=1)]
    due_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] = 3600
    lost_seconds: Annotated[float, Field(ge=6, le=30 * 86400)] = 60
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    combine: Name = "plain"
    helpers: tuple[Name, ...] = ()
    hostile: Annotated[int, Field(ge=0, le=10_000)] = 0
    mixing: bool = True
    down: Literal["model", "totals"] = "model"


class Privacy(Section):
    """Say what bounds the sums reveal about one patient. "none" is said first in the summary.

    Attributes:
        mode: "none"; differential privacy comes with its own issue.
        counts: True when histograms and other counts may leave a hospital in plain sums.
        smallest_count: k of a study of statistics: in plain sums no count of fewer patients leaves a hospital; of a secure sum none is
            written or shown. 1 for no such rule.
    """

    mode: Literal["none"] = "none"
    counts: bool = False
    smallest_count: Annotated[int, Field(ge=1, le=1000)] = SMALLEST_COUNT


class Evaluation(Section):
    """Say beforehand how the model will be judged.

    Attributes:
        metrics: the first is primary: it decides stop rule, tuning and verdicts.
        margin: largest loss of the primary metric that still counts as "no worse", in that metric's unit.
        seed: of splits, initial parameters and bootstrap.
        validation: share of patients (of the training part where a site brings its own split), 0 to 0.5.
        test: share of patients, 0 to 0.5; ignored where a site brings its own split.
        specificity: at which sensitivity is reported; its threshold is chosen on validation.
        replicates: bootstrap replicates for intervals, 30 or more; 0 for no intervals and no verdicts.
        tune: options of the training phase to try, each with a list of values; tried alike for federated, local and pooled, judged on
            validation.
        refit: train again with the chosen options on training and validation patients together.
        compare: further models that a simulation trains: "pooled", "ensemble", "best_single".
        site_results: what leaves a hospital of its own test figures: "own" (nothing; each hospital has its own), "blinded" (the
            coordinator is told, and publishes median and band over the hospitals) or "open" (they are published by hospital). A
            simulation shows all.
    """

    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    margin: Annotated[float, Field(ge=0, le=1e6)] = 0.02
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = 42
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    test: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    specificity: Annotated[float, Field(gt=0, lt=1)] = 0.9
    replicates: Annotated[int, Field(ge=0, le=2000)] = 200
    tune: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    refit: bool = False
    compare: tuple[Literal["pooled", "ensemble", "best_single"], ...] = ("pooled", "ensemble", "best_single")
    site_results: Literal["own", "blinded", "open"] = "own"

    @field_validator("replicates")
    @classmethod
    def _enough(cls, value: int) -> int:
        if 0 < value < 30:
            raise ValueError("fewer than 30 replicates carry no interval; write 0 for none, or at least 30")
        return value

    @field_validator("tune")
    @classmethod
    def _sorted(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        return dict(sorted(value.items()))  # the order of settings must not depend on that of a file, which the digest does not cover

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("test: with validation leaves no patients for training; make one of them smaller")
        for key in ("metrics", "compare"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise ValueError(f"{key}: names one twice; leave out the second")
        return self


class Stop(Section):
    """Say when training ends before its last round; looks at validation patients only.

    Attributes:
        target: value of the primary metric that is enough, or None.
        patience: rounds without improvement before it ends, or None.
        keep: "best" (the round with the best validation) or "last".
        rollback: how much worse than the kept round a round may be, in the unit of the primary metric; a worse one is undone. None: any.
    """

    later: ClassVar[frozenset[str]] = frozenset({"rollback"})

    target: float | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    keep: Literal["best", "last"] = "best"
    rollback: Annotated[float, Field(gt=0, le=1e6)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.keep == "last" and self.patience is not None:
            raise ValueError("keep: patience with keep = 'last' would release a model that validation judged worse; use keep = 'best'")
        return self
