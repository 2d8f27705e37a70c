from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import plan, protocol, rows, small
from wardround.learning.network import initial_parameters
from wardround.study.errors import QuorumNotMet
from wardround.study.findings import FileRefused
from wardround.study.protocol import Protocol
from wardround.study.task import Total

NAMES = ["trimmed_mean", "median", "geometric_median", "multi_krum"]
FIVE = {f"site{number}": rows(number, 60 + 7 * number) for number in range(5)}
PHASES = [{"name": "train", "kind": "fedavg", "rounds": 2, "learning_rate": 0.1, "batch_size": 16}]


def by_rule(name: str, **rounds: Any) -> dict[str, Any]:
    return {"rounds": {"quorum": 5, "due_seconds": 60, "combine": name, "hostile": 1, **rounds}}


@pytest.mark.parametrize("name", NAMES)
def test_a_study_by_a_rule_gives_the_same_bits_again(tmp_path: Path, name: str) -> None:
    agreed = protocol(**by_rule(name), phases=PHASES, model={"normalise": "none"}, evaluation={"compare": []})
    found = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        found.append(small(tmp_path / place, agreed, FIVE).run()["train"])
    assert found[0].digest == found[1].digest
    first = initial_parameters(agreed)
    assert any(not np.array_equal(value, found[0].results[f"params/{one}"]) for one, value in first.items())


def test_sums_that_are_no_means_stand_apart_too(tmp_path: Path) -> None:
    agreed = protocol(**by_rule("trimmed_mean"))
    made = small(tmp_path, agreed, FIVE)
    totals: list[Total] = []
    inner = made.combiner

    class Watching(type(inner)):  # type: ignore[misc]
        def collect(self, *args: Any) -> Any:
            total, refusals = inner.collect(*args)
            assert isinstance(total, Total)
            totals.append(total)
            return total, refusals

    made.combiner = Watching(1)
    made.run()
    trained = [total for total in totals if "examples" in total.sums]
    assert trained
    for total in trained:
        sites = {name.split("/")[1] for name in total.sums if name.startswith("apart/")}
        assert sites == set(FIVE)
        for name in (term.name for term in total.layout if term.per is None):
            assert np.allclose(total.sums[name], sum(total.sums[f"apart/{site}/{name}"] for site in sites))
        assert not any(name.startswith("apart/") and "/update/" in name for name in total.sums)


def test_too_few_sites_with_examples_make_no_round(tmp_path: Path) -> None:
    agreed = protocol(**by_rule("trimmed_mean", attempts=1), phases=PHASES, model={"normalise": "none"}, evaluation={"compare": []})
    data = dict(FIVE)
    for name in ("site3", "site4", "site2"):
        data[name] = type(data[name])(data[name].columns, data[name].patient, np.ones(len(data[name]), dtype=np.int8))
    with pytest.raises(QuorumNotMet, match="2 sites with examples, and 3 are needed"):
        small(tmp_path, agreed, data).run()


def test_keys_left_out_leave_the_digest_alone() -> None:
    agreed = Protocol.model_validate(plan())
    assert "hostile" not in agreed.model_dump(mode="json")["rounds"]
    assert "rollback" not in agreed.model_dump(mode="json")["stop"]
    assert agreed.digest != Protocol.model_validate(plan(stop={"rollback": 0.1})).digest


@pytest.mark.parametrize(
    ("changes", "wrong", "remedy"),
    [
        ({"rounds": {"hostile": 1}}, "combine = 'plain' is no robust rule.", "Leave it out, or write combine = one of: geometric_median"),
        ({"rounds": {"mixing": False}}, "combine = 'plain' is no robust rule.", "Leave it out"),
        (
            {"rounds": {"hostile": 1, "combine": "secure", "quorum": 4}},
            "combine = 'secure' is no robust rule, and hides from it what a rule must see.",
            "Leave it out",
        ),
        (
            {"rounds": {"combine": "median", "quorum": 5}},
            "'median' must know how many sites may be hostile.",
            "Write hostile = 1, at most 2.",
        ),
        ({"rounds": {"combine": "median"}}, "'median' must know how many sites may be hostile.", "and quorum = 3 or more."),
        (by_rule("trimmed_mean", hostile=3), "'trimmed_mean' withstands 3 hostile sites only in a round of 7 or more.", "Write quorum = 7"),
        (by_rule("multi_krum", hostile=2), "'multi_krum' withstands 2 hostile sites only in a round of 7 or more.", "Write quorum = 7"),
    ],
)
def test_what_contradicts_a_rule_is_refused_with_a_remedy(changes: dict[str, Any], wrong: str, remedy: str) -> None:
    with pytest.raises(FileRefused) as refused:
        Protocol.model_validate(plan(**changes)).complete()
    (finding,) = refused.value.findings
    assert wrong in finding.wrong and remedy in finding.remedy


def test_the_rules_in_the_plan_reach_the_combiner() -> None:
    agreed = protocol(**by_rule("multi_krum", mixing=False))
    assert vars(agreed.combiner) == {"hostile": 1, "mixing": False}
