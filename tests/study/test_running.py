"""BatchNorm's running variances are averaged like parameters; what could make them negative is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import PHASES, plan
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol

IMAGE = {"type": "image", "shape": [1, 16, 16], "intensity": [0, 255]}


def agreed(model: dict[str, Any], **options: Any) -> Protocol:
    tables = plan(phases=[PHASES[0], {**PHASES[1], **options}, PHASES[3]], stop={"keep": "last"})
    tables["contract"] = {"label": "ill", "fields": {"film": IMAGE, "ill": {"type": "code", "codes": ["no", "yes"]}}}
    tables["model"] = {"kind": "cnn", "widths": [4], **model}
    return Protocol.model_validate(tables).complete()


@pytest.mark.parametrize(
    "options", [{"server_optimiser": "adam"}, {"server_optimiser": "yogi"}, {"server_momentum": 0.9}, {"server_learning_rate": 1.5}]
)
def test_batch_norm_under_a_server_optimiser_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="running variances"):
        agreed({"norm": "batch"}, **options)
    for model in ({"norm": "group"}, {"norm": "batch", "private": ["norm"]}, {"norm": "batch", "frozen": ["norm"]}):
        agreed(model, **options)


def test_batch_norm_under_the_plain_mean_is_allowed() -> None:
    assert agreed({"norm": "batch"}).model.options["norm"] == "batch"


def test_the_page_says_what_batch_norm_lets_leave() -> None:
    from wardround.study.protocol.summary import summary

    said = [" ".join(line for part in summary(agreed(model)) for line in part.lines) for model in ({"norm": "batch"}, {"norm": "group"})]
    assert ["BatchNorm" in one for one in said] == [True, False]


def test_batch_norm_under_steps_that_are_multiplied_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"fednova.* running variances"):
        agreed({"norm": "batch"}, kind="fednova")
    for model in ({"norm": "group"}, {"norm": "batch", "private": ["norm"]}, {"norm": "batch", "frozen": ["norm"]}):
        agreed(model, kind="fednova")
