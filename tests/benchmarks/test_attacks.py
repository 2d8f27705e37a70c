from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.parts.attacks import ATTACKS, NOBODY, Attack, Attacked, Liar, with_other_labels
from tests.support import Small, protocol, rows, small
from wardround.study.layout import Term
from wardround.study.protocol import Protocol
from wardround.study.task import Done

BAD = frozenset({"site0", "site4"})
DATA = {f"site{number}": rows(number, 120) for number in range(6)}
PHASES: list[dict[str, Any]] = [
    {"name": "moments", "kind": "moments"},
    {"name": "train", "kind": "fedavg", "rounds": 3, "local_epochs": 3, "learning_rate": 0.3, "batch_size": 8},
]
FLIP = next(one for one in ATTACKS if str(one) == "sign flip x 4")


def agreed(rule: str) -> Protocol:
    by_rule = {"hostile": 2} if rule != "plain" else {}
    rounds = {"quorum": 5 if rule != "plain" else 4, "due_seconds": 60, "combine": rule, "attempts": 1, **by_rule}
    return protocol(phases=PHASES, rounds=rounds, evaluation={"compare": [], "replicates": 0})


def made(folder: Path, rule: str, attack: Attack) -> Small:
    folder.mkdir()
    return small(folder, agreed(rule), DATA, kind=type("Hostile", (Attacked,), {"attack": attack, "hostile": BAD}))


def best(done: Done) -> float:
    return float(np.nanmax(done.results["scores"][1:]))


def test_a_flip_spoils_the_plain_mean_and_not_the_rule(tmp_path: Path) -> None:
    honest = best(made(tmp_path / "a", "plain", NOBODY).run()["train"])
    spoilt = best(made(tmp_path / "b", "plain", FLIP).run()["train"])
    saved = best(made(tmp_path / "c", "trimmed_mean", FLIP).run()["train"])
    assert honest > 0.7 and spoilt < honest - 0.2 and saved > honest - 0.05


def test_without_an_attack_nothing_is_changed(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    assert made(tmp_path / "a", "plain", NOBODY).run()["train"].digest == small(tmp_path / "b", agreed("plain"), DATA).run()["train"].digest


def test_nan_past_the_gate_is_refused_at_admission_with_a_name(tmp_path: Path) -> None:
    study = made(tmp_path / "a", "plain", Attack("NaN", broken=True))
    study.run()
    refused = {(one.site, one.where, one.reason) for one in study.refused}
    assert {(site, where) for site, where, _ in refused} == {(site, "admit") for site in BAD}


@pytest.mark.parametrize("rule", ["plain", "median"])
def test_lies_about_validation_choose_the_round_only_where_sums_add_up(tmp_path: Path, rule: str) -> None:
    told = made(tmp_path / "a", rule, Attack("lies", most=True, lies=True)).run()["train"]
    true = made(tmp_path / "b", rule, NOBODY).run()["train"]
    off = np.nanmax(np.abs(told.results["scores"] - true.results["scores"]))
    assert off > 0.3 if rule == "plain" else off < 0.15


def test_the_liar_says_the_opposite() -> None:
    layout = (Term.count("validation/histogram", (2, 256), 50, 6),)
    good, poor = np.zeros((2, 256)), np.zeros((2, 256))
    good[0, 10], good[1, 200] = 5, 5
    poor[0, 200], poor[1, 10] = 5, 5
    liar = Liar()
    first = liar.told([good, good], layout)["validation/histogram"]
    assert first[0, -1] == 50 and first[1, 0] == 50
    later = liar.told([good, poor], layout)["validation/histogram"]
    assert later[0, 0] == 50 and later[1, -1] == 50


def test_labels_are_turned_round_and_nothing_else() -> None:
    turned = with_other_labels(DATA["site1"], "ill")
    assert np.array_equal(turned.columns["ill"], 1 - DATA["site1"].columns["ill"])
    assert np.array_equal(turned.columns["b"], DATA["site1"].columns["b"]) and turned.cache == {}


def test_each_attack_has_a_name_of_its_own() -> None:
    assert len({str(one) for one in ATTACKS}) == len(ATTACKS)
