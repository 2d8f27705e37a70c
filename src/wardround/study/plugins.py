"""Find sources, models, questions, algorithms and combiners by name, and check their options before anything runs.

A new one is one new file and one line under `[project.entry-points."wardround.<kind>s"]`; nothing else changes. A plugin is a frozen
dataclass whose fields are its options (an algorithm keeps them in a dataclass of its own, `Options`); types and bounds of the fields are
their check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wardround.study.errors import ProtocolError
from wardround.study.findings import Finding, findings_of, nearest


@cache
def _group(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"wardround.{kind}s")}


def names(kind: str) -> tuple[str, ...]:
    """Return the names known for a kind: source, model, question, algorithm, combiner or codec."""
    return tuple(sorted(_group(kind)))


def find(kind: str, name: str, where: str = "") -> Any:
    """Return the class behind a name.

    Raises:
        ProtocolError: nothing of that name is installed; the message lists what is.
    """
    point = _group(kind).get(name)
    if point is None:
        raise ProtocolError(f"{where or kind}: there is no {kind} named {name!r}.", f"Use one of: {', '.join(names(kind))}.")
    return point.load()


def options_of(cls: type) -> type:
    """Return the dataclass that holds the options of a plugin's class."""
    found: type = getattr(cls, "Options", cls)
    return found


def problems(cls: type, options: Mapping[str, Any], where: str, beside: Sequence[str] = ()) -> list[Finding]:
    """Return all that is wrong with the options of a plugin.

    Args:
        cls: the frozen dataclass that holds them.
        options: by name.
        where: the place in the file, for the message.
        beside: keys of the table that are no options, for the hint after a slip of the pen.
    """
    known = [field.name for field in fields(cls)]
    strange = [key for key in options if key not in known]
    unknown = [Finding(f"{where}.{key}", "there is no such option.", nearest(key, [*beside, *known])) for key in strange]
    try:
        TypeAdapter(cls).validate_python({key: value for key, value in options.items() if key in known})
    except ValidationError as error:
        return unknown + findings_of(error, where)
    return unknown


def validated(cls: type, options: Mapping[str, Any], where: str) -> Any:
    """Return an instance of an options dataclass, every option checked.

    Args:
        cls: a frozen dataclass.
        options: by name.
        where: the place in the file, for the message.

    Raises:
        ProtocolError: an option is unknown or impossible; the message names it, the remedy says what is known.
    """
    found = problems(cls, options, where)
    if found:
        raise found[0].error()
    return TypeAdapter(cls).validate_python(dict(options))


def make(kind: str, name: str, options: Mapping[str, Any], where: str = "") -> Any:
    """Return the plugin of this name with these options, checked.

    Raises:
        ProtocolError: there is no such plugin, or an option is unknown or impossible.
    """
    return validated(find(kind, name, where), options, where or name)


def complete(kind: str, name: str, options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options as JSON values with every default spelled out.

    Raises:
        ProtocolError: there is no such plugin, or an option is unknown or impossible.
    """
    cls = find(kind, name, where)
    options_class = options_of(cls)
    return dict(TypeAdapter(options_class).dump_python(validated(options_class, options, where), mode="json"))
