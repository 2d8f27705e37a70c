"""Every template can be run as it stands."""

from __future__ import annotations

import pytest

from wardround.study.errors import ProtocolError
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.templates import template, template_names


@pytest.mark.parametrize("name", template_names())
def test_a_template_passes_its_own_check(name: str) -> None:
    protocol = read_protocol(template(name), f"{name}.toml")
    assert protocol.question.kind == name
    assert {phase.kind for phase in protocol.phases} == {"moments", "fedavg", "local", "evaluate"}


def test_there_is_one_for_each_question() -> None:
    assert template_names() == ("binary", "multiclass")


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ProtocolError, match="'survival'") as caught:
        template("survival")
    assert "binary, multiclass" in caught.value.remedy
