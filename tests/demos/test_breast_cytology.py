"""The demo's hospitals are real patients, dealt out the same way every time."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from wardround.data.load import inspect
from wardround.data.site_file import load_site
from wardround.demos.breast_cytology import HOSPITALS, by_severity, write
from wardround.simulation import load_study
from wardround.study.dataset import ROLES
from wardround.study.errors import StoreError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    write(path)
    return path


def rows(path: Path) -> list[list[str]]:
    text = path.read_text().replace(",", ".").replace(";", ",") if "district" in path.name else path.read_text()
    return list(csv.reader(text.splitlines()))[1:]


def test_all_patients_are_there_once_and_unchanged(folder: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    expected = sorted(
        [("MB"[target], *(float(f"{value:.6g}") for value in row)) for row, target in zip(data.data, data.target, strict=True)]
    )
    dealt = [row for hospital in HOSPITALS for row in rows(folder / f"{hospital}.csv")]
    assert sorted((row[1], *(float(cell) for cell in row[2:])) for row in dealt) == expected
    assert len({row[0] for row in dealt}) == 569


def test_sizes_and_case_mix_differ(folder: Path) -> None:
    tables = {hospital: rows(folder / f"{hospital}.csv") for hospital in HOSPITALS}
    assert {hospital: len(table) for hospital, table in tables.items()} == HOSPITALS
    share = {hospital: np.mean([row[1] == "M" for row in table]) for hospital, table in tables.items()}
    assert share["screening"] < 0.25 < 0.5 < share["university"]


def test_every_hospital_meets_the_contract_with_both_classes_in_training_and_test(folder: Path) -> None:
    protocol = load_study(folder / "study.toml").protocol
    for hospital in HOSPITALS:
        checked = inspect(load_site(folder / f"{hospital}.toml"), protocol)
        assert checked.dataset is not None, str(checked.report)
        label = checked.dataset.columns["diagnosis"]
        for role in ROLES:
            assert set(label[checked.dataset.rows(role)]) == {0, 1}, (hospital, role)


def test_the_same_files_every_time_and_nobody_s_work_is_written_over(folder: Path, tmp_path: Path) -> None:
    inputs = write(tmp_path)
    for path in (inputs.study, *inputs.sites):
        assert path.read_bytes() == (folder / path.name).read_bytes()
    assert write(tmp_path) == inputs
    (tmp_path / "city.csv").write_text("my own data")
    with pytest.raises(StoreError, match=r"city\.csv has been changed"):
        write(tmp_path)
    assert (tmp_path / "city.csv").read_text() == "my own data"


def test_the_order_follows_severity() -> None:
    values = np.random.default_rng(1).normal(size=(400, 30)) + np.linspace(0, 9, 400)[:, None]
    assert np.corrcoef(np.arange(400), by_severity(values))[0, 1] > 0.5
