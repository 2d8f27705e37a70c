"""Say all that is wrong with a file at once: where, what, and what to do.

Who writes a study wants the whole list, not one mistake a run. A finding is a value; `FileRefused` carries them all as one error.
Pydantic's messages are turned into words that somebody understands who does not program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wardround.study.errors import ProtocolError

_OPENS_WITH_KEY = re.compile(r"([A-Za-z][\w.-]*): (.+)", re.DOTALL)
_REMEDIES = {
    "missing": "Add it.",
    "int_type": "Write a whole number, without quotes.",
    "int_from_float": "Write a whole number, without quotes.",
    "float_type": "Write a number, without quotes.",
    "string_type": "Write text, in quotes.",
    "bool_type": "Write true or false, without quotes.",
    "tuple_type": "Write a list: [first, second].",
    "dict_type": "Write a table: key = value, one a line.",
    "model_type": "Write a table: key = value, one a line.",
    "string_pattern_mismatch": "Begin with a letter; then letters, digits, dot, minus or underscore; at most 64.",
    "string_too_short": "Write a few words.",
    "unexpected_keyword_argument": "Correct its name, or leave it out.",
}
_WORDS = {
    "missing": "is missing.",
    "string_pattern_mismatch": "is not a name.",
    "int_type": "must be a whole number.",
    "int_from_float": "must be a whole number.",
    "float_type": "must be a number.",
    "string_type": "must be text.",
    "bool_type": "must be true or false.",
    "tuple_type": "must be a list.",
    "dict_type": "must be a table.",
    "model_type": "must be a table.",
    "string_too_short": "is empty.",
    "unexpected_keyword_argument": "there is no such key.",
}


@dataclass(frozen=True)
class Finding:
    """Name one thing that is wrong with a file.

    Attributes:
        key: dotted, as a person would write it: "phases.train.learning_rate"; "" for the file as a whole.
        wrong: what is wrong, one sentence without the key.
        remedy: what to do.
        line: 1-based, or None where no line can be named.
    """

    key: str
    wrong: str
    remedy: str
    line: int | None = None

    def place(self, name: str) -> str:
        """Return where it is, such as "study.toml, line 7, rounds.quorum"."""
        return ", ".join(part for part in (name, f"line {self.line}" if self.line else "", self.key) if part)

    def error(self) -> ProtocolError:
        """Return the finding as an error of its own."""
        return ProtocolError(f"{self.key}: {self.wrong}" if self.key else self.wrong, self.remedy)

    @classmethod
    def of(cls, error: ProtocolError) -> Finding:
        """Return the finding in an error; a message that opens with a key and a colon names its key."""
        opened = _OPENS_WITH_KEY.fullmatch(error.message)
        return cls(opened[1], opened[2], error.remedy) if opened else cls("", error.message, error.remedy)


class FileRefused(ProtocolError):
    """A file cannot be accepted; carries every finding.

    Attributes:
        name: of the file.
        findings: by line.
    """

    def __init__(self, name: str, findings: Sequence[Finding]) -> None:
        """Put the findings in order of line, and into one message."""
        self.name = name
        self.findings = tuple(sorted(findings, key=lambda finding: (finding.line or 0, finding.key)))
        if len(self.findings) == 1:
            (only,) = self.findings
            super().__init__(f"{only.place(name)}: {only.wrong}", only.remedy)
        else:
            lines = [f"  {finding.place(name)}: {finding.wrong} {finding.remedy}" for finding in self.findings]
            super().__init__("\n".join([f"{name}: {len(lines)} things are wrong.", *lines, ""]), "Correct them and try again.")

    def __reduce__(self) -> tuple[type[FileRefused], tuple[Any, ...]]:
        """Copy with every finding."""
        return type(self), (self.name, self.findings)


def findings_of(error: ValidationError, where: str, known: Sequence[str] = ()) -> list[Finding]:
    """Return what pydantic found, in plain words.

    Args:
        error: of a section or of a plugin's options.
        where: dotted key of the table that was checked; "" for the whole file.
        known: keys of that table, to tell a slip of the pen from an invention.
    """
    return [_finding(one, where, known) for one in error.errors(include_url=False)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the nearest known one, then all.

    Example:
        >>> nearest("quorun", ["quorum", "combine"])
        "Did you mean 'quorum'? Known here: quorum, combine."
    """
    listed = list(known)
    near = get_close_matches(name, listed, n=1)
    return f"{f'Did you mean {near[0]!r}? ' if near else ''}Known here: {', '.join(listed) or 'nothing'}."


def _finding(one: ErrorDetails, where: str, known: Sequence[str]) -> Finding:
    """Return one of pydantic's errors as a finding."""
    parts = [where] if where else []
    key = ".".join([*parts, *(str(part) for part in one["loc"] if part != "[key]")])
    if one["type"] == "extra_forbidden":
        return Finding(key, "there is no such key.", nearest(str(one["loc"][-1]), known))
    if one["type"] == "value_error":
        return _own_words(one["msg"].removeprefix("Value error, "), key)
    wrong = _WORDS.get(one["type"]) or re.sub(r"^(Input|Tuple|String|Dictionary) should", "must", one["msg"]) + "."
    return Finding(key, wrong, _REMEDIES.get(one["type"], "Choose such a value."))


def _own_words(text: str, key: str) -> Finding:
    """Return the finding in a validator's text: "further.key: what is wrong; what to do", first and last part optional."""
    opened = _OPENS_WITH_KEY.fullmatch(text)
    if opened:
        key, text = f"{key}.{opened[1]}" if key else opened[1], opened[2]
    wrong, _, remedy = text.partition("; ")
    return Finding(key, f"{wrong}.", f"{remedy[:1].upper()}{remedy[1:]}." if remedy else "Change one of the two.")
