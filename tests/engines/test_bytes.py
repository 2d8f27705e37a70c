"""Bytes that the history states: what the hub moved to and from the sites, whichever way the model goes down."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engines.federated import federated_small, federation, free_port, open_protocol
from tests.support import PHASES, small
from wardround.engines.hub import HubPlan

pytestmark = pytest.mark.slow

PLAIN: Mapping[str, Any] = {"quorum": 3, "due_seconds": 60}
WAYS = {"model": PLAIN, "totals": {**PLAIN, "down": "totals"}, "secure": {**PLAIN, "combine": "secure"}}


def moved(port: int) -> dict[str, tuple[int, int]]:
    """Return how many bytes the hub took from each site, and gave to it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/accstatz?unused=1", timeout=10) as answer:
        accounts = json.load(answer)["account_statz"]
    return {one["acc"]: (one["received"]["bytes"], one["sent"]["bytes"]) for one in accounts if one["acc"] not in ("SYS", "HUB", "$G")}


@pytest.mark.parametrize("way", WAYS)
def test_the_history_states_what_the_hub_moved(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, text = free_port(), HubPlan.text
    monkeypatch.setattr(HubPlan, "text", lambda self: f'http: "127.0.0.1:{port}"\n{text(self)}')
    agreed = open_protocol(model={"kind": "mlp", "hidden": [1500, 300]}, rounds=WAYS[way], phases=[PHASES[0], PHASES[1], PHASES[3]])
    with federation(tmp_path, agreed) as made:
        study = federated_small(made)
        before = moved(port)
        done = study.run()
        time.sleep(3)  # the last closing is on its way
        after = moved(port)
        history = study.store.history()
    up, down = (sum(after[slot][way] - before[slot][way] for slot in after) for way in (0, 1))
    for name, hub in (("bytes_up", up), ("bytes_down", down)):
        stated = sum(row[name] for row in history)
        assert abs(stated - hub) < 0.02 * hub, f"{name}: {stated} stated, {hub} moved"
    (tmp_path / "here").mkdir()
    here = small(tmp_path / "here", agreed, following=agreed.follows)
    assert here.run()["train"].digest == done["train"].digest
    for one, other in zip(here.store.history(), history, strict=True):
        assert all(abs(one[name] - other[name]) < 0.01 * other[name] for name in ("bytes_up", "bytes_down"))
