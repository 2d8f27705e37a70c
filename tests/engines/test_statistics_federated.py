"""A study of statistics between hospitals, over a true hub: the same tables as on one machine, and each hospital's ledger knows of it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.cli.terminal import Terminal
from tests.engines.federated import Federation, Gate, federated_small, new_centre
from tests.site.counted import phase, policy, put, study
from tests.support import small
from wardround import centre, hospital
from wardround.bringing import prepare
from wardround.coordinator import events
from wardround.data.snapshot import read_snapshot
from wardround.serving import Serving
from wardround.site.folder import SiteFolder
from wardround.study.protocol import Protocol

SITES = {"north": 150, "south": 90, "east": 70}
PHASES = (
    phase("describe", "bins = 10")
    + phase("histogram", "bins = 10")
    + phase("crosstab", 'rows = "age"\ncolumns = "sex"\nbins = 10')
    + phase("quantiles", 'fields = ["age"]\nrounds = 2')
)


def hospital_folder(path: Path, seed: int, count: int) -> SiteFolder:
    """Return the folder of a hospital with a table and rules, that has not joined yet."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    put(path, [{"patient": f"M{number}", "age": rng.integers(20, 90), "sex": "fm"[rng.integers(0, 2)]} for number in range(count)])
    (path / "policy.toml").write_text(policy())
    (path / "site.toml").write_text(f'name = "{path.name}"\n[source]\nkind = "table"\npath = "rows.csv"\n')
    return SiteFolder(path)


def served(stack: ExitStack, path: Path, agreed: Protocol) -> Federation:
    """Return a study that is served on loopback, whose hospitals have joined, prepared and approved, each with a ledger of its own."""
    made, seen = new_centre(path / "centre", agreed), list[events.Event]()
    found = Federation(made, Serving(made, 0, seen.append), {}, seen)
    stack.callback(lambda: found.serving.close())
    for seed, (name, count) in enumerate(SITES.items()):
        folder = hospital_folder(path / f"of {name}" / name, seed, count)
        invite = folder.path / "invite"
        invite.write_bytes(centre.invite(made, name, 1))
        hospital.join(folder.path, invite)
        folder = SiteFolder(folder.path)
        prepare(folder)
        hospital.approve(folder, "officer")
        found.gates[name] = Gate(name, folder, read_snapshot(folder.snapshot), made.protocol)
        stack.callback(found.gates[name].stop)
        found.gates[name].start()
    return found


@pytest.mark.parametrize("combine", [pytest.param("plain", marks=pytest.mark.slow), "secure"])
def test_tables_between_hospitals_are_those_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], combine: str
) -> None:
    agreed = study(PHASES, combine=combine)
    agreed = agreed.changed(rounds={**agreed.rounds.model_dump(), "quorum": 3, "due_seconds": 60})
    with ExitStack() as stack:
        made = served(stack, tmp_path, agreed)
        here = {name: gate.data for name, gate in made.gates.items()}
        told = {name: one.digest for name, one in federated_small(made).run().items()}
        (tmp_path / "one").mkdir()
        alike = small(tmp_path / "one", made.centre.protocol, here)
        assert told == {name: one.digest for name, one in alike.run().items()}
        alike.store.close()
        assert not any(gate.failed for gate in made.gates.values())
    wardround = Terminal(monkeypatch, capsys)
    said = wardround("site", "status", "--json", "--dir", made.gates["north"].folder.path)
    assert said.document["asked"]["studies"]["asked"] == 1, said.err
    assert said.document["asked"]["counts"]["asked"] >= 100
    said = wardround("site", "review", "--dir", made.gates["north"].folder.path)
    assert "1 of 1000 studies of statistics" in said.out and "counted: " in said.out
