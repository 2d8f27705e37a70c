"""Methods over seeds: whole studies side by side, resumed where they stopped, compared patient by patient."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wardround
from tests.api.test_simulate import hospital, study
from wardround.replicates import FILE, of, read_replicates
from wardround.study.errors import ProtocolError, WardroundError
from wardround.sweptrun import DONE

METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "slow": {"phases": {"train": {"learning_rate": 0.0001}}},
    "twin": {},
    "broken": {"bounds": {"update": 1e-6}},
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("hospitals")
    return [hospital(folder, number, 160) for number in range(2)]


@pytest.fixture(scope="module")
def swept(sites: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[wardround.Table, list[str]]:
    said: list[str] = []
    table = wardround.sweep(study(), sites, METHODS, range(2), 1, tmp_path_factory.mktemp("sweep"), say=said.append)
    return table, said


def runs(table: wardround.Table, method: str) -> list[Path]:
    return sorted((table.folder / method).iterdir())


def test_every_method_runs_with_every_seed_and_failures_are_told(swept: tuple[wardround.Table, list[str]]) -> None:
    table, said = swept
    assert set(table.found["rows"]) == {"plain", "slow", "twin"} and table.found["seeds"] == [0, 1]
    assert [len(runs(table, method)) for method in ("plain", "slow")] == [2, 2]
    assert len(said) == 8 and "(8 of 8 runs)" in said[-1]
    assert [(one["method"], one["seed"]) for one in table.found["failed"]] == [("broken", 0), ("broken", 1)]
    for page in (table.text(), table.markdown(), table._repr_html_()):
        assert "plain" in page and "Pooled" in page and "Failed: broken, seed 0" in page
    assert json.loads((table.folder / "table.json").read_text()) == json.loads(table.json()) == table.found
    assert (table.folder / "table.md").read_text() == table.markdown()


def test_figures_are_those_of_the_runs(swept: tuple[wardround.Table, list[str]]) -> None:
    table, _ = swept
    results = [json.loads((folder / "result.json").read_text()) for folder in runs(table, "plain")]
    for metric in ("auroc", "accuracy"):
        told = [one["metrics"]["federated"]["all"][metric]["value"] for one in results]
        assert table.value("plain", metric)["value"] == pytest.approx(np.mean(told))
    minus = [one["paired"]["pooled"]["all"]["auroc"]["value"] for one in results]
    assert table.value("plain", "auroc", against="pooled")["value"] == pytest.approx(np.mean(minus))
    with pytest.raises(ProtocolError, match="has no 'slwo'"):
        table.value("slwo", "auroc")


def test_comparators_are_trained_once_a_seed_and_pair_with_every_method(swept: tuple[wardround.Table, list[str]]) -> None:
    """The same model judged in two runs has the same replicates: that is what makes differences between runs paired."""
    table, _ = swept
    models = [set(json.loads((folder / "result.json").read_text())["metrics"]) for folder in runs(table, "slow")]
    assert models == [{"federated"}] * 2
    plain, slow = (read_replicates(runs(table, method)[0]) for method in ("plain", "slow"))
    assert all(np.array_equal(plain[name], slow[name]) for name in plain if name.startswith(("tested/", "tally/")))
    one, other = of(plain, "federated")["auroc"], of(slow, "federated")["auroc"]
    assert len(one) == len(other) == 31 and not np.array_equal(one, other)
    found = table.value("slow", "auroc", "h0", against="local")
    own = [of(read_replicates(folder), "local", "h0")["auroc"][0] for folder in runs(table, "plain")]
    here = [of(read_replicates(folder), "federated", "h0")["auroc"][0] for folder in runs(table, "slow")]
    assert found["value"] == pytest.approx(np.mean(np.array(here) - np.array(own)))
    assert table.found["rows"]["slow"]["paired"] and set(table.found["rows"]["slow"]["verdicts"]) == {"h0", "h1"}


def test_a_method_equal_to_the_first_differs_by_nothing(swept: tuple[wardround.Table, list[str]]) -> None:
    """Without its comparators a method trains the very same model, and its replicates pair to exactly zero."""
    row, twin = (swept[0].found["rows"][name] for name in ("plain", "twin"))
    assert twin["figures"] == row["figures"] and twin["against"] == row["against"] and twin["verdicts"] == row["verdicts"]


def test_what_is_finished_is_not_run_again(swept: tuple[wardround.Table, list[str]], sites: list[Path]) -> None:
    table, _ = swept
    before = {path: path.stat().st_mtime_ns for path in table.folder.rglob(FILE)}
    only = {"plain": METHODS["plain"], "slow": METHODS["slow"]}  # a run that failed would be tried again
    said: list[str] = []
    again = wardround.sweep(study(), sites, only, range(2), 1, table.folder, say=said.append)
    assert said == [] and set(again.found["rows"]) == {"plain", "slow"}
    assert all(again.found["rows"][name] == table.found["rows"][name] for name in only)
    assert {path: path.stat().st_mtime_ns for path in table.folder.rglob(FILE)} == before


@pytest.mark.slow
def test_a_run_that_is_lost_is_run_again_and_comes_to_the_same(sites: list[Path], tmp_path: Path) -> None:
    methods, said = {"plain": METHODS["plain"], "slow": METHODS["slow"]}, list[str]()
    table = wardround.sweep(study(), sites, methods, range(2), 2, tmp_path)
    shutil.rmtree(runs(table, "slow")[1])
    again = wardround.sweep(study(), sites, methods, range(2), 2, tmp_path, say=said.append)
    assert len(said) == 1 and said[0].startswith("slow, seed 1")
    assert again.found["rows"]["slow"]["figures"] == table.found["rows"]["slow"]["figures"]


@pytest.mark.slow
def test_a_method_that_all_are_compared_with_must_not_fail(sites: list[Path], tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match="broken, seed 0"):
        wardround.sweep(study(), sites, {"broken": METHODS["broken"]}, [0], 1, tmp_path)
    assert not list(tmp_path.rglob(DONE))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"methods": {}}, "names none"),
    ({"methods": {"a": {}, "A": {}}}, "would have the folder"),
    ({"methods": {"a": {}, "b": {"phases": {"tran": {}}}}}, "method b"),
    ({"methods": {"a": {"phases": {"test": None}}}}, "method a: trains or tests nothing"),
    ({"methods": {"a": {}}, "baselines": "b"}, "no method 'b'"),
    ({"methods": {"a": {}}, "seeds": []}, "seeds"),
    ({"methods": {"a": {}}, "seeds": [1, 1]}, "seeds"),
    ({"methods": {"a": {}}, "seeds": [-1]}, "is no seed"),
    ({"methods": {"a": {}}, "workers": 0}, "side by side"),
    ({"methods": {"a": {}, "b": {"evaluation": {"replicates": 60}}}}, "method b: evaluation.replicates"),
    ({"methods": {"a": {}, "b": {"evaluation": {"seed": 3}}}}, "method b: evaluation.seed"),
    ({"methods": {"a": {}, "b": {"evaluation": {"metrics": ["accuracy"]}}}}, "method b: evaluation.metrics"),
]


@pytest.mark.parametrize(("wishes", "words"), REFUSED)
def test_wrong_wishes_are_refused_before_anything_runs(sites: list[Path], tmp_path: Path, wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        wardround.sweep(study(), sites, out=tmp_path / "out", **wishes)
    assert not (tmp_path / "out").exists()
