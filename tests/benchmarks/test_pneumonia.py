"""The pneumonia benchmark tests on the official part, and its figures say what their names say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import pneumonia
from wardround import partition, simulate
from wardround.comparing import Run
from wardround.partitions.hospital import write_arrays
from wardround.replicates import FILE
from wardround.study.arrays import to_bytes
from wardround.study.dataset import ROLES, Dataset
from wardround.sweptable import Table
from wardround.variants import tables_of, variant

MODELS = {"federated": 0.97, "local": 0.90, "pooled": 0.98, "ensemble": 0.95, "best_single": 0.96}


def kept(auroc: Mapping[str, float], seed: int, wobble: float = 0.002) -> dict[str, np.ndarray]:
    """Return what a run keeps: 200 replicates whose spread all models share, so that differences have next to none."""
    together = np.random.default_rng(seed).normal(0, wobble, 200)
    found: dict[str, np.ndarray] = {"tested/north": np.zeros(32, dtype=np.uint8), "tally/north": np.array([234, 390])}
    for model, level in auroc.items():
        for metric in ("auroc", "accuracy"):
            values = np.concatenate([[level], level + together])
            found |= {f"all/{model}/{metric}": values, f"sites/north/{model}/{metric}": values}
    return found


def runs(digest: Callable[[int], str], shift: float = 0.0) -> list[Run]:
    levels = {model: level + (shift if model == "federated" else 0.0) for model, level in MODELS.items()}
    return [Run(seed, kept(levels, seed), {"model_digest": digest(seed)}) for seed in pneumonia.SEEDS]


def told(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["what"]: one for one in found}


def measured(**changes: Any) -> dict[str, dict[str, Any]]:
    secure, plain = runs(changes.get("secure", str))[:1], runs(lambda seed: "plain", shift=-0.2)
    alone = [{"a": 0.90, "b": 0.985} for _ in pneumonia.SEEDS]
    return told(
        pneumonia.measured(
            {pneumonia.PLAIN: plain, pneumonia.FEDERATED: runs(str, changes.get("shift", 0.0)), pneumonia.SECURE: secure}, alone
        )
    )


def test_figures_are_differences_of_the_models_that_they_name() -> None:
    found = measured()
    assert found["federated AUROC"]["value"] == pytest.approx(0.97)
    assert found["pooled minus federated AUROC"]["value"] == pytest.approx(0.01)
    assert found["pooled minus federated AUROC, upper 95 % limit"]["value"] == found["pooled minus federated AUROC"]["high"]
    assert found["federated minus ensemble AUROC"]["value"] == pytest.approx(0.02)
    assert found["federated minus best single hospital AUROC"]["value"] == pytest.approx(0.01)
    assert found["federated minus the best of ten on the test part AUROC"]["value"] == pytest.approx(-0.015)


def test_a_worse_federated_model_moves_every_figure_the_other_way() -> None:
    before, after = measured(), measured(shift=-0.03)
    assert after["pooled minus federated AUROC, upper 95 % limit"]["value"] == pytest.approx(
        before["pooled minus federated AUROC, upper 95 % limit"]["value"] + 0.03
    )
    assert after["federated minus ensemble AUROC"]["value"] < 0 and after["federated minus best single hospital AUROC"]["value"] < 0


def test_seeds_that_disagree_widen_the_limit_beyond_the_mean() -> None:
    several = [Run(seed, kept({**MODELS, "federated": 0.97 + 0.005 * (seed - 3)}, seed), {"model_digest": ""}) for seed in pneumonia.SEEDS]
    found = told(
        pneumonia.measured(
            {pneumonia.PLAIN: several, pneumonia.FEDERATED: several, pneumonia.SECURE: several[:1]}, [{"a": 0.9}] * len(several)
        )
    )
    assert found["pooled minus federated AUROC"]["value"] == pytest.approx(0.01)
    spread = 2.776 * 0.005 * np.std([-2, -1, 0, 1, 2], ddof=1) / np.sqrt(5)
    assert found["pooled minus federated AUROC, upper 95 % limit"]["value"] == pytest.approx(0.01 + spread, abs=1e-4)


def test_a_secure_model_that_differs_is_counted() -> None:
    what = "secure sum: models other than in the plain sum"
    assert measured()[what]["value"] == 0
    assert measured(secure=lambda seed: "another")[what]["value"] == 1


def test_a_run_is_found_by_its_plan_and_not_by_its_folder(tmp_path: Path) -> None:
    for name, plan in (("old", "sha256:1"), ("new", "sha256:2")):
        (tmp_path / "federated" / name).mkdir(parents=True)
        (tmp_path / "federated" / name / "result.json").write_text(json.dumps({"protocol_digest": plan}))
        (tmp_path / "federated" / name / FILE).write_bytes(to_bytes({"all/federated/auroc": np.array([0.5])}))
    row = {"protocols": ["sha256:2"]}
    assert pneumonia.ran(Table({"rows": {pneumonia.PLAIN: row}}, tmp_path), 3, pneumonia.PLAIN).folder.name == "new"
    with pytest.raises(FileNotFoundError):
        pneumonia.ran(Table({"rows": {pneumonia.PLAIN: {"protocols": ["sha256:3"]}}}, tmp_path), 3, pneumonia.PLAIN)


def divided(folder: Path, images: Path, seed: int, **options: Any) -> tuple[list[Path], list[dict[str, Any]]]:
    (folder / "all.toml").write_text(pneumonia.SITE_FILE.format(json.dumps(str(images))))
    sites = partition(folder / "all.toml", pneumonia.plan(seed), out=folder / "hospitals", seed=seed, test="central", **options)
    described: list[dict[str, Any]] = json.loads((folder / "hospitals" / "partition.json").read_text())["sites"]
    return sites, described


def test_hospitals_are_unequal_and_together_have_the_official_parts(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    images = shared_data("pneumoniamnist") / "pneumoniamnist.npz"
    _, found = divided(tmp_path, images, 1, by=["labels", "quantity"], sites=pneumonia.SITES, least=pneumonia.LEAST)
    assert [sum(one["parts"][role] for one in found) for role in ROLES] == [4708, 524, 624]
    sizes = [one["parts"]["train"] + one["parts"]["validation"] for one in found]
    assert min(sizes) >= pneumonia.LEAST and max(sizes) > 5 * min(sizes)
    official = pneumonia.official_test(images.parents[1])
    assert len(official) == 624 and int(official.columns["pneumonia"].sum()) == 390


def test_a_hospitals_own_model_is_tested_as_in_its_study(tmp_path: Path) -> None:
    dice, arrays = np.random.default_rng(0), dict[str, np.ndarray]()
    for part, count in (("train", 96), ("val", 24), ("test", 40)):
        labels = dice.integers(0, 2, (count, 1))
        noise = dice.integers(0, 160, (count, 28, 28))
        arrays |= {f"{part}_images": (noise + 60 * labels[:, :, None]).astype(np.uint8), f"{part}_labels": labels}
    write_arrays(tmp_path / "made-up.npz", arrays)
    sites, _ = divided(tmp_path, tmp_path / "made-up.npz", 1, by="iid", sites=2)
    changes = {
        "phases": {"train": {"rounds": 2}},
        "model": {"widths": [4, 4], "stride": 2, "depth": 1},
        "rounds": {"quorum": 2},
        "evaluation": {"replicates": 0, "compare": []},
    }
    small = variant(tables_of(pneumonia.plan(1).complete()), changes, "small")
    result = simulate(small, sites, tmp_path / "run").result
    for path in sites:
        with np.load(path.with_suffix(".npz")) as read:
            tested = read["part"] == "test"
            images, labels = read["film"][tested], read["labels"][tested].astype(np.int32)
        own = Dataset(
            {"film": images.reshape(-1, 1, 28, 28), "pneumonia": labels}, np.arange(len(labels)), np.full(len(labels), 2, np.int8)
        )
        alone = pneumonia.tested_alone(tmp_path / "run", small, own)
        assert sorted(alone) == [one.stem for one in sites]
        assert alone[path.stem] == pytest.approx(result["metrics"]["local"]["sites"][path.stem]["auroc"]["value"])
