"""Every template can be run as it stands."""

from __future__ import annotations

import pytest

from wardround.study.errors import ProtocolError
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.templates import left_to_fill_in, template, template_names
from wardround.study.threshold import LEAST


@pytest.mark.parametrize("name", template_names())
def test_a_template_passes_its_own_check(name: str) -> None:
    protocol = read_protocol(template(name), f"{name}.toml")
    kind = protocol.question.kind if protocol.trains else protocol.kind
    assert (name, protocol.contract.image is not None) in ((kind, False), ("image", True))
    kinds = {"moments", "fedavg", "local", "evaluate"}
    kinds = kinds if protocol.trains else {"describe", "histogram", "quantiles", "crosstab", "correlation", "survival"}
    assert {phase.kind for phase in protocol.phases} == kinds


def test_there_is_one_for_each_question() -> None:
    assert template_names() == ("binary", "image", "multiclass", "multilabel", "ordinal", "regression", "statistics")


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ProtocolError, match="'survival'") as caught:
        template("survival")
    assert "binary, image, multiclass, multilabel, ordinal, regression, statistics" in caught.value.remedy


@pytest.mark.parametrize("name", template_names())
def test_what_still_says_what_the_template_says_is_left_to_fill_in(name: str) -> None:
    text = template(name)
    keys = ["study", "parties.coordinator", "parties.legal_basis", "parties.ethics", "parties.retention"]
    assert list(left_to_fill_in(read_protocol(text, "study.toml"))) == keys
    text = text.replace("my-study", "readmission").replace("Name of the coordinating centre", "Aachen").replace("to be stated:", "ours:")
    assert left_to_fill_in(read_protocol(text, "study.toml")) == {
        "parties.legal_basis": "to be stated, such as GDPR Art. 9(2)(j) with national law"
    }
    text = text.replace("to be stated, such as", "by").replace("ours: reference", "to be stated tomorrow: reference")
    assert list(left_to_fill_in(read_protocol(text, "study.toml"))) == ["parties.ethics"]


@pytest.mark.parametrize(("name", "score"), [("binary", "brier"), ("multiclass", "loss"), ("multilabel", "loss"), ("regression", "rmse")])
def test_a_proper_score_decides(name: str, score: str) -> None:
    assert read_protocol(template(name), "study.toml").primary == score


@pytest.mark.parametrize("name", template_names())
def test_a_template_hides_each_hospitals_sums(name: str) -> None:
    protocol = read_protocol(template(name), "study.toml")
    assert protocol.hides and protocol.rounds.quorum >= LEAST and not protocol.privacy.counts


@pytest.mark.parametrize(
    ("name", "line", "stop"), [("binary", 'private = ["intercept"]', "patience = 10"), ("image", 'private = ["norm"]', "")]
)
def test_the_method_for_hospitals_that_differ_can_be_switched_on(name: str, line: str, stop: str) -> None:
    text = template(name)
    assert text.count(f"\n# {line}\n") == 1
    text = text.replace(f"\n# {line}\n", f"\n{line}\n")
    text = text.replace(f"\n{stop} ", '\nkeep = "last" ') if stop else text
    protocol = read_protocol(text, "study.toml")
    assert protocol.model.private and protocol.stop.keep == "last"
