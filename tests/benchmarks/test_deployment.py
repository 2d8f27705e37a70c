from __future__ import annotations

from pathlib import Path

from benchmarks.parts.deployment import set_up
from tests.engines.federated import POLICY


def test_two_deployments_have_the_same_keys_rows_and_rules(tmp_path: Path) -> None:
    (one, first), (other, second) = set_up(tmp_path / "one", 2), set_up(tmp_path / "other", 2)
    assert one.settings.max_upload == other.settings.max_upload == 1.5
    for here, there in zip(first, second, strict=True):
        assert here.keys.public == there.keys.public and here.snapshot.name == there.snapshot.name
        assert (here.path / "policy.toml").read_text() == POLICY and (here.path / "invite").is_file()
    assert first[0].keys.public != first[1].keys.public and first[0].snapshot.name != first[1].snapshot.name
