"""The JSON Schema for editors knows every table, key and option, and explains them."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from wardround.study.plugins import names
from wardround.study.protocol.schema import study_schema
from wardround.study.protocol.templates import template, template_names


def table(schema: dict[str, Any], reference: dict[str, Any], kind: str | None) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][reference["$ref"].rpartition("/")[2]]
    if "oneOf" not in found:
        return found
    (chosen,) = [one for one in found["oneOf"] if one["properties"]["kind"]["const"] == kind]
    return dict(chosen)


@pytest.mark.parametrize("name", template_names())
def test_every_key_of_a_template_is_known(name: str) -> None:
    schema, study = study_schema(), tomllib.loads(template(name))
    for key, value in study.items():
        assert key in schema["properties"]
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                reference = schema["properties"][key]
                nothing = "nothing" if (study.get("kind"), key) == ("statistics", "question") else None
                found = table(schema, reference.get("items", reference), one.get("kind", nothing))
                assert set(one) <= set(found["properties"])
                assert set(found.get("required", ())) <= set(one)
                assert found["additionalProperties"] is False


def test_there_is_one_alternative_for_each_plugin_with_its_options_explained() -> None:
    schema = study_schema()
    kinds = {one["properties"]["kind"]["const"] for one in schema["$defs"]["Phase"]["oneOf"]}
    assert kinds == set(names("algorithm"))
    fedavg = table(schema, {"$ref": "#/$defs/Phase"}, "fedavg")
    assert fedavg["properties"]["learning_rate"]["description"]
    assert "options" not in fedavg["properties"]
    assert schema["$defs"]["Evaluation"]["properties"]["margin"]["description"].startswith("largest loss")


def test_what_only_the_program_writes_is_not_offered() -> None:
    assert not {"initial", "unregistered"} & set(study_schema()["properties"])


def test_a_study_of_statistics_needs_no_model_and_no_kind_of_question() -> None:
    schema = study_schema()
    assert not {"model", "evaluation"} & set(schema["required"]) and {"contract", "phases"} <= set(schema["required"])
    assert schema["if"]["properties"]["kind"]["const"] == "statistics" and schema["else"] == {"required": ["model", "evaluation"]}
    asked = table(schema, {"$ref": "#/$defs/QuestionSection"}, "nothing")
    assert set(asked["required"]) == {"title", "purpose"}
    survival = table(schema, {"$ref": "#/$defs/Phase"}, "survival")
    assert survival["properties"]["until"]["description"].startswith("end of the grid")
