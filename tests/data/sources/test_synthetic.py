from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.data.hospital import protocol
from tests.data.pictures import plan
from wardround.data.contract_check import check
from wardround.data.site_file import SiteFile
from wardround.data.sources.synthetic import Synthetic
from wardround.study.protocol.plugged import Plugged

SITE = SiteFile(name="north", source=Plugged(kind="synthetic"))


def share_ill(frame: pl.DataFrame) -> float:
    return float((frame["ill"] == "1").to_numpy().mean())


def test_rows_meet_any_contract() -> None:
    fields = {
        "stage": {"type": "code", "codes": ["I", "II", "III"], "missing": "indicator"},
        "ph": {"type": "number", "unit": "1", "range": [6.8, 7.8], "missing": "indicator"},
        "cells": {"type": "number", "unit": "/uL", "range": [0, 2e6], "input": False},
    }
    agreed = protocol({"time": "seen"}, fields)
    frame = Synthetic(rows=400, rows_per_patient=3, missing=0.3, shift=1.5).read(agreed.contract)
    checked = check(frame, SITE, agreed)
    assert checked.report.errors == ()
    assert checked.dataset is not None
    assert checked.dataset.patients == 134
    assert checked.dataset.time is not None
    assert np.isnan(checked.dataset.columns["ph"]).mean() == pytest.approx(0.3, abs=0.1)
    assert not np.isnan(checked.dataset.columns["age"]).any()


def test_a_number_can_be_the_label() -> None:
    agreed = protocol(fields={"ill": {"type": "number", "unit": "1", "range": [0, 10]}})
    assert check(Synthetic(rows=200).read(agreed.contract), SITE, agreed).report.errors == ()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    contract = protocol().contract
    assert Synthetic(seed=1).read(contract).equals(Synthetic(seed=1).read(contract))
    first, second = Synthetic(seed=1).read(contract), Synthetic(seed=2).read(contract)
    assert not set(first["patient"]) & set(second["patient"])
    assert not first["age"].equals(second["age"])


def slope(frame: pl.DataFrame) -> float:
    """Return by how many standard deviations the ill differ from the healthy in chol."""
    chol, ill = frame["chol"].to_numpy(), (frame["ill"] == "1").to_numpy()
    return float((chol[ill].mean() - chol[~ill].mean()) / chol.std())


def test_sites_share_the_truth_and_a_shift_moves_the_inputs_only() -> None:
    contract = protocol().contract
    sites = [Synthetic(rows=4000, seed=seed, truth_seed=5, shift=shift).read(contract) for seed, shift in ((1, 0.0), (2, 0.0), (3, 1.0))]
    assert abs(slope(sites[0])) > 0.2
    assert slope(sites[0]) == pytest.approx(slope(sites[1]), abs=0.12)
    assert np.sign(slope(sites[2])) == np.sign(slope(sites[0]))
    moved = (sites[2]["chol"].to_numpy().mean() - sites[0]["chol"].to_numpy().mean()) / sites[0]["chol"].to_numpy().std()
    assert moved == pytest.approx(1.0, abs=0.1)


def test_no_effect_means_none() -> None:
    assert abs(slope(Synthetic(rows=4000, effect=0.0).read(protocol().contract))) < 0.12


@pytest.mark.parametrize("prevalence", [0.05, 0.5, 0.9])
def test_prevalence_is_met(prevalence: float) -> None:
    frame = Synthetic(rows=4000, prevalence=prevalence).read(protocol().contract)
    assert share_ill(frame) == pytest.approx(prevalence, abs=0.03)


def test_patients_say_that_they_are_synthetic() -> None:
    assert Synthetic(rows=3).read(protocol().contract)["patient"].str.starts_with("synthetic-").all()


@pytest.mark.parametrize("shape", [(1, 30), (3, 12, 10), (1, 6, 8, 10)])
def test_images_of_any_kind_are_made_up_and_tell_of_the_label(shape: tuple[int, ...]) -> None:
    agreed = plan(*shape)
    source = Synthetic(rows=400, effect=6.0, seed=2)
    checked = check(source.read(agreed.contract), SITE, agreed, source)
    assert checked.dataset is not None, checked.report
    film, ill = checked.dataset.columns["film"], checked.dataset.columns["ill"]
    assert film.shape == (400, *shape)
    assert film.dtype == np.uint8
    bright = film.reshape(400, -1).mean(axis=1)
    assert abs(bright[ill == 1].mean() - bright[ill == 0].mean()) > 0.5 * bright.std()
    again = check(Synthetic(rows=400, effect=6.0, seed=2).read(agreed.contract), SITE, agreed, source).dataset
    assert again is not None and np.array_equal(again.columns["film"], film)
