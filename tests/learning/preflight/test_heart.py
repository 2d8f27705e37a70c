"""Twelve planted clashes in Cleveland's patients divided at random, and the four real hospitals: the benchmark's question, asked once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parts.planting import CLASHES, divided
from benchmarks.preflight import study
from benchmarks.statistics import heart
from tests.learning.preflight.hospitals import compared, found
from wardround.preflight import plan_of


@pytest.mark.slow
def test_each_of_twelve_clashes_is_found_and_nothing_else(shared_data: Callable[[str], Path]) -> None:
    plan = plan_of(study(True))
    parts = divided(heart(shared_data("heart_disease_uci").parent)["cleveland"], np.random.default_rng(41))
    assert found(compared(plan, parts), "clash", "differs") == []
    for number, (name, clash) in enumerate(CLASHES.items()):
        site = f"part{number % 4}"
        listed = found(compared(plan, {**parts, site: clash.change(parts[site], np.random.default_rng(number))}), "clash", "differs")
        assert {(field, at) for field, at, _, _ in listed} == {(clash.field, site)}, (name, listed)
        assert any(kind == clash.kind and clash.words in sentence for _, _, kind, sentence in listed), (name, listed)


def test_real_hospitals_clash_in_the_zeros_for_cholesterol_alone(shared_data: Callable[[str], Path]) -> None:
    listed = found(compared(plan_of(study(False)), heart(shared_data("heart_disease_uci").parent)), "clash")
    assert [(field, site, kind) for field, site, kind, _ in listed] == [("chol", "switzerland", "spike"), ("chol", "va", "spike")]
    assert all(" 0, far from" in sentence for _, _, _, sentence in listed)
