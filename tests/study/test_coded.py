"""Trainings whose sums travel through a codec: whole small studies, with the true gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import PHASES, Small, plan, protocol, rows, small
from wardround.learning.network import initial_parameters
from wardround.study.arrays import under
from wardround.study.coded import Coded
from wardround.study.errors import ProtocolError, QuorumNotMet
from wardround.study.findings import FileRefused
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.schema import study_schema
from wardround.study.protocol.summary import as_text, summary
from wardround.study.streams import Stream
from wardround.study.task import Done, State

QUANTISED, TOPK = {"kind": "quantised"}, {"kind": "topk", "block": 8, "share": 0.5}
TRAINING = [PHASES[0], {**PHASES[1], "rounds": 8}]


def run(folder: Path, codec: dict[str, Any] | None, **changes: Any) -> Small:
    study = small(folder, protocol(codec=codec, phases=TRAINING, **changes))
    study.run()
    assert not study.refused
    return study


def scores(study: Small) -> np.ndarray:
    done = study.store.done("train")
    assert done is not None
    return np.asarray(done.results["scores"])


def first(study: Small, number: int) -> State:
    """Return the first state of the training, as if it were that of a later round."""
    moments = study.store.done("moments")
    assert moments is not None
    earlier = {"initial": Done("initial", 0, initial_parameters(study.protocol)), "moments": moments}
    state = study.protocol.by_phase["train"].begin(study.protocol, earlier, Stream.public(1))
    assert isinstance(state, State)
    return State("train", number, state.arrays)


def up(study: Small) -> int:
    return sum(row["bytes_up"] for row in study.store.history() if row["phase"] == "train")


WIDE = {"model": {"kind": "mlp", "hidden": [40]}}
CODECS = [QUANTISED, {"kind": "quantised", "bits": 8}, TOPK, {"kind": "float16"}, {"kind": "bfloat16"}]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return run(tmp_path_factory.mktemp("plain"), None, **WIDE)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_coded_training_learns_as_the_plain_one_does_with_fewer_bytes(tmp_path: Path, plain: Small, codec: dict[str, Any]) -> None:
    coded = run(tmp_path, codec, **WIDE)
    assert np.nanmax(scores(coded)) > np.nanmax(scores(plain)) - 0.04 > 0.8
    assert up(coded) < 0.6 * up(plain)


def test_sums_in_secret_are_coded_too(tmp_path: Path) -> None:
    study = run(tmp_path, QUANTISED, rounds={"combine": "secure", "quorum": 3})
    values = next(term for term in study.protocol.by_phase["train"].ask(first(study, 1)).layout if term.name == "coded/values")
    assert (values.bits, values.wire) == (8, "") and np.nanmax(scores(study)) > 0.7


def test_the_same_coded_study_gives_the_same_bits(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        done = run(tmp_path / name, TOPK).store.done("train")
        assert done is not None
        found.append(done.digest)
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_worker_process_gives_the_same_bits(tmp_path: Path) -> None:
    found = []
    for workers in (0, 1):
        (tmp_path / str(workers)).mkdir()
        study = small(tmp_path / str(workers), protocol(codec=QUANTISED, phases=TRAINING), workers=workers)
        try:
            found.append(study.run()["train"].digest)
        finally:
            study.engine.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_sites_that_follow_the_totals_come_to_the_same(tmp_path: Path, combine: str) -> None:
    rounds = {"combine": combine, "quorum": 3, **({"down": "totals"} if combine == "plain" else {})}
    agreed = protocol(codec=TOPK, phases=TRAINING, rounds=rounds)
    study = small(tmp_path, agreed, following=True)
    study.run()
    assert not study.refused and np.nanmax(scores(study)) > 0.6


def test_the_gate_finds_each_round_planned(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(codec=TOPK, phases=TRAINING))
    algorithm = study.protocol.by_phase["train"]
    assert isinstance(algorithm, Coded)
    study.run()
    for number in (0, 1, 5, 8):
        asked = algorithm.ask(first(study, number))
        planned = algorithm.planned(asked, number)
        assert planned.layout_digest == asked.layout_digest and planned.options == asked.options
        assert ("coded/values" in {term.name for term in asked.layout}) == (0 < number < 8)


def test_a_site_keeps_its_rest_and_takes_it_over_when_the_round_has_closed(tmp_path: Path) -> None:
    study = run(tmp_path, QUANTISED)
    for place in study.places.values():
        rest = under(place.site.state.mine()["train"], "codec")
        assert rest and all(name.startswith("update/") and np.isfinite(value).all() for name, value in rest.items())
        assert any(value.any() for value in rest.values())


def test_settings_are_tried_and_the_choice_is_trained_again_through_the_codec(tmp_path: Path) -> None:
    study = run(tmp_path, QUANTISED, evaluation={"tune": {"learning_rate": [0.05, 0.1]}, "refit": True})
    assert all(isinstance(study.protocol.by_phase[name], Coded) for name in ("train.0", "train.1", "train"))
    done = study.store.done("train")
    assert done is not None and done.stopped == "rounds"


@pytest.mark.parametrize("kind", ["scaffold", "fednova", "qffl"])
def test_what_a_method_sends_beside_its_update_of_each_parameter_is_coded_and_single_numbers_are_not(tmp_path: Path, kind: str) -> None:
    study = small(tmp_path, protocol(codec=QUANTISED, phases=[PHASES[0], {**PHASES[1], "kind": kind, "rounds": 8}]))
    study.run()
    algorithm = study.protocol.by_phase["train"]
    assert isinstance(algorithm, Coded) and not study.refused
    travel = {term.name for term in algorithm.ask(first(study, 1)).layout}
    assert "coded/values" in travel and not any(name.startswith(("update/", "variate/")) for name in travel)
    assert np.nanmax(scores(study)) > 0.55


def test_an_interrupted_coded_study_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = run(tmp_path / "whole", QUANTISED).store.done("train")
    (tmp_path / "cut").mkdir()

    class Cut(Exception):
        pass

    study = small(tmp_path / "cut", protocol(codec=QUANTISED, phases=TRAINING))
    closed = study.book.closed

    def cutting(state: State, *args: Any) -> Any:
        if state.phase == "train" and state.round == 4:
            raise Cut
        return closed(state, *args)

    study.book.closed = cutting  # type: ignore[assignment]
    with pytest.raises(Cut):
        study.run()
    study.store.close()
    again = small(tmp_path / "cut", study.protocol)
    again.run()
    found = again.store.done("train")
    assert whole is not None and found is not None and found.digest == whole.digest


def test_what_is_beyond_the_limit_is_refused_as_without_a_codec(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(codec=QUANTISED, phases=TRAINING, bounds={"update": 1e-6}), {f"s{n}": rows(n) for n in range(3)})
    with pytest.raises(QuorumNotMet, match="of 2 sites"):
        study.run()
    assert any("beyond its limit" in one.reason for one in study.refused)


def refused(**changes: Any) -> str:
    with pytest.raises(ProtocolError) as error:
        Protocol.model_validate(plan(**changes)).complete()
    return str(error.value)


def test_floats_are_refused_under_masks_with_those_that_add() -> None:
    said = refused(codec={"kind": "float16"}, rounds={"combine": "secure", "quorum": 3})
    assert "do not add up under the masks" in said and '"quantised" or "topk"' in said


@pytest.mark.parametrize("combine", ["trimmed_mean", "bucketed"])
def test_a_rule_is_refused_where_it_could_not_read_an_update(combine: str) -> None:
    hostile = {} if combine == "bucketed" else {"hostile": 1}
    said = refused(codec=TOPK, rounds={"combine": combine, "quorum": 3, **hostile}, bounds={"sites": 15, "examples": 500})
    assert "codec.kind" in said and '"float16"' in said


def test_a_codec_without_a_training_is_refused() -> None:
    assert "no phase of this study trains" in refused(codec=QUANTISED, phases=PHASES[:1])


@pytest.mark.parametrize(("codec", "rounds"), [(QUANTISED, 1), (TOPK, 2)])
def test_a_training_that_would_end_before_anything_travelled_is_refused(codec: dict[str, Any], rounds: int) -> None:
    training = [PHASES[0], {**PHASES[1], "rounds": rounds}]
    assert f"Write rounds = {rounds + 1} or more" in refused(codec=codec, phases=training)
    assert protocol(codec=codec, phases=[PHASES[0], {**PHASES[1], "rounds": rounds + 1}]).algorithms


def test_the_summary_says_how_numbers_travel() -> None:
    assert "rounded at random to 4 bits" in " ".join(as_text(summary(protocol(codec=QUANTISED))).split())
    assert "4 bits" not in as_text(summary(protocol()))


def test_a_plan_without_a_codec_says_nothing_of_one() -> None:
    assert "codec" not in protocol().model_dump(mode="json")
    assert protocol(codec=QUANTISED).model_dump(mode="json")["codec"] == {"kind": "quantised", "options": {"bits": 4}}


STUDY = """
study = "small"
[question]
kind = "binary"
title = "Small"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract]
label = "ill"
[contract.fields.a]
type = "number"
unit = "1"
range = [-5, 5]
[contract.fields.ill]
type = "code"
codes = ["0", "1"]
[model]
kind = "logistic"
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
[bounds]
sites = 4
examples = 500
[rounds]
quorum = 2
[evaluation]
metrics = ["auroc"]
[codec]
kind = "quantised"
bits = 5
"""


def test_a_wrong_option_is_named_with_its_line() -> None:
    with pytest.raises(FileRefused) as error:
        read_protocol(STUDY, "study.toml")
    assert [(one.key, one.line) for one in error.value.findings] == [("codec.bits", STUDY.splitlines().index("bits = 5") + 1)]
    assert read_protocol(STUDY.replace("bits = 5", "bits = 8"), "study.toml").codec_plugin is not None


def test_the_schema_offers_each_codec_with_its_options() -> None:
    offered = {one["properties"]["kind"]["const"]: one["properties"] for one in study_schema()["$defs"]["CodecSection"]["oneOf"]}
    assert {"bfloat16", "float16", "quantised", "topk"} <= set(offered) and "share" in offered["topk"]


@pytest.mark.parametrize(("codec", "lead"), [(QUANTISED, 1), (TOPK, 2)], ids=["quantised", "topk"])
def test_patience_outlasts_the_rounds_that_change_nothing(tmp_path: Path, codec: dict[str, Any], lead: int) -> None:
    with pytest.raises(FileRefused, match=f"stop.patience: the first {lead} rounds"):
        protocol(codec=codec, phases=TRAINING, stop={"patience": lead})
    assert len(scores(run(tmp_path, codec, stop={"patience": lead + 1}))) > lead + 1
