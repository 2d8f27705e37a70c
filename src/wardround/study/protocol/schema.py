"""Describe `study.toml` to an editor: a JSON Schema, so that keys complete, explanations show and slips are underlined.

The tables come from the sections themselves, the explanations from their docstrings. Where a table names a plugin there is one
alternative for each that is installed here, with its options.

Source: JSON Schema draft 2020-12, https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter

from wardround.study.errors import MissingExtra
from wardround.study.plugins import find, names, options_of
from wardround.study.protocol.counting import NOTHING
from wardround.study.protocol.load import WRITTEN_BY_US
from wardround.study.protocol.protocol import Protocol

_PLUGGED = {"QuestionSection": "question", "ModelSection": "model", "CodecSection": "codec", "Phase": "algorithm"}
_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n        .+)*)", re.MULTILINE)


def study_schema() -> dict[str, Any]:
    """Return the JSON Schema of `study.toml` with the plugins that are installed here."""
    schema = Protocol.model_json_schema()
    for key in WRITTEN_BY_US:
        del schema["properties"][key]
    for table in (schema, *schema["$defs"].values()):
        _explain(table)
    for section, kind in _PLUGGED.items():
        alternatives = [_alternative(schema["$defs"][section], kind, name) for name in names(kind)]
        for alternative in alternatives:
            schema["$defs"].update(alternative.pop("$defs", {}))
        schema["$defs"][section] = {"oneOf": alternatives}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_by_kind(schema)}


def _by_kind(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with what only a study that trains must have asked of such a study alone."""
    only = [name for name in ("model", "evaluation") if name in schema["required"]]
    for alternative in schema["$defs"]["QuestionSection"]["oneOf"]:
        if alternative["properties"]["kind"]["const"] == NOTHING:
            alternative["required"] = [name for name in alternative["required"] if name != "kind"]
    statistics = {"properties": {"kind": {"const": "statistics"}}, "required": ["kind"]}
    required = [name for name in schema["required"] if name not in only]
    return {**schema, "required": required, "if": statistics, "else": {"required": only}}


def _alternative(section: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Return the section as it is with one plugin: its options stand beside the section's own keys."""
    own = {key: value for key, value in section["properties"].items() if key != "options"}
    own["kind"] = {**own["kind"], "const": name}
    try:
        options = TypeAdapter(options_of(find(kind, name))).json_schema()
    except MissingExtra:
        return {**section, "properties": own, "additionalProperties": True}
    _explain(options)
    required = [*section["required"], *options.get("required", [])]
    found = {"title": f"{kind} {name}", "properties": {**own, **options.get("properties", {})}, "required": required}
    return {**section, **found, "$defs": options.get("$defs", {})}


def _explain(table: dict[str, Any]) -> None:
    """Move the explanations in a docstring's list of attributes to the keys they are about."""
    text = table.get("description", "")
    about = {key: " ".join(words.split()) for key, words in _ATTRIBUTE.findall(text)}
    table["description"] = text.split("\n\n")[0]
    for key, value in table.get("properties", {}).items():
        value.pop("title", None)
        if key in about:
            value["description"] = about[key]
        if value.get("default", "") is None:
            del value["default"]  # TOML has no null: a key is left out
