from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.support import small
from wardround.combining.ruled import Ruled
from wardround.study.arrays import Arrays, under
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
