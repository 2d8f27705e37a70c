"""A robust rule judges mean updates; a method whose model follows from other sums as well is refused beside it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import PHASES, plan
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol

RULES = ["trimmed_mean", "median", "geometric_median", "multi_krum"]
IMAGE = {"type": "image", "shape": [1, 16, 16], "intensity": [0, 255]}


def agreed(rule: str, train: str = "fedavg", first: str = "moments", **tables: Any) -> Protocol:
    phases = [{"name": "norm", "kind": first}, {**PHASES[1], "kind": train}, PHASES[3]]
    hostile = {} if rule == "plain" else {"hostile": 1}
    agreed = plan(phases=phases, rounds={"quorum": 5, "combine": rule, **hostile}, privacy={"counts": True}, evaluation={"compare": []})
    return Protocol.model_validate({**agreed, **tables}).complete()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["qffl", "fednova", "scaffold"])
def test_sums_that_go_past_a_rule_are_refused(rule: str, kind: str) -> None:
    with pytest.raises(ProtocolError, match=rf"{kind}.*does not judge") as refused:
        agreed(rule, kind)
    assert "fedprox" in refused.value.remedy


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["fedavg", "fedprox"])
def test_of_a_method_without_any_all_is_judged(rule: str, kind: str) -> None:
    training = agreed(rule, kind).by_phase["train"]
    layout = training.terms({"weight": (2, 3)})  # type: ignore[attr-defined]
    assert all(term.per == "examples" for term in layout if term.kind == "sum")


@pytest.mark.parametrize("kind", ["qffl", "fednova", "scaffold"])
def test_without_a_rule_they_are_allowed(kind: str) -> None:
    assert agreed("plain", kind).phases[1].kind == kind


def test_intensities_are_refused_and_moments_named() -> None:
    contract = {"label": "ill", "fields": {"film": IMAGE, "ill": {"type": "code", "codes": [0, 1]}}}
    pictures: dict[str, Any] = {"contract": contract, "model": {"kind": "cnn", "widths": [4]}}
    with pytest.raises(ProtocolError, match=r"intensities.*does not judge") as refused:
        agreed("trimmed_mean", first="intensities", **pictures)
    assert "moments" in refused.value.remedy
    agreed("trimmed_mean", **pictures)
    agreed("plain", first="intensities", **pictures)
