"""The signed plan of a study: one file a section, put together in `protocol.py`, read from `study.toml` by `load.py`."""

from wardround.study.protocol.contract import Contract, Field
from wardround.study.protocol.protocol import Protocol
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

__all__ = [
    "Bounds",
    "CodecSection",
    "Contract",
    "Evaluation",
    "Field",
    "ModelSection",
    "Parties",
    "Phase",
    "Privacy",
    "Protocol",
    "QuestionSection",
    "Rounds",
    "Stop",
]
