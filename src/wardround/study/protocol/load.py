"""Read a study from the text of its `study.toml`, or say everything that is wrong with it.

Three passes, each reporting all that it finds: the TOML itself; the tables, keys and values, with the options of the plugins they name;
and, once these hold, contradictions between sections. The caller reads the file: this room has no disk.
"""

from __future__ import annotations

import json
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from pydantic import ValidationError

from wardround.study.errors import ProtocolError
from wardround.study.findings import FileRefused, Finding, findings_of, nearest
from wardround.study.plugins import find, options_of, problems
from wardround.study.protocol import testing
from wardround.study.protocol.counting import filled_in, not_written
from wardround.study.protocol.locate import line_of
from wardround.study.protocol.plugged import Plugged
from wardround.study.protocol.protocol import Protocol
from wardround.study.protocol.section import Section
from wardround.study.protocol.sections import CodecSection, ModelSection, Phase, QuestionSection

WRITTEN_BY_US = ("initial", "rehearsal", "unregistered")


def read_protocol(text: str, name: str) -> Protocol:
    """Return the protocol in a text, every default spelled out.

    Args:
        text: of a `study.toml`.
        name: of the file, for the messages.

    Raises:
        FileRefused: carries each finding with line, key, what is wrong and what to do.
    """
    data = _parsed(text, name)
    findings = [*_reserved(data), *not_written(data), *testing.not_written(data), *_options(data)]
    protocol = None
    data = filled_in(data) if data.get("kind") == "statistics" else data
    data = testing.filled_in(data) if data.get("kind") == testing.KIND else data
    try:
        protocol = Protocol.model_validate_json(json.dumps(data, default=_as_text), strict=True)
    except ValidationError as error:
        findings += _tables(error, data)
    if protocol is not None and not findings:
        try:
            return protocol.complete()
        except FileRefused as error:
            findings += error.findings
        except ProtocolError as error:
            findings.append(Finding.of(error))
    raise FileRefused(name, [replace(finding, line=line_of(text, _path(finding.key, data))) for finding in findings])


def _parsed(text: str, name: str) -> dict[str, Any]:
    """Return the tables of a TOML text."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, line = str(error), None
        if at := re.search(r" \(at line (\d+), column \d+\)", what):
            what, line = what.replace(at[0], ""), int(at[1])
        elif what.endswith(" (at end of document)"):
            line = text.count("\n") + 1
        wrong = f"this is not TOML: {what[:1].lower()}{what[1:].removesuffix(' (at end of document)')}."
        raise FileRefused(name, [Finding("", wrong, "Correct this line; text stands in quotes, a list in [ ].", line)]) from error
    except (ValueError, RecursionError) as error:
        raise FileRefused(name, [Finding("", "a number is too long or a list too deep.", "Write a plain study file.", None)]) from error


def _as_text(value: Any) -> str:
    """Return a TOML date or time as JSON has it."""
    return value.isoformat() if isinstance(value, date) else str(value)


def _reserved(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for each key that only the program writes."""
    for key in WRITTEN_BY_US:
        if key in data:
            yield Finding(key, "is written by the program, never by hand.", "Leave it out.")


def _options(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the options of question, model and phases."""
    for kind, where, section, table in _plugged(data):
        name = table.get("kind")
        if not isinstance(name, str):
            continue
        own = [key for key in section.model_fields if key != "options"]
        try:
            options = options_of(find(kind, name, f"{where}.kind"))
        except ProtocolError as error:
            yield Finding.of(error)
            continue
        yield from problems(options, {key: value for key, value in table.items() if key not in own}, where, own)


def _plugged(data: Mapping[str, Any]) -> Iterator[tuple[str, str, type[Plugged], Mapping[str, Any]]]:
    """Yield kind of plugin, dotted key, section and table for each table that names a plugin."""
    phases = data["phases"] if isinstance(data.get("phases"), list) else []
    tables: list[tuple[str, str, type[Plugged], Any]] = [
        ("question", "question", QuestionSection, data.get("question")),
        ("model", "model", ModelSection, data.get("model")),
        ("codec", "codec", CodecSection, data.get("codec")),
        *(("algorithm", _phase_key(phases, index), Phase, phase) for index, phase in enumerate(phases)),
    ]
    yield from (entry for entry in tables if isinstance(entry[3], dict))


def _tables(error: ValidationError, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with tables, keys and values, each with the keys that are known in its place."""
    details = error.errors(include_url=False)
    found = findings_of(error, "")
    for one, finding in zip(details, found, strict=True):
        where = one["loc"]
        key = re.sub(r"^phases\.(\d+)", lambda match: _phase_key(data.get("phases"), int(match[1])), finding.key)
        if one["type"] == "extra_forbidden":
            known = [field for field in _section_at(where[:-1]).model_fields if field not in WRITTEN_BY_US]
            yield replace(finding, key=key, remedy=nearest(str(where[-1]), known))
        else:
            yield replace(finding, key=key)


def _section_at(where: Sequence[str | int]) -> type[Section]:
    """Return the section that describes the table at this place."""
    section: type[Section] = Protocol
    skip = False
    for part in where:
        if skip:
            skip = False
            continue
        field = section.model_fields.get(str(part))
        below = [one for one in _types_in(field.annotation) if issubclass(one, Section)] if field else []
        if field and below:
            section, skip = below[0], typing.get_origin(field.annotation) in (dict, tuple)
    return section


def _types_in(annotation: Any) -> Iterator[type]:
    """Yield the classes in a type annotation."""
    if isinstance(annotation, type):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _types_in(inner)


def _phase_key(phases: Any, index: int) -> str:
    """Return "phases.<name>", or "phases.<place>" for a phase without a usable name of its own."""
    names = [phase.get("name") if isinstance(phase, dict) else None for phase in phases]
    own = names[index]
    return f"phases.{own if isinstance(own, str) and names.count(own) == 1 else index + 1}"


def _path(key: str, data: Any) -> list[str | int]:
    """Return the path of a dotted key in the file: names of keys, places of phases; as far as the file goes."""
    path: list[str | int] = []
    rest = key.split(".") if key else []
    while rest:
        if isinstance(data, list):
            place = _place(rest[0], data)
            if place is None:
                break
            path, data, rest = [*path, place], data[place], rest[1:]
            continue
        # A key may hold dots itself, so the longest one that stands in the file is taken.
        lengths = [length for length in range(len(rest), 0, -1) if isinstance(data, dict) and ".".join(rest[:length]) in data]
        if not lengths:
            break
        name = ".".join(rest[: lengths[0]])
        path, data, rest = [*path, name], data[name], rest[lengths[0] :]
    return path


def _place(name: str, entries: Sequence[Any]) -> int | None:
    """Return the place of the phase with this name, or at this place (from 1)."""
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("name") == name:
            return index
    return int(name) - 1 if name.isdigit() and 0 < int(name) <= len(entries) else None
