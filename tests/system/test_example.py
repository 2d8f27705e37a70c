"""`examples/three-hospitals` runs as a user would run it, and comes to the model that one process makes of the same keys and rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.engines.federated import free_port
from wardround.coordinator.book import Book
from wardround.coordinator.rounds import Step, run_study
from wardround.coordinator.store import Store
from wardround.data.snapshot import read_snapshot
from wardround.engines.inprocess import InProcess, Place
from wardround.learning.network import initial_parameters
from wardround.record.log import Log
from wardround.record.note import Signer
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.site.folder import SiteFolder
from wardround.site.gate import Site
from wardround.site.policy import Policy
from wardround.site.state import SiteState
from wardround.study.canonical import digest

HOSPITALS = ("east", "north", "south")
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "three-hospitals" / "run.sh"
MOST_SECONDS = 60.0


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Return the folder in which the example ran, and how long it took, in seconds."""
    work = tmp_path_factory.mktemp("example") / "three"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    began = time.monotonic()
    done = subprocess.run(
        ["bash", str(SCRIPT), str(work), str(free_port())],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=2 * MOST_SECONDS,
        check=False,
    )
    told = "\n".join(f"{hospital}: {(work / f'{hospital}.txt').read_text()}" for hospital in HOSPITALS)
    assert done.returncode == 0, done.stdout + done.stderr + told
    return work, time.monotonic() - began


def result(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "centre" / "result.json").read_bytes())
    return found


def test_it_ends_within_a_minute(ran: tuple[Path, float]) -> None:
    assert ran[1] < MOST_SECONDS


def test_every_hospital_holds_the_model_that_the_result_names(ran: tuple[Path, float]) -> None:
    work, _ = ran
    found = {place: digest((work / place / "model.safetensors").read_bytes()) for place in (*HOSPITALS, "centre")}
    assert set(found.values()) == {result(work)["model_digest"]}


def test_every_hospital_finds_its_own_figures_and_no_others_in_its_copy(ran: tuple[Path, float]) -> None:
    work, _ = ran
    released = digest((work / "centre" / "result.json").read_bytes())
    assert all(not table["sites"] for table in result(work)["metrics"].values())
    for hospital in HOSPITALS:
        copy = json.loads((work / hospital / "result.json").read_bytes())
        assert (copy["reader"], copy["released"]) == (hospital, released)
        assert all(set(table["sites"]) == {hospital} for table in copy["metrics"].values())
        assert copy["metrics"]["federated"]["sites"][hospital]["brier"]["low"] is not None
        assert copy["verdicts"] == {}, "this study trains no local models to compare with"
        assert "This is the copy of" in (work / hospital / "report.html").read_text()


def test_each_hospital_ended_by_itself_and_has_sent_sums(ran: tuple[Path, float]) -> None:
    work, _ = ran
    for hospital in HOSPITALS:
        said = (work / f"{hospital}.txt").read_text()
        assert "The study has ended" in said and "refused" not in said, said
        assert "sums sent" in said


def test_all_of_the_record_passes_but_the_witnesses(ran: tuple[Path, float]) -> None:
    report = verify(ran[0] / "centre")
    verdicts = {line.name: line.verdict for line in report.lines}
    assert Verdict.FAIL not in verdicts.values()
    assert len(verdicts) > 5
    assert [name for name, verdict in verdicts.items() if verdict is not Verdict.PASS] == ["witnesses"]


def test_one_process_makes_the_same_model_of_the_same_keys_and_rows(ran: tuple[Path, float], tmp_path: Path) -> None:
    """Batch orders come from each hospital's private key, so equal digests say that the whole computation is the same."""
    work, _ = ran
    store, key = Store(tmp_path / "state.sqlite"), Ed25519PrivateKey.from_private_bytes(bytes(32))
    agreed = SiteFolder(work / HOSPITALS[0]).protocol
    log = Log(store.connection, "coordinator", Signer("coordinator", key), agreed.study)
    places = {}
    for name in HOSPITALS:
        folder = SiteFolder(work / name)
        assert folder.protocol.digest == agreed.digest
        data, signer = read_snapshot(folder.snapshot), Signer(f"{name}.here", folder.keys.signing)
        memory = SiteState(store.connection, agreed.digest, name, data.digest)
        rules = Policy(frozenset({agreed.digest}))
        own = Log(store.connection, signer.name, signer, agreed.study)
        gate = Site(name, agreed, folder.keys, rules, memory, own, key.public_key(), len(data.rows("train")))
        places[name] = Place(gate, data, folder.snapshot)
    book = Book(agreed, store, log, key, {name: place.site.keys.public for name, place in places.items()}, lambda event: None)
    combiner = agreed.combiner
    steps = [Step(algorithm, combiner) for algorithm in agreed.algorithms]
    done = run_study(agreed, steps, InProcess(agreed, places), book, initial_parameters(agreed))
    store.close()
    assert done["train"].digest == result(work)["model_digest"]
