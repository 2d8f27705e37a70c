from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.support import small
from wardround.combining.ruled import Ruled
from wardround.study.arrays import Arrays, under
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Rule


class Mean(Rule):
    def combine(self, updates: Mapping[str, Arrays], counts: Mapping[str, float]) -> Arrays:
        total = sum(counts.values())
        names = next(iter(updates.values()))
        return {name: np.asarray(sum(counts[site] * updates[site][name] for site in updates)) / total for name in names}


class Nothing(Rule):
    def combine(self, updates: Mapping[str, Arrays], counts: Mapping[str, float]) -> Arrays:
        assert list(updates) == sorted(updates)
        return {name: np.zeros_like(value) for name, value in next(iter(updates.values())).items()}


def test_the_mean_as_a_rule_gives_what_the_plain_sum_gives(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = small(tmp_path / "a").run()["train"].results
    ruled = small(tmp_path / "b", combiner=Ruled(Mean())).run()["train"].results
    for name in under(plain, "params"):
        assert np.allclose(plain[f"params/{name}"], ruled[f"params/{name}"], atol=1e-6)


def test_a_rule_that_gives_nothing_leaves_the_initial_parameters(tmp_path: Path) -> None:
    done = small(tmp_path, combiner=Ruled(Nothing())).run()
    for name, value in done["initial"].results.items():
        assert np.array_equal(done["train"].results[f"params/{name}"], value)


class Broken(Rule):
    def __init__(self, value: float, shape: tuple[int, ...] | None) -> None:
        self.value, self.shape = value, shape

    def combine(self, updates: Mapping[str, Arrays], counts: Mapping[str, float]) -> Arrays:
        return {name: np.full(self.shape or value.shape, self.value) for name, value in next(iter(updates.values())).items()}


@pytest.mark.parametrize("rule", [Broken(np.nan, None), Broken(0.0, (7, 7))])
def test_a_rule_that_gives_nonsense_is_named(tmp_path: Path, rule: Rule) -> None:
    with pytest.raises(WardroundError, match="rule Broken gave no finite array"):
        small(tmp_path, combiner=Ruled(rule)).run()
