"""An estimate says bytes as they then are, seconds and memory near what then happens, and no price that nobody gave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wardround import simulate
from wardround.calibration import _found, made_up, run
from wardround.estimate import Calibration, _grown, _laid_down, _more, _shortened, estimate
from wardround.rates import priced, read_rates
from wardround.simulation import load_study
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROWS = {"north": 180, "south": 140, "east": 90}


@pytest.fixture(scope="module")
def counted() -> Protocol:
    return load_study(EXAMPLES / "statistics" / "study.toml").protocol


def test_what_is_counted_in_a_calibration_is_what_a_simulation_records(counted: Protocol, tmp_path: Path) -> None:
    found = run(counted, ROWS, 0)
    history = simulate(counted, made_up(ROWS), tmp_path / "run").result["history"]
    assert [(row["phase"], row["bytes_up"], row["bytes_down"]) for row in found["rounds"]] == [
        (row["phase"], row["bytes_up"], row["bytes_down"]) for row in history
    ]
    for row in found["rounds"]:
        assert sum(row["up"].values()) > row["bytes_up"], "messages travel around the sums"
        assert set(row["up"]) == set(ROWS) and set(row["stages"]) == {"keys", "shares", "answer", "agree", "open"}
        assert 0 < sum(sum(sites.values()) for sites in row["stages"].values()) < row["seconds"] * 1.5


@pytest.mark.slow
def test_bytes_are_exact_and_the_rest_is_near(counted: Protocol, tmp_path: Path) -> None:
    found = estimate(counted, ROWS, mbit=10)
    result = simulate(counted, [EXAMPLES / "statistics" / f"{name}.toml" for name in ROWS], tmp_path / "run").result
    said, history = found["simulation"], result["history"]
    assert said["bytes_up"] == sum(row["bytes_up"] for row in history)
    assert said["bytes_down"] == sum(row["bytes_down"] for row in history)
    assert 0.2 < said["rounds_seconds"] / result["seconds"]["rounds"] < 5
    hospitals = found["hospitals"]
    assert hospitals["all"]["bytes_up"] > said["bytes_up"] and hospitals["line_counted"]
    assert hospitals["site"]["memory"] > hospitals["coordinator"]["memory"] > 30e6
    assert found["privacy"] == {"epsilon": None, "delta": None, "note": "no DP"}
    assert found["money"] == "not known"
    assert found["rounds"] == len(history) and found["at_most"]


def test_more_sites_than_the_plan_allows_are_refused(counted: Protocol) -> None:
    with pytest.raises(ProtocolError, match="The plan is for 3 to 3 sites, and not for 4"):
        estimate(counted, dict.fromkeys("abcd", 10))
    with pytest.raises(ProtocolError, match=r"more than bounds\.examples = 1000 rows"):
        estimate(counted, dict.fromkeys("abc", 2000))


def tried(few: int, some: int) -> Calibration:
    one: dict[str, Any] = {"rounds": [], "most": few}
    return Calibration(one, one, {**one, "most": some}, one, 0, 0, 0, {}, 1.0)


def test_what_grows_with_training_is_drawn_out_along_a_line_and_what_does_not_stays() -> None:
    plan = load_study(EXAMPLES / "three-hospitals" / "study.toml").protocol  # twelve rounds
    assert _grown(2.0, 4.0, tried(1, 3), plan) == pytest.approx(4.0 + 1.0 * 9)
    assert _grown(2.0, 2.2, tried(1, 3), plan) == 2.2
    assert _grown(2.0, 9.0, tried(1, 12), plan) == 9.0


def test_rounds_beyond_those_tried() -> None:
    plan = load_study(EXAMPLES / "three-hospitals" / "study.toml").protocol
    assert _more(plan, "train", 4, 3) == 9, "three rounds and the one that only validates were tried, of twelve and one"
    assert _more(plan, "train", 2, 3) == 10, "a phase that ended early on made-up rows may not on others"
    assert _more(plan, "moments", 1, 3) == 0
    assert _more(plan, "train", 0, 3) == 0


def test_a_failure_of_the_process_apart_is_an_error_with_its_remedy() -> None:
    asked = {"part": "study", "plans": {}, "rows": {}, "runs": [], "protocol": {}}
    done = subprocess.run(
        [sys.executable, "-m", "wardround.calibration"], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["runs"] == []


def test_the_model_of_an_evaluation_is_laid_down_for_the_process_apart(tmp_path: Path) -> None:
    plan = load_study(EXAMPLES / "evaluation" / "study.toml").protocol
    short = _shortened(plan, 1).model_dump(mode="json")
    asked = {"part": "study", "plans": {"1": short}, "rows": dict.fromkeys(ROWS, 60), "runs": [[1, 0]]}
    with pytest.raises(ProtocolError, match="the model's file was not read"):
        _found(asked)
    (one,) = _found({**asked, "model": _laid_down(plan, tmp_path)})["runs"]
    assert not one["refused"] and [row["phase"] for row in one["rounds"]] == ["test"] and one["rounds"][0]["bytes_up"] > 0


def test_a_price_follows_from_the_sheet_and_names_what_is_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "rates.toml").write_text(
        'currency = "EUR"\nsite_once = 100\nsite_hour = 2\ncoordinator_hour = 1\ngigabyte_to_sites = 0.5\n'
    )
    rates = read_rates(tmp_path / "rates.toml")
    found = priced(rates, 4, 10.0, 8e9, 4e9)
    assert (found["site"], found["coordinator"], found["all"]) == (120.0, 14.0, 494.0)
    assert found["not_priced"] == ["gigabyte_to_coordinator"]
    assert priced(rates.model_copy(update={"gigabyte_to_coordinator": 1.0}), 4, 10.0, 8e9, 4e9)["site"] == 121.0


WRONG = {
    "site_hour = 1": "currency: is missing",
    'currency = "EUR"\nsite_hours = 1': "there is no such key",
    'currency = "EUR"\nsite_hour = -1': "site_hour",
    'currency = "EUR"\nsite_hour = nan': "site_hour",
    "currency = ": "is not TOML",
}


@pytest.mark.parametrize("text", sorted(WRONG))
def test_a_wrong_sheet_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "rates.toml").write_text(text)
    with pytest.raises(ProtocolError, match=WRONG[text]):
        read_rates(tmp_path / "rates.toml")
    with pytest.raises(ProtocolError, match="cannot be read"):
        read_rates(tmp_path / "none.toml")
