"""One site's own figures: the same as a simulation shows for it; and what of them may leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import protocol, rows, small
from wardround.learning.own import FEWEST, WITHHELD, as_left, as_received, blinded, own_figures, side_by_side
from wardround.outcome import _judged, copy_for, federated_outcome
from wardround.record.entries import band
from wardround.study.arrays import Arrays, under
from wardround.study.canonical import digest
from wardround.study.errors import VerificationError
from wardround.study.protocol import Protocol

SIZES = {"site0": 60, "site1": 160, "site2": 240, "site3": 300}
Ran = tuple[Protocol, dict[str, Arrays], dict[str, Any]]


def run(folder: Path, agreed: Protocol, following: bool = False) -> Ran:
    """Run the small study; return its plan, what each site kept of the evaluation, and the result as a coordinator releases it."""
    data = {name: rows(number, count) for number, (name, count) in enumerate(SIZES.items())}
    made = small(folder, agreed, data, following=following)
    done = made.run()
    kept = {name: place.site.state.mine()["test"] for name, place in made.places.items()}
    brought = {name: {"patients": band(count), "source": "table"} for name, count in SIZES.items()}
    told = {name: {**as_left(agreed, one), "tested": "10-49"} for name, one in kept.items()} if agreed.tells else {}
    return agreed, kept, federated_outcome(agreed, brought, done, made.store.history(), [], {}, told)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("ran"), protocol())


def test_a_sites_own_figures_are_those_that_a_simulation_shows_for_it(ran: Ran) -> None:
    agreed, kept, _ = ran
    sums = {model: {name: under(one, model) for name, one in kept.items()} for model in ("federated", "local")}
    open_to_all = _judged(agreed, kept, sums)
    for name, one in kept.items():
        own = own_figures(agreed, one)
        for model in ("federated", "local"):
            assert own["metrics"][model] == open_to_all["metrics"][model]["sites"][name]
        assert own["paired"]["local"] == open_to_all["paired"]["local"]["sites"][name]
        assert own["metrics"]["federated"]["auroc"]["low"] is not None
        assert own["tested"] == SIZES[name] // 5
    told = {name: own_figures(agreed, one) for name, one in kept.items()}
    joined = side_by_side(agreed, told)
    assert joined["verdicts"] == open_to_all["verdicts"] and joined["verdict_notes"] == open_to_all["verdict_notes"]
    assert set(joined["verdicts"].values()) > {"cannot_say"}
    assert joined["verdict_notes"]["site0"].startswith("too few test patients"), "12 are under 30"


@pytest.mark.parametrize("combine", ["secure", "one_message"])
def test_they_are_the_same_whatever_hides_the_sums(combine: str, ran: Ran, tmp_path: Path) -> None:
    rounds: dict[str, Any] = {"quorum": 3, "combine": combine}
    if combine == "one_message":
        rounds["helpers"] = ["site0", "site1", "site2"]
    _, kept, _ = run(tmp_path, protocol(rounds=rounds), following=True)
    for name, one in kept.items():
        assert own_figures(ran[0], one) == own_figures(ran[0], ran[1][name])


def test_a_copy_holds_the_totals_and_its_readers_figures_alone(ran: Ran) -> None:
    agreed, kept, result = ran
    released = json.dumps(result).encode()
    copy = copy_for(agreed, released, "site2", 240, kept["site2"])
    own = own_figures(agreed, kept["site2"])
    for model in ("federated", "local"):
        assert copy["metrics"][model] == {"all": result["metrics"][model]["all"], "sites": {"site2": own["metrics"][model]}}
    assert set(copy["verdicts"]) == {"site2"} == set(copy["paired"]["local"]["sites"])
    assert copy["verdicts"]["site2"] in ("gains", "no_worse", "loses", "cannot_say") and "Holm" not in copy["verdict_notes"]["site2"]
    assert copy["sites"]["site2"] == {"patients": 240, "source": "table", "test": 48}
    assert copy["sites"]["site1"] == result["sites"]["site1"]
    assert (copy["reader"], copy["released"]) == ("site2", digest(released))
    again = json.dumps(copy).encode()
    assert copy_for(agreed, again, "site2", 240, kept["site2"]) == copy, "a second time changes nothing"


def test_a_coordinator_cannot_put_figures_of_single_sites_into_a_copy(ran: Ran) -> None:
    agreed, kept, result = ran
    lie = {"auroc": {"value": 1.0, "low": 1.0, "high": 1.0}}
    forged = json.loads(json.dumps(result))
    forged["metrics"]["federated"]["sites"] = {"site1": lie, "site2": lie}
    forged["verdicts"] = {"site1": "loses", "site2": "gains"}
    copy = copy_for(agreed, json.dumps(forged).encode(), "site2", 240, kept["site2"])
    honest = copy_for(agreed, json.dumps(result).encode(), "site2", 240, kept["site2"])
    assert {**copy, "released": ""} == {**honest, "released": ""}


def test_a_site_without_a_model_of_its_own_cannot_say(ran: Ran) -> None:
    agreed, kept, _ = ran
    alone = {name: value for name, value in kept["site3"].items() if name.startswith("federated/")}
    told = {"site2": own_figures(agreed, kept["site2"]), "site3": own_figures(agreed, alone)}
    found = side_by_side(agreed, told)
    assert (found["verdicts"]["site3"], found["verdict_notes"]["site3"]) == ("cannot_say", "no model of its own to compare with")
    assert set(found["metrics"]["local"]) == {"site2"}
    assert side_by_side(agreed, {"site3": told["site3"]})["verdicts"] == {}, "in a study without own models nobody is judged"


def test_nothing_leaves_on_fewer_than_ten_test_patients_of_a_class(ran: Ran) -> None:
    agreed, kept, _ = ran
    assert as_left(agreed, kept["site0"]) == WITHHELD, "of 12 one class has fewer than ten"
    few = dict(kept["site3"])
    few["federated/patients"] = np.array([60, 51, FEWEST - 1])
    assert as_left(agreed, few) == WITHHELD
    few["federated/patients"] = np.array([60, 50, FEWEST])
    assert as_left(agreed, few) != WITHHELD
    found = side_by_side(agreed, {"site0": dict(WITHHELD), "site3": as_left(agreed, kept["site3"])})
    assert found["verdicts"]["site0"] == "cannot_say" and "did not leave" in found["verdict_notes"]["site0"]
    assert set(found["metrics"]["federated"]) == {"site3"}


def test_what_a_site_sends_is_read_as_it_was_sent(ran: Ran) -> None:
    agreed, kept, _ = ran
    for one in kept.values():
        told = json.loads(json.dumps({**as_left(agreed, one)} | ({} if as_left(agreed, one) == WITHHELD else {"tested": "10-49"})))
        assert as_received(told) == told


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        *way, last, value = path
        for name in way:
            told = told[name]
        told[last] = value

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        _set("tested", 48),
        _set("tested", "<b>10-49</b>"),
        _set("patients", [1, 2, 3]),
        _set("metrics", []),
        _set("metrics", "pooled", {}),
        _set("metrics", "federated", "<script>", {"value": 1.0, "low": None, "high": None}),
        _set("metrics", "federated", {f"m{number}": {"value": 1.0, "low": None, "high": None} for number in range(51)}),
        _set("metrics", "federated", "auroc", "value", "0.9"),
        _set("metrics", "federated", "auroc", "value", True),
        _set("metrics", "federated", "auroc", "low", float("nan")),
        _set("metrics", "federated", "auroc", "more", 1.0),
        _set("paired", "federated", {}),
        _set("difference", {"enough": True}),
        _set("difference", "value", None),
        _set("difference", "high", float("inf")),
        _set("difference", "deviation", -1.0),
        _set("difference", "enough", 1),
    ],
)
def test_what_is_not_well_formed_is_refused(spoil: Callable[[dict[str, Any]], None], ran: Ran) -> None:
    told = {**as_left(ran[0], ran[1]["site3"]), "tested": "50-99"}
    told = json.loads(json.dumps(told))
    assert as_received(told)["difference"]["enough"] is True
    spoil(told)
    with pytest.raises(VerificationError, match="not well formed"):
        as_received(told)


def test_an_open_study_shows_all_sites_and_a_blinded_one_none_by_name(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    _, kept, result = run(tmp_path / "open", protocol(evaluation={"site_results": "open"}))
    assert result["site_results"] == "open"
    assert set(result["metrics"]["federated"]["sites"]) == set(SIZES) - {"site0"} and set(result["verdicts"]) == set(SIZES)
    copy = copy_for(protocol(evaluation={"site_results": "open"}), json.dumps(result).encode(), "site0", 60, kept["site0"])
    assert set(copy["metrics"]["federated"]["sites"]) == set(SIZES) and copy["verdicts"] == result["verdicts"]
    (tmp_path / "blinded").mkdir()
    _, kept, result = run(tmp_path / "blinded", protocol(evaluation={"site_results": "blinded"}))
    assert result["site_results"] == "blinded" and result["verdicts"] == {}
    assert all(table["sites"] == {} for table in result["metrics"].values())
    told = [own_figures(protocol(), kept[name])["metrics"]["local"]["auroc"]["value"] for name in sorted(set(SIZES) - {"site0"})]
    cell = result["blinded"]["metrics"]["local"]["auroc"]
    assert cell == {"median": round(sorted(told)[1], 2), "low": round(min(told), 2), "high": round(max(told), 2), "sites": 3}


def test_of_two_sites_no_band_is_given(ran: Ran) -> None:
    agreed, kept, _ = ran
    told = {name: as_left(agreed, kept[name]) for name in ("site0", "site1", "site2")}
    assert told["site0"] == WITHHELD
    assert blinded(told) == {"metrics": {"federated": {}, "local": {}}, "paired": {"local": {}}}
