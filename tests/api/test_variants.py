"""Variants of a study: what is named changes, nothing else, and what does not exist is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import PHASES, plan
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.variants import merged, tables_of, variant, without_comparators

STUDY = Protocol.model_validate(plan(evaluation={"metrics": ["auroc"], "tune": {"learning_rate": [0.1, 0.01]}}))


def named(protocol: Protocol, phase: str) -> dict[str, Any]:
    return dict(next(one for one in protocol.phases if one.name == phase).options)


def test_tables_give_the_same_protocol_again() -> None:
    for protocol in (STUDY, STUDY.complete()):
        assert variant(tables_of(protocol), {}, "same").digest == STUDY.complete().digest


def test_defaults_of_one_kind_are_not_handed_to_another() -> None:
    phases = tables_of(STUDY.complete())["phases"]
    assert phases[1] == {"name": "train", "kind": "fedavg", "rounds": 3, "learning_rate": 0.1, "batch_size": 16}


def test_what_is_named_changes_and_nothing_else() -> None:
    before = STUDY.complete()
    found = variant(tables_of(before), {"phases": {"train": {"rounds": 7}}, "evaluation": {"tune": {"learning_rate": [1.0]}}}, "more")
    assert named(found, "train") == {**named(before, "train"), "rounds": 7}
    assert found.evaluation.tune == {"learning_rate": (1.0,)}
    same = {"phases": found.phases, "evaluation": found.evaluation}
    assert before.changed(**same).digest == found.digest


def coded(codec: dict[str, Any]) -> Protocol:
    return Protocol.model_validate(plan(codec=codec, phases=[PHASES[0], {**PHASES[1], "rounds": 5}, *PHASES[2:]]))


def test_another_codec_does_not_inherit_options() -> None:
    study = coded({"kind": "quantised", "bits": 8})
    for protocol in (study, study.complete()):
        tables = tables_of(protocol)
        assert tables["codec"] == {"kind": "quantised", "bits": 8}
        for kind in ("topk", "float16"):
            assert variant(tables, {"codec": {"kind": kind}}, "other").codec == coded({"kind": kind}).complete().codec
        same = variant(tables, {"codec": {"kind": "quantised"}}, "same")
        assert same.codec is not None and same.codec.options["bits"] == 8
        assert variant(tables, {"codec": None}, "none").codec is None


def test_phases_come_and_go_by_name() -> None:
    tables = tables_of(STUDY)
    found = merged(tables, {"phases": {"local": None, "again": {"kind": "fedavg", "after": "moments", "rounds": 1}}})
    assert [phase["name"] for phase in found["phases"]] == ["moments", "again", "train", "test"]
    assert found["phases"][1] == {"name": "again", "kind": "fedavg", "rounds": 1}
    assert merged(tables, {"phases": PHASES[:1]})["phases"] == PHASES[:1]
    assert [phase["name"] for phase in tables["phases"]] == [phase["name"] for phase in PHASES]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"phases": {"trian": {"rounds": 2}}}, "Did you mean 'train'"),
    ({"phases": {"trian": None}}, "no such phase"),
    ({"phases": {"more": {"kind": "fedavg", "after": "nothing"}}}, "phases.more.after"),
    ({"phases": {"train": {"round": 2}}}, "phases.train.round: there is no such option"),
    ({"phases": {"train": {"kind": "fedavgg"}}}, "no algorithm named"),
    ({"evaluation": {"tune": {"momentum": None}}}, "evaluation.tune.momentum: there is nothing to take out"),
    ({"round": {"quorum": 1}}, "Did you mean 'rounds'"),
    ({"rounds": {"quorom": 1}}, "rounds.quorom"),
    ({"evaluation": {"metrics": ["beauty"]}}, "beauty"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_does_not_exist_is_refused_under_the_methods_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words) as told:
        variant(tables_of(STUDY), changes, "method X")
    assert "method X" in str(told.value)


def test_comparators_are_left_out_unless_a_method_names_them() -> None:
    tables = tables_of(STUDY)
    lean = variant(tables, without_comparators(tables, {}), "lean")
    assert lean.evaluation.compare == () and "local" not in [phase.name for phase in lean.phases]
    own = {"phases": {"local": {}}, "evaluation": {"compare": ["pooled"]}}
    kept = variant(tables, without_comparators(tables, own), "kept")
    assert kept.evaluation.compare == ("pooled",) and "local" in [phase.name for phase in kept.phases]
