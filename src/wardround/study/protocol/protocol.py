"""Put the sections together: the frozen plan that every site signs."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, SerializerFunctionWrapHandler, model_serializer, model_validator

from wardround.study.arrays import Arrays
from wardround.study.canonical import canonical, digest
from wardround.study.coded import coded
from wardround.study.coding import Codec
from wardround.study.errors import ProtocolError
from wardround.study.findings import FileRefused
from wardround.study.interfaces import Algorithm, Combiner, Model, Question
from wardround.study.plugins import find, make
from wardround.study.protocol import robust
from wardround.study.protocol.contract import Contract
from wardround.study.protocol.contradictions import contradictions
from wardround.study.protocol.counting import unfit
from wardround.study.protocol.section import Name, Section
from wardround.study.protocol.sections import (
    Bounds,
    CodecSection,
    Evaluation,
    ModelSection,
    Parties,
    Phase,
    Privacy,
    QuestionSection,
    Rounds,
    Stop,
)
from wardround.study.protocol.seen import input_shape


class Protocol(Section):
    """Say what will happen: immutable, with one digest that every task quotes.

    Attributes:
        version: of this schema.
        kind: "training"; "statistics" for a study that trains nothing: no model, no label, no evaluation; "evaluation" for one that tests a
            finished model, which comes as a file.
        study: short name, part of every entry and subject.
        codec: how the sums of a training travel in fewer bytes; None where they travel as they are.
        data: "frozen": the rows that a hospital approved are those of every round; "rolling": it may bring newer ones between rounds.
        initial: digests of the initial parameters by name; empty until the study is submitted.
        rehearsal: True for the rehearsal of a study, which sites answer with made-up rows only.
        unregistered: own objects of a researcher that take part ("aggregator", "model"); empty in a hospital.
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    kind: Literal["training", "statistics", "evaluation"] = "training"
    study: Name
    question: QuestionSection
    parties: Parties
    contract: Contract
    model: ModelSection
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    codec: CodecSection | None = None
    bounds: Bounds
    rounds: Rounds
    privacy: Privacy = Privacy()
    evaluation: Evaluation
    stop: Stop = Stop()
    data: Literal["frozen", "rolling"] = "frozen"
    initial: dict[str, str] = Field(default_factory=dict)
    rehearsal: bool = False
    unregistered: tuple[str, ...] = ()
    _own: dict[str, Model] = PrivateAttr(default_factory=dict)
    _brought: dict[str, Arrays] = PrivateAttr(default_factory=dict)

    @model_serializer(mode="wrap")
    def _as_written(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = inner(self)
        if not self.rehearsal:
            del found["rehearsal"]
        if self.trains:  # so that a plan that trains has the digest it had before there were others
            del found["kind"], found["privacy"]["smallest_count"]
        if self.codec is None:
            del found["codec"]
        if self.data == "frozen":
            del found["data"]
        if not self.evaluates:
            del found["model"]["file"], found["model"]["trained_on"]
        return found

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unfit(self.kind, self.contract, self.privacy)
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names) or "initial" in names:
            raise ValueError("phases: every phase needs its own name, and 'initial' is taken; rename one")
        if self.rounds.quorum > self.bounds.sites:
            raise ValueError("rounds.quorum: is larger than bounds.sites, so no round could ever close; make it smaller")
        return self

    @property
    def trains(self) -> bool:
        """Return whether there is a model to train; a study of statistics has none, one of evaluation has a finished one."""
        return self.kind == "training"

    @property
    def evaluates(self) -> bool:
        """Return whether a finished model is tested, which comes as a file."""
        return self.kind == "evaluation"

    @cached_property
    def canonical(self) -> bytes:
        """Return the canonical JSON that is signed."""
        return canonical(self.model_dump(mode="json"))

    @cached_property
    def digest(self) -> str:
        """Return the digest of the canonical JSON."""
        return digest(self.canonical)

    def complete(self) -> Protocol:
        """Return the protocol with every plugin's defaults spelled out and its contradictions refused.

        Raises:
            ProtocolError: a plugin or option does not exist, or sections contradict each other; the message names the key.
        """
        full = self.changed(
            question=self.question.complete("question", "question"),
            model=self.model if "model" in self.unregistered else self.model.complete("model", "model"),
            phases=tuple(phase.complete("algorithm", f"phases.{phase.name}") for phase in self.phases),
            codec=self.codec and self.codec.complete("codec", "codec"),
        )
        found = contradictions(full)
        if found:
            raise FileRefused(f"study {self.study}", found)
        return full

    def changed(self, **sections: Any) -> Protocol:
        """Return a protocol with these sections in place of its own, checked as a whole."""
        new = Protocol(**{**{name: getattr(self, name) for name in Protocol.model_fields}, **sections})
        new._own.update(self._own)
        new._brought.update(self._brought)
        return new

    def bringing(self, model: Arrays, what: str = "model") -> Protocol:
        """Return the protocol together with a file that it names, until it stands in it by digest.

        Args:
            model: what the file holds.
            what: "model", that which is to be tested; or "start", parameters to start from.
        """
        new = self.changed()
        new._brought[what] = model
        return new

    @property
    def checkpoint(self) -> Arrays:
        """Return the parameters in the file to start from; none where the plan names no such file.

        Raises:
            ProtocolError: the plan names one, and nobody has read it.
        """
        if self.model.start and "start" not in self._brought:
            raise ProtocolError("model.start: the file was not read.", "Read the study with load_study, from where both files lie.")
        return self._brought.get("start", {})

    @property
    def brought(self) -> Arrays:
        """Return the file of the model to be tested.

        Raises:
            ProtocolError: nobody has read it.
        """
        if "model" not in self._brought:
            raise ProtocolError("model.file: the model's file was not read.", "Read the study with load_study, from where both files lie.")
        return self._brought["model"]

    def with_model(self, model: Model) -> Protocol:
        """Return the protocol with a researcher's own model, which exists in this process only and is marked "unregistered code"."""
        new = self.changed(unregistered=(*self.unregistered, "model"))
        new._own["model"] = model
        return new

    @cached_property
    def question_plugin(self) -> Question:
        """Return the question's plugin."""
        made: Question = make("question", self.question.kind, self.question.options, "question")
        return made.about(self.contract)

    @cached_property
    def model_plugin(self) -> Model:
        """Return the model's plugin, or the researcher's own.

        Raises:
            ProtocolError: the protocol names a researcher's own model and this process does not have it.
        """
        if "model" in self.unregistered:
            if "model" not in self._own:
                raise ProtocolError(
                    "The model of this study is a researcher's own object.", "Run it from the script or notebook that made it."
                )
            return self._own["model"]
        made: Model = make("model", self.model.kind, self.model.options, "model")
        return made

    @cached_property
    def codec_plugin(self) -> Codec | None:
        """Return how the sums of a training travel in fewer bytes; None where they travel as they are."""
        if self.codec is None:
            return None
        made: Codec = make("codec", self.codec.kind, self.codec.options, "codec")
        return made

    def stays(self, name: str) -> bool:
        """Return whether a parameter is a hospital's own and never leaves it."""
        return bool(self.model_plugin.parts(name).intersection(self.model.private))

    def moves(self, name: str) -> bool:
        """Return whether a parameter is trained by all hospitals together: neither private nor frozen."""
        return not self.model_plugin.parts(name).intersection({*self.model.private, *self.model.frozen})

    @property
    def parts_that_stay(self) -> str:
        """Return what is said of parameters that are not sent; nothing where all are."""
        private, frozen = (" and ".join(parts) for parts in (self.model.private, self.model.frozen))
        own = f" except the hospital's own {private}" if private else ""
        return own + (f"{' and' if own else ' except'} the frozen {frozen}" if frozen else "")

    @cached_property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """Return what is carried out, in order; a phase that tries a grid stands here as several.

        Raises:
            ProtocolError: a phase cannot be carried out as written.
        """
        found: list[Algorithm] = []
        for phase in self.phases:
            found += find("algorithm", phase.kind, f"phases.{phase.name}.kind").expand(self, phase)
        names = [algorithm.phase for algorithm in found]
        for name in names:
            if names.count(name) > 1:
                raise ProtocolError(f"phases: {name!r} is also the name of a setting that is tried.", "Give this phase another name.")
        return tuple(found) if self.codec is None else coded(self, found)

    def giving(self, what: str, before: str | None = None) -> str | None:
        """Return the last phase that gives something (see `Algorithm.gives`), before another phase if one is named; else None."""
        found = None
        for phase in self.phases:
            if phase.name == before:
                break
            if find("algorithm", phase.kind, f"phases.{phase.name}.kind").gives == what:
                found = phase.name
        return found

    @cached_property
    def most_answers(self) -> dict[str, int]:
        """Return how many answers each phase takes of a site at most, by its name."""
        return {algorithm.phase: algorithm.leaves()[0] for algorithm in self.algorithms}

    @cached_property
    def by_phase(self) -> dict[str, Algorithm]:
        """Return the algorithms by the name of their phase."""
        return {algorithm.phase: algorithm for algorithm in self.algorithms}

    @cached_property
    def combiner(self) -> Combiner:
        """Return how answers are added up.

        Raises:
            ProtocolError: there is no such combiner, or `helpers` does not fit it.
        """
        options = {**({"helpers": self.rounds.helpers} if self.rounds.helpers else {}), **robust.options(self.rounds)}
        made: Combiner = make("combiner", self.rounds.combine, options, "rounds.combine" if not options else "rounds")
        return made

    @cached_property
    def hides(self) -> bool:
        """Return whether answers are added up so that nobody sees a single site's sums."""
        return bool(self.combiner.hides)

    @property
    def follows(self) -> bool:
        """Return whether sites are given the totals of the rounds, and work out themselves what they are asked."""
        return self.hides or self.rounds.down == "totals"

    @property
    def tells(self) -> bool:
        """Return whether each site's own test figures leave it when the study ends."""
        return self.evaluation.site_results != "own" and self.giving("judgement") is not None

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Return the shape of one example as a model sees it: (F,) columns of a table, or that of an image, channels first."""
        return input_shape(self.contract)

    @cached_property
    def outputs(self) -> int:
        """Return how many numbers a model gives for one example."""
        return self.question_plugin.outputs(self.contract)

    @cached_property
    def primary(self) -> str:
        """Return the primary metric: it decides stop rule, tuning and verdicts."""
        return self.evaluation.metrics[0]

    @cached_property
    def direction(self) -> int:
        """Return +1 when a larger value of the primary metric is better, -1 when a smaller one is."""
        return self.question_plugin.better[self.primary]
