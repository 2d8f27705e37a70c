"""Intensities over three hospitals are those of all pictures in one place, and no bin tells of fewer than k patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import small
from wardround.combining.plain import Plain
from wardround.combining.secure.masked import Secure
from wardround.learning.intensity import folded, histogram, histogram_of_patients
from wardround.learning.statistics.written import tables
from wardround.pages.statistics import render
from wardround.study.arrays import arrays_digest
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Field, Protocol
from wardround.study.protocol.load import read_protocol

HEAD = """
kind = "statistics"
study = "scanners"
[question]
title = "Scanners"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract.fields]
chest = { type = "image", shape = [2, 6, 5], intensity = [0, 255] }
age = { type = "number", unit = "a", range = [0, 100] }
[bounds]
sites = 3
examples = 500
"""
SITES = {"north": 60, "south": 40, "east": 30}


def plan(phases: str = '[[phases]]\nname = "pixels"\nkind = "pixels"\n', combine: str = "plain", least: int = 10) -> Protocol:
    rounds = f'[rounds]\nquorum = 3\ncombine = "{combine}"\n[privacy]\ncounts = true\nsmallest_count = {least}\n'
    return read_protocol(f"{HEAD}{phases}{rounds}", "study.toml").changed(initial={"model": arrays_digest({})})


def rows(seed: int, count: int) -> Dataset:
    """Return pictures of another brightness at each hospital; one patient in each has a device."""
    rng = np.random.default_rng(seed)
    chest = np.clip(rng.normal(100 + 20 * seed, 20, (count, 2, 6, 5)), 0, 200).astype(np.uint8)
    chest[0, 0, :2] = 255
    return Dataset({"chest": chest, "age": rng.uniform(20, 90, count)}, np.arange(count), np.zeros(count, dtype=np.int8), digest=f"{seed}")


def ran(folder: Path, agreed: Protocol, data: dict[str, Dataset]) -> dict[str, Any]:
    combiner = Secure() if agreed.rounds.combine == "secure" else Plain()
    done = small(folder, agreed, data, combiner=combiner).run()
    return dict(tables(agreed, done, data, []))


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_counts_mean_and_percentiles_are_those_of_all_pixels(tmp_path: Path, combine: str) -> None:
    data = {name: rows(seed, count) for seed, (name, count) in enumerate(SITES.items())}
    found = ran(tmp_path, plan(combine=combine, least=1), data)["pixels"]["fields"]
    assert [(one["field"], one["channel"], one["rows"]) for one in found] == [("chest", 0, {"count": 130}), ("chest", 1, {"count": 130})]
    for channel, one in enumerate(found):
        values = np.concatenate([site.columns["chest"][:, channel].ravel() for site in data.values()])
        counts = [cell["count"] for cell in one["cells"]]
        assert counts == histogram(agreed_field(), values.reshape(-1, 1, 6, 5), np.arange(130), 64)[0].tolist()
        assert one["mean"] == pytest.approx(values.mean(), abs=2) and one["deviation"] == pytest.approx(values.std(), abs=0.5)
        for share, value in one["percentiles"].items():
            assert value == pytest.approx(np.percentile(values, float(share)), abs=4)


def agreed_field() -> Field:
    return Field(type="image", shape=(1, 6, 5), intensity=(0, 255))


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_one_patient_s_device_is_not_seen_and_few_patients_are_not_counted(tmp_path: Path, combine: str) -> None:
    data = {name: rows(seed, count) for seed, (name, count) in enumerate([("north", 60), ("south", 40), ("east", 9)])}
    found = ran(tmp_path, plan(combine=combine), data)["pixels"]["fields"][0]
    assert found["rows"] == {"count": 100, "held_back_at": 1}
    assert sum(cell["count"] for cell in found["cells"]) == 100 * 30
    brightest = max(cell["to"] for cell in found["cells"] if cell["count"])
    assert brightest < 200


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12))
def test_folding_keeps_every_pixel_and_leaves_no_bin_of_few(seed: int, count: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    image = Field(type="image", shape=(2, 2, 3), intensity=(0, 255))
    raw = rng.integers(0, 256, (count, 2, 2, 3)).astype(np.uint8)
    counts, seen = histogram_of_patients(image, raw, np.arange(count), 8)
    assert np.array_equal(counts, histogram(image, raw, np.arange(count), 8))
    for channel in range(2):
        place = raw[:, channel].reshape(count, -1) // 32
        assert np.array_equal(seen[channel], [int((place == number).any(axis=1).sum()) for number in range(8)])
    found = folded(counts, seen, least)
    for amounts, patients, before in zip(found, seen, counts, strict=True):
        assert amounts.sum() in (0, before.sum()) and bool(amounts.any()) == bool((patients >= least).any())
        assert not amounts[patients < least].any()


def test_the_report_draws_each_channel(tmp_path: Path) -> None:
    agreed = plan()
    data = {name: rows(seed, count) for seed, (name, count) in enumerate(SITES.items())}
    result = {"study": "scanners", "sites": {name: {"patients": count} for name, count in SITES.items()}, "smallest_count": 10}
    page = render({**result, "statistics": ran(tmp_path, agreed, data)}, None, {})
    assert "Pixels of chest, channel 2, by intensity" in page and page.count("<svg") >= 2


def test_other_statistics_pass_over_images_and_do_not_take_them() -> None:
    phases = '[[phases]]\nname = "ages"\nkind = "describe"\n[[phases]]\nname = "bars"\nkind = "histogram"\n'
    assert all(set(algorithm.named("fields", ())) == {"age"} for algorithm in plan(phases).algorithms)  # type: ignore[attr-defined]
    for phase, message in {
        'kind = "histogram"\nfields = ["chest"]': "no single value.*kind 'pixels'",
        'kind = "pixels"\nfields = ["age"]': "needs a image",
        'kind = "pixels"\nbins = 1': "bins",
        'kind = "feasibility"\ncriteria = [{ field = "chest", known = true }]': "no field 'chest' to count",
    }.items():
        with pytest.raises(ProtocolError, match=message):
            plan(f'[[phases]]\nname = "one"\n{phase}\n')


def test_other_bins_of_the_same_image_are_refused() -> None:
    twice = '[[phases]]\nname = "one"\nkind = "pixels"\n[[phases]]\nname = "two"\nkind = "pixels"\nbins = 32\n'
    with pytest.raises(ProtocolError, match="asked in 'one' already"):
        plan(twice)
