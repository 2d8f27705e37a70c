"""The Python entrance, as a researcher uses it: files in, results out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import wardround
from tests.engines.faulty import Diverging
from tests.support import PHASES, plan, rows
from wardround.pages.report import check_released
from wardround.record.verify import verify
from wardround.study.arrays import Arrays
from wardround.study.errors import ProtocolError, StoreError, VerificationError
from wardround.study.protocol import Protocol
from wardround.study.task import Done


def study(**changes: Any) -> Protocol:
    return Protocol.model_validate(plan(contract={"patient": "patient"}, **changes))


def hospital(folder: Path, number: int, count: int = 80) -> Path:
    """Write one made-up hospital's table and site file."""
    data = rows(number, count)
    folder.mkdir(exist_ok=True)
    with (folder / f"h{number}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "a", "b", "sex", "ill"])
        for row in range(count):
            a = data.columns["a"][row]
            values = ["" if np.isnan(a) else f"{a:.6f}", f"{data.columns['b'][row]:.6f}", "fm"[data.columns["sex"][row]]]
            writer.writerow([f"p{number}-{row}", *values, data.columns["ill"][row]])
    (folder / f"h{number}.toml").write_text(f'name = "h{number}"\n[source]\nkind = "table"\npath = "h{number}.csv"\n')
    return folder / f"h{number}.toml"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("hospitals")
    return [hospital(folder, number, 70 + 30 * number) for number in range(3)]


@pytest.fixture(scope="module")
def finished(sites: list[Path], tmp_path_factory: pytest.TempPathFactory) -> wardround.Result:
    return wardround.simulate(study(), sites, tmp_path_factory.mktemp("finished"))


STABLE = {"study", "protocol_digest", "sites", "rounds", "stopped", "metrics", "verdicts", "history", "privacy", "model", "model_digest"}


def test_the_result_has_its_stable_keys(finished: wardround.Result) -> None:
    result = json.loads((finished.folder / "result.json").read_text())
    assert result == finished.result
    assert result.keys() >= {*STABLE, "seconds"}
    assert set(result["metrics"]) == {"federated", "local", "pooled", "ensemble", "best_single"}
    for model in result["metrics"].values():
        assert set(model["sites"]) == {"h0", "h1", "h2"}
        for metrics in (model["all"], *model["sites"].values()):
            assert {"auroc", "accuracy", "sensitivity", "specificity", "brier", "auprc", "calibration_error"} <= metrics.keys()
            assert all(set(one) == {"value", "low", "high"} for one in metrics.values())
    assert set(result["verdicts"].values()) <= {"gains", "no_worse", "loses", "cannot_say"}
    assert result["privacy"] == {"unit": "patient", "epsilon": None, "delta": None, "secure_sum": False}
    assert all({"phase", "round", "bytes_up", "bytes_down", "seconds"} <= row.keys() for row in result["history"])


def test_the_model_file_is_what_the_digest_says(finished: wardround.Result) -> None:
    data = (finished.folder / "model.safetensors").read_bytes()
    assert finished.result["model_digest"] == "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_clean_run_passes_every_line_but_witnesses(finished: wardround.Result) -> None:
    lines = {line.name: line.verdict for line in verify(finished.folder).lines}
    assert {name for name, verdict in lines.items() if verdict != "PASS"} == {"witnesses"}
    assert lines["witnesses"] == "INCOMPLETE" and verify(finished.folder).exit_code == 2


def test_pairs_share_their_bootstrap_weights(finished: wardround.Result) -> None:
    """A difference of paired replicates is narrower than the two intervals by themselves would allow."""
    metrics, paired = finished.result["metrics"], finished.result["paired"]["pooled"]["all"]["auroc"]
    assert paired["value"] == pytest.approx(metrics["federated"]["all"]["auroc"]["value"] - metrics["pooled"]["all"]["auroc"]["value"])
    widths = [metrics[model]["all"]["auroc"]["high"] - metrics[model]["all"]["auroc"]["low"] for model in ("federated", "pooled")]
    assert paired["high"] - paired["low"] < 0.7 * np.hypot(*widths)


def test_the_same_command_on_a_finished_folder_runs_nothing(finished: wardround.Result, sites: list[Path]) -> None:
    before = (finished.folder / "result.json").stat().st_mtime_ns
    assert wardround.simulate(study(), sites, finished.folder).result == finished.result
    assert (finished.folder / "result.json").stat().st_mtime_ns == before


def test_an_edited_result_of_a_finished_folder_is_not_shown(sites: list[Path], tmp_path: Path) -> None:
    wardround.simulate(study(phases=PHASES[:1]), sites, tmp_path)
    result = tmp_path / "result.json"
    result.write_text(result.read_text().replace('"rounds": 0', '"rounds": 9'))
    with pytest.raises(StoreError, match="not the result that was released"):
        wardround.simulate(study(phases=PHASES[:1]), sites, tmp_path)


def test_a_report_is_not_written_over_an_edited_result(sites: list[Path], tmp_path: Path) -> None:
    wardround.simulate(study(phases=PHASES[:2]), sites, tmp_path)
    check_released(tmp_path)
    result = tmp_path / "result.json"
    result.write_text(result.read_text().replace("Small", "Great"))
    with pytest.raises(VerificationError, match="not the result that was released"):
        check_released(tmp_path)


def test_worker_processes_change_no_bit(finished: wardround.Result, sites: list[Path], tmp_path: Path) -> None:
    again = wardround.simulate(study(), sites, tmp_path, workers=2)
    assert again.result["model_digest"] == finished.result["model_digest"]
    assert again.result["metrics"] == finished.result["metrics"]


def test_a_result_shows_itself_in_a_notebook(finished: wardround.Result) -> None:
    html = finished._repr_html_()
    assert "federated" in html and "report.html" in html and "<script" not in html


class Median(wardround.Rule):
    """Take the median of the sites' updates, element by element."""

    def combine(self, updates: Mapping[str, Arrays], counts: Mapping[str, float]) -> Arrays:
        names = next(iter(updates.values()))
        return {name: np.median([update[name] for update in updates.values()], axis=0) for name in names}


def test_an_own_rule_runs_and_is_marked(sites: list[Path], tmp_path: Path) -> None:
    result = wardround.simulate(study(), sites, tmp_path, aggregator=Median())
    assert result.result["unregistered"] == ["aggregator"]
    assert "unregistered code" in (tmp_path / "report.html").read_text().lower()
    assert verify(tmp_path).exit_code == 2


def test_an_own_rule_sees_each_update_so_no_secure_sum_is_claimed(sites: list[Path], tmp_path: Path) -> None:
    secure = study(rounds={"quorum": 3, "combine": "secure"}, phases=PHASES[:2])
    result = wardround.simulate(secure, sites, tmp_path, aggregator=Median()).result
    assert result["privacy"]["secure_sum"] is False
    assert "Plain sums" in (tmp_path / "report.html").read_text()


def test_a_secure_study_gives_the_plain_studys_model_and_says_that_it_is_one(sites: list[Path], tmp_path: Path) -> None:
    plain = wardround.simulate(study(phases=PHASES[:2]), sites, tmp_path / "plain").result
    secure = wardround.simulate(study(rounds={"quorum": 3, "combine": "secure"}, phases=PHASES[:2]), sites, tmp_path / "secure").result
    assert secure["model_digest"] == plain["model_digest"]
    assert (plain["privacy"]["secure_sum"], secure["privacy"]["secure_sum"]) == (False, True)


def test_an_own_module_runs_and_is_marked(sites: list[Path], tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    result = wardround.simulate(study(), sites, tmp_path, model=wardround.from_module(net))
    assert result.result["unregistered"] == ["model"]
    assert verify(tmp_path).exit_code == 2


def test_an_own_object_changed_in_the_same_folder_is_refused(sites: list[Path], tmp_path: Path) -> None:
    class Scaled(Median):
        def __init__(self, scale: float) -> None:
            self.scale = scale

    alone = study(phases=PHASES[:2])
    wardround.simulate(alone, sites, tmp_path, aggregator=Scaled(1.0))
    for other in (Scaled(-1.0), Median(), None):
        with pytest.raises(StoreError, match="another one than this folder"):
            wardround.simulate(alone, sites, tmp_path, aggregator=other)


def test_an_own_module_of_the_wrong_size_is_told_its_inputs(sites: list[Path], tmp_path: Path) -> None:
    import torch

    for net in (torch.nn.Linear(4, 1), torch.nn.Linear(5, 2)):
        with pytest.raises(ProtocolError, match="does not turn 5 inputs into 1 outputs") as caught:
            wardround.simulate(study(), sites, tmp_path / str(net.in_features), model=wardround.from_module(net))
        assert "a missing" in caught.value.remedy


@pytest.mark.parametrize("name", ["record", "result.json", "snapshots"])
def test_a_folder_with_somebody_else_s_files_is_left_alone(sites: list[Path], tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious.txt").write_text("precious")
    with pytest.raises(StoreError, match=name):
        wardround.simulate(study(), sites, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [name, "precious.txt"]


def test_a_finished_study_without_its_state_is_not_run_over(sites: list[Path], tmp_path: Path) -> None:
    wardround.simulate(study(phases=PHASES[:2]), sites, tmp_path)
    before = (tmp_path / "record" / "study" / "entries.jsonl").read_bytes()
    for path in tmp_path.glob("state.sqlite*"):
        path.unlink()
    with pytest.raises(StoreError, match="no state"):
        wardround.simulate(study(phases=PHASES[:2]), sites, tmp_path)
    assert (tmp_path / "record" / "study" / "entries.jsonl").read_bytes() == before


def test_a_finished_study_that_lost_a_file_says_which(sites: list[Path], tmp_path: Path) -> None:
    wardround.simulate(study(phases=PHASES[:2]), sites, tmp_path)
    (tmp_path / "report.html").unlink()
    with pytest.raises(StoreError, match=r"report\.html is gone"):
        wardround.simulate(study(phases=PHASES[:2]), sites, tmp_path)


def test_training_that_diverges_leaves_a_record_without_a_fault(sites: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardround.simulated.InProcess", Diverging)
    phases = [PHASES[0], {**PHASES[1], "rounds": 9}, PHASES[3]]
    assert wardround.simulate(study(phases=phases), sites, tmp_path).result["stopped"] == "quorum"
    assert [line.name for line in verify(tmp_path).lines if line.verdict == "FAIL"] == []


@pytest.mark.parametrize("workers", [-1, 1_000_000])
def test_an_impossible_number_of_workers_is_refused(sites: list[Path], tmp_path: Path, workers: int) -> None:
    with pytest.raises(ProtocolError, match="worker processes"):
        wardround.simulate(study(), sites, tmp_path, workers=workers)


def test_text_that_could_hide_text_from_a_reader_is_refused() -> None:
    for hidden in ("\x1b[8m", "\u202e", "\x07"):
        with pytest.raises(ValidationError, match="cannot be printed"):
            study(question={"purpose": f"Good{hidden} purpose"})


def test_a_study_file_is_read_and_run(sites: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(toml(plan(contract={"patient": "patient"})))
    loaded = wardround.load_study(path)
    assert loaded.protocol.digest == study().complete().digest
    assert "h0" in wardround.simulate(path, sites, tmp_path / "run").result["sites"]


def test_training_alone_needs_no_evaluation(sites: list[Path], tmp_path: Path) -> None:
    result = wardround.simulate(study(phases=PHASES[:2]), sites, tmp_path).result
    assert result["metrics"] == {} and result["verdicts"] == {} and result["model"] == "model.safetensors"
    assert (tmp_path / "report.html").exists() and verify(tmp_path).exit_code == 2


def test_statistics_alone_need_no_model(sites: list[Path], tmp_path: Path) -> None:
    result = wardround.simulate(study(phases=PHASES[:1]), sites, tmp_path).result
    assert result["model"] is None and not (tmp_path / "model.safetensors").exists()


def toml(tables: Mapping[str, Any]) -> str:
    """Write plain tables as TOML, enough for a protocol."""
    lines: list[str] = []

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {value(inner)}" for key, inner in one.items() if inner is not None) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(value(inner) for inner in one) + "]"
        return json.dumps(one)

    lines += [f"{name} = {value(table)}" for name, table in tables.items()]
    return "\n".join(lines) + "\n"


def test_done_names_what_a_hospital_would_use() -> None:
    assert Done("train", 1, {"a": np.ones(1)}).digest != Done("train", 1, {"a": np.ones(1)}, model={"b": np.ones(1)}).digest
