"""Intensities of all hospitals' training pixels: counts that add up, percentiles to within a bin, and a normalisation that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import plan, small
from wardround.combining.plain import Plain
from wardround.combining.secure.masked import Secure
from wardround.learning import intensity
from wardround.learning.intensity import histogram, percentile, spread_norm
from wardround.learning.network import initial_parameters
from wardround.learning.norm import mean_and_deviation, moment_sums
from wardround.learning.pictures import channel_sums
from wardround.study.arrays import arrays_digest
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Contract, Field, Protocol

PHASES: list[dict[str, Any]] = [
    {"name": "intensities", "kind": "intensities", "bins": 256},
    {"name": "train", "kind": "fedavg", "rounds": 2, "learning_rate": 0.05, "batch_size": 16},
    {"name": "test", "kind": "evaluate"},
]
IMAGE = {"type": "image", "shape": [1, 8, 8], "intensity": [0, 255]}


def field(low: float, high: float, shape: tuple[int, ...] = (2, 3, 4)) -> Field:
    return Field(type="image", shape=shape, intensity=(low, high))


def protocol(label: dict[str, Any] | None = None, **changes: Any) -> Protocol:
    fields = {"chest": IMAGE, "ill": label or {"type": "code", "codes": [0, 1]}}
    model = {"kind": "cnn", "widths": [4, 8], "depth": 1}
    contract = {"label": "ill", "fields": fields}
    tables = {**plan(contract=contract, phases=PHASES), "model": model}
    merged = {name: {**tables.get(name, {}), **change} if isinstance(change, dict) else change for name, change in changes.items()}
    draft = Protocol.model_validate({**tables, **merged}).complete()
    return draft.changed(initial={"model": arrays_digest(initial_parameters(draft))})


def rows(seed: int, count: int = 40) -> Dataset:
    """Return dim pictures of which the ill have a brighter corner; one pixel of each picture is saturated, as by a device."""
    rng = np.random.default_rng(seed)
    ill = rng.integers(0, 2, count).astype(np.int32)
    chest = rng.normal(90 + 10 * seed, 15, (count, 1, 8, 8))
    chest[ill == 1, :, :4, :4] += 30
    role = np.repeat([0, 1, 2], [count - 2 * (count // 5), count // 5, count // 5]).astype(np.int8)
    return Dataset({"chest": np.clip(chest, 0, 255).astype(np.uint8), "ill": ill}, np.arange(count), rng.permutation(role))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from(["uint8", "uint16", "int16", "int32", "float32"]), st.integers(16, 100), st.integers(1, 9))
def test_counts_are_those_of_numpy_and_add_up(seed: int, kind: str, bins: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = {"uint8": (0, 255), "uint16": (0, 65_535), "int16": (-1024, 3071), "int32": (-9, 90_000), "float32": (-1.0, 1.0)}[kind]
    raw = rng.uniform(low, high, (count, 2, 3, 4)).astype(kind)
    image = field(low, high)
    found = histogram(image, raw, np.arange(count), bins)
    place = np.clip((raw.astype(np.float64) - low) * (bins / (high - low)), 0, bins - 1).astype(int)
    for channel in range(2):
        assert np.array_equal(found[channel], np.bincount(place[:, channel].ravel(), minlength=bins))
    cut = count // 2
    halves = histogram(image, raw, np.arange(cut), bins) + histogram(image, raw, np.arange(cut, count), bins)
    assert np.array_equal(found, halves) and found.sum() == raw.size


def test_pictures_beyond_memory_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (50, 2, 3, 4)).astype(np.uint8)
    mapped = np.memmap(tmp_path / "raw", dtype=np.uint8, mode="w+", shape=raw.shape)
    mapped[:] = raw
    whole = histogram(field(0, 255), raw, np.arange(50), 64)
    monkeypatch.setattr(intensity, "AT_ONCE", 60)
    assert np.array_equal(histogram(field(0, 255), mapped, np.arange(50), 64), whole)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(any), st.floats(0, 1))
def test_a_percentile_has_the_right_share_of_pixels_on_either_side(counts: list[int], share: float) -> None:
    bins, total = len(counts), sum(counts)
    (value,) = percentile(np.array([counts]), share)
    assert -1 <= value <= 1
    place = (value + 1) / 2 * bins
    surely_below = sum(count for number, count in enumerate(counts) if number + 1 <= place - 1e-9)
    maybe_below = sum(count for number, count in enumerate(counts) if number <= place + 1e-9)
    assert surely_below <= share * total + 1e-6 and share * total <= maybe_below + 1e-6
    assert percentile(np.array([counts]), min(1.0, share + 0.1))[0] >= value


def test_nothing_known_or_nothing_varying_changes_nothing() -> None:
    found = spread_norm(np.array([[0, 0, 0, 0], [0, 1, 1, 0]]), 0.01, 0.99)
    assert found["mean"].tolist() == [0.0, 0.0] and found["deviation"][0] == 1.0 and found["deviation"][1] < 0.3
    assert np.isnan(percentile(np.zeros((1, 4)), 0.5)[0])


@pytest.mark.parametrize("combiner", [Plain(), Secure()], ids=["plain", "secure"])
def test_a_study_normalises_by_percentiles_of_all_training_pixels(tmp_path: Path, combiner: Any) -> None:
    combine = {"combine": "secure" if isinstance(combiner, Secure) else "plain", "quorum": 3}
    agreed = protocol(rounds=combine)
    data = {f"site{number}": rows(number) for number in range(4)}
    done = small(tmp_path, agreed, data, combiner=combiner).run()
    pixels = np.concatenate([one.columns["chest"][one.rows("train")].ravel() for one in data.values()])
    first, last = np.percentile(pixels, [1, 99]) / 127.5 - 1
    norm = done["intensities"].results
    assert norm["mean"] == pytest.approx([(first + last) / 2], abs=2 / 256)
    assert norm["deviation"] == pytest.approx([(last - first) / 4], abs=1 / 256)
    assert set(norm) == {"mean", "deviation"}
    assert np.array_equal(done["train"].results["norm/mean"], norm["mean"])
    assert done["train"].results["scores"][-1] > 0.5


def answered(agreed: Protocol, data: Dataset) -> dict[str, np.ndarray]:
    algorithm = agreed.algorithms[0]
    ask = algorithm.ask(algorithm.begin(agreed, {}, None))  # type: ignore[arg-type]
    return dict(algorithm.answer(ask, data, {}, None)[0].sums)  # type: ignore[arg-type]


def test_rows_for_validation_and_test_count_nowhere() -> None:
    agreed, data = protocol(), rows(0)
    changed = data.columns["chest"].copy()
    changed[data.rows("validation", "test")] = 255
    other = Dataset({**data.columns, "chest": changed}, data.patient, data.role)
    assert np.array_equal(answered(agreed, data)["histogram"], answered(agreed, other)["histogram"])


def test_devices_and_borders_move_moments_and_not_percentiles() -> None:
    agreed, data = protocol(), rows(0, 200)
    bright = data.columns["chest"].copy()
    bright[::6, :, 0, 0] = 255  # a quarter of a hundredth of all pixels
    other = Dataset({**data.columns, "chest": bright}, data.patient, data.role)
    by_spread, by_moments = [], []
    for one in (data, other):
        by_spread.append(spread_norm(answered(agreed, one)["histogram"], 0.01, 0.99)["deviation"][0])
        by_moments.append(mean_and_deviation(moment_sums(agreed, one))["deviation"][0])
    changed = [after / before - 1 for before, after in (by_spread, by_moments)]
    assert abs(changed[0]) < changed[1] / 2


def test_a_label_that_is_a_number_brings_its_own_moments() -> None:
    label = {"type": "number", "unit": "a", "range": [0, 100]}
    question, judged = {"kind": "regression", "title": "Age", "purpose": "Test."}, {"metrics": ["mae"], "replicates": 30}
    agreed = protocol(label, question=question, evaluation=judged)
    data = rows(0)
    data.columns["ill"] = np.linspace(0, 100, len(data))  # type: ignore[index]
    sums = answered(agreed, data)
    known = data.columns["ill"][data.rows("train")] / 50 - 1
    assert sums["present"].tolist() == [len(known)] and sums["sum"] == pytest.approx([known.sum()])


def test_a_table_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"needs pictures.*kind 'moments'"):
        Protocol.model_validate(plan(phases=PHASES)).complete()


def test_bins_and_percentiles_are_bounded() -> None:
    for wrong in ({"bins": 4}, {"low": 60}, {"high": 40}, {"between": 1}):
        with pytest.raises(ProtocolError, match=next(iter(wrong))):
            protocol(phases=[{**PHASES[0], **wrong}, *PHASES[1:]])


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=20))
def test_below_the_lowest_share_lies_nothing_and_nothing_lies_above_the_highest(counts: list[int]) -> None:
    low, high = (float(percentile(np.array([counts]), share)[0]) for share in (0.0, 1.0))
    filled = np.flatnonzero(counts)
    if len(filled):
        assert np.allclose([low, high], [2 * filled[0] / len(counts) - 1, 2 * (filled[-1] + 1) / len(counts) - 1])
    else:
        assert np.isnan(low) and np.isnan(high)


@pytest.mark.parametrize("kind", ["int32", "float32"])
@pytest.mark.parametrize("low, high", [(0, 2**18), (0, 2**24), (-(2**29), 2**29), (2**30, 2**30 + 2**12)])
def test_moments_of_pictures_hold_for_wide_ranges(low: int, high: int, kind: str) -> None:
    raw = np.random.default_rng(3).integers(low, high, (60, 1, 40, 40)).astype(kind)
    contract = plan_of(low, high)
    sums = channel_sums(
        contract, Dataset({"chest": raw, "ill": np.zeros(60, np.int32)}, np.arange(60), np.zeros(60, np.int8)), np.arange(60)
    )
    scaled = (raw.astype(np.float64) - (low + high) / 2) / ((high - low) / 2)
    found = mean_and_deviation(sums)
    assert np.allclose([found["mean"][0], found["deviation"][0]], [scaled.mean(), scaled.std()], rtol=1e-9, atol=1e-9)


def plan_of(low: float, high: float) -> Contract:
    fields = {"chest": Field(type="image", shape=(1, 40, 40), intensity=(low, high)), "ill": Field(type="code", codes=("no", "yes"))}
    return Contract(label="ill", fields=fields)
