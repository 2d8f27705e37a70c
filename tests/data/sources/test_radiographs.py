from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.data.pictures import contract, plan
from wardround.data.load import inspect
from wardround.data.site_file import load_site
from wardround.data.sources.radiographs import Radiographs
from wardround.study.errors import DataError
from wardround.study.plugins import find
from wardround.study.protocol import Contract

SMALL = contract(1, 64, 64)


def films(source: Radiographs, made: dict[str, Any] = SMALL) -> tuple[np.ndarray, pl.DataFrame]:
    """Return a hospital's films [N, H, W] as float64 in 0 to 1, and its rows."""
    agreed = Contract.model_validate(made)
    frame = source.read(agreed)
    field = agreed.fields["film"]
    images = [np.asarray(one) for one in source.pictures(field, frame["film"])]
    return np.stack(images)[:, 0] / (field.intensity or (0, 1))[1], frame


def test_they_are_called_synthetic_and_meet_the_contract(tmp_path: Path) -> None:
    assert find("source", "radiographs").synthetic
    (tmp_path / "site.toml").write_text('name = "paper"\n[source]\nkind = "radiographs"\npatients = 60\nimages_per_patient = 2\n')
    checked = inspect(load_site(tmp_path / "site.toml"), plan(1, 48, 40))
    assert checked.dataset is not None, checked.report
    assert checked.dataset.columns["film"].shape == (120, 1, 48, 40)
    assert checked.dataset.patients == 60
    assert "the rows are synthetic" in str(checked.report)
    assert not [one for one in checked.report.findings if one.field == "film"]


def test_the_same_seed_and_hospital_give_the_same_films_whichever_are_asked_for() -> None:
    source = Radiographs(patients=6, seed=3, hospital="north")
    images, frame = films(source)
    again, same = films(Radiographs(patients=12, seed=3, hospital="north"))
    assert np.array_equal(images, again[:6])
    assert frame["ill"].to_list() == same["ill"].to_list()[:6]
    field = Contract.model_validate(SMALL).fields["film"]
    some = list(source.pictures(field, frame["film"].filter(pl.Series([False, True, False, False, True, False]))))
    assert np.array_equal(np.stack([np.asarray(one)[0] for one in some]) / 255, images[[1, 4]])
    for other in (Radiographs(patients=6, seed=4, hospital="north"), Radiographs(patients=6, seed=3, hospital="south")):
        assert not np.array_equal(films(other)[0], images)


def test_a_film_shows_dark_lungs_a_bright_spine_and_the_heart_on_the_left() -> None:
    mean = films(Radiographs(patients=30, prevalence=0.01, devices=(0, 0)))[0].mean(axis=0)
    lungs = mean[20:36, 12:22].mean(), mean[20:36, 44:54].mean()
    assert max(lungs) < 0.4 < 0.6 < mean[:, 30:34].mean()
    assert mean[:3, :8].mean() < 0.1, "air beside the neck"
    assert mean[38:44, 38:44].mean() > mean[38:44, 20:26].mean() + 0.1, "the heart lies more on the patient's left"
    assert mean[56:].mean() > 0.5


def test_opacities_show_in_the_ill_and_smaller_ones_show_less() -> None:
    def bright(**options: Any) -> float:
        images, frame = films(Radiographs(patients=120, devices=(0, 0), **options))
        ill = np.array(frame["ill"].to_list()) == "1"
        lung = images[:, 16:40, 10:24].mean(axis=(1, 2)) + images[:, 16:40, 40:54].mean(axis=(1, 2))
        return float(lung[ill].mean() - lung[~ill].mean())

    plain = bright()
    assert plain > 0.04
    assert plain > 2 * bright(opacity=0.4, contrast=0.7)
    assert abs(bright(contrast=0)) < plain / 2


def test_prevalence_and_devices_are_as_asked() -> None:
    made = contract(1, 16, 16, device={"type": "code", "codes": ["no", "yes"], "input": False})
    frame = Radiographs(patients=3000, prevalence=0.3, devices=(0.1, 0.8)).read(Contract.model_validate(made))
    ill, device = np.array(frame["ill"].to_list()) == "1", np.array(frame["device"].to_list()) == "yes"
    assert abs(ill.mean() - 0.3) < 0.03
    assert abs(device[~ill].mean() - 0.1) < 0.03
    assert abs(device[ill].mean() - 0.8) < 0.05


def test_a_device_is_seen() -> None:
    with_one = films(Radiographs(patients=40, devices=(1, 1)))[0]
    without = films(Radiographs(patients=40, devices=(0, 0)))[0]
    assert ((with_one - without).max(axis=(1, 2)) > 0.1).mean() > 0.95


def test_scanners_differ_as_asked() -> None:
    plain = films(Radiographs(patients=20, noise=0))[0]

    def scanned(**options: Any) -> np.ndarray:
        return films(Radiographs(**{"patients": 20, "noise": 0, **options}))[0]

    assert np.abs(scanned(inverted=True) - (1 - plain)).max() < 0.01
    assert scanned(gamma=0.6).mean() > plain.mean() + 0.05
    assert scanned(gain=0.5).std() < 0.7 * plain.std()
    sharp = np.abs(np.diff(plain, axis=2)).mean()
    assert np.abs(np.diff(scanned(blur=0.05), axis=2)).mean() < 0.85 * sharp
    assert np.abs(np.diff(scanned(noise=0.1), axis=2)).mean() > 1.5 * sharp


def test_grades_numbers_and_sixteen_bits_fit_too() -> None:
    graded = contract(1, 16, 16, intensity=(0, 65_535))
    graded["fields"]["ill"] = {"type": "code", "codes": [0, 1, 2]}
    images, frame = films(Radiographs(patients=200, prevalence=0.5), graded)
    assert set(frame["ill"].to_list()) == {"0", "1", "2"}
    assert len(np.unique(images)) > 5000
    graded["fields"]["ill"] = {"type": "number", "unit": "%", "range": [0, 100]}
    shares = Radiographs(patients=200, prevalence=0.5).read(Contract.model_validate(graded))["ill"].to_numpy()
    assert (shares.min(), 60 < (shares == 0).sum() < 140, shares.max() <= 100) == (0, True, True)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 64), (1, 8, 64), (1, 20, 20, 20)])
def test_what_is_no_film_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="grey and in two dimensions"):
        Radiographs().read(Contract.model_validate(contract(*shape)))
