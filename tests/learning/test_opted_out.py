"""An opted-out patient is in no batch from the next snapshot on: training, evaluation, statistics, in this process and in a worker's.

Through the true path: site file, list, table, snapshot on disk, and what the algorithms are given of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.test_bringing import FROZEN, ROLLING, hospital_at, newcomer, renewed
from tests.engines.test_newer_rows import PATIENTS as AT_HOSPITAL
from tests.engines.test_newer_rows import table
from tests.support import PHASES as WHOLE
from tests.support import plan
from wardround import bringing
from wardround.data.load import prepare
from wardround.data.site_file import load_site
from wardround.data.snapshot import read_snapshot
from wardround.engines.workers import Job, Pool
from wardround.learning.network import initial_parameters
from wardround.learning.norm import no_norm
from wardround.learning.rows import batch_of
from wardround.study.arrays import Arrays, put_under
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Algorithm
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.streams import Stream
from wardround.study.task import Ask, Done, State, Total

PHASES = [{**phase, **({"rounds": 1} if phase["kind"] == "fedavg" else {})} for phase in WHOLE]
TRAINS = Protocol.model_validate(plan(evaluation={"replicates": 0}, phases=PHASES)).complete()
COUNTS = read_protocol(
    """kind = "statistics"
study = "small"
question = { title = "How many?", purpose = "Count." }
parties = { coordinator = "c" }
bounds = { sites = 6, examples = 500 }
rounds = { quorum = 2 }
privacy = { counts = true, smallest_count = 1 }
contract.fields.a = { type = "number", unit = "1", range = [-5, 5] }
contract.fields.b = { type = "number", unit = "1", range = [-5, 5] }
phases = [{ name = "bins", kind = "histogram", fields = ["a"], bins = 1000 }, { name = "means", kind = "describe" }]
""",
    "study.toml",
)
PATIENTS = 50


def marker(patient: int) -> float:
    """Return the value of the field a that one patient's rows have and nobody else's."""
    return round(-4.995 + 0.01 * patient, 3)


def written(folder: Path, rows: dict[int, int], listed: list[str] | None) -> Path:
    """Write a hospital's files; `rows` says how many rows each patient has."""
    lines = ["MRN,a,b,sex,ill"]
    for patient, count in rows.items():
        lines += [f"{patient:04d},{marker(patient)},{0.1 * one},{'fm'[patient % 2]},{patient // 2 % 2}" for one in range(count)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    consent = "" if listed is None else '[consent]\nopt_out = "out.txt"\n'
    (folder / "site.toml").write_text(f'name = "north"\n[source]\nkind = "table"\npath = "rows.csv"\n[map]\npatient = "MRN"\n{consent}')
    if listed is not None:
        (folder / "out.txt").write_text("\n".join(listed))
    return folder / "site.toml"


def snapshot(folder: Path, agreed: Protocol, rows: dict[int, int], listed: list[str] | None) -> tuple[Dataset, Path]:
    """Return what the loader makes of a hospital's files."""
    folder.mkdir(exist_ok=True)
    made = prepare(load_site(written(folder, rows, listed)), agreed, folder / "snapshots")
    return read_snapshot(made.folder), made.folder


def asks(agreed: Protocol, data: Dataset) -> Iterator[tuple[Algorithm, Ask, dict[str, Arrays]]]:
    """Yield everything that one site is asked in a whole study, with what it kept by then."""
    done = {"initial": Done("initial", 0, initial_parameters(agreed) if agreed.trains else {})}
    mine: dict[str, Arrays] = {}
    for algorithm in agreed.algorithms:
        state = algorithm.begin(agreed, done, Stream.public(0))
        while isinstance(state, State):
            ask = algorithm.ask(state)
            yield algorithm, ask, dict(mine)
            answer, proposal = algorithm.answer(ask, data, mine, Stream.public(3))
            mine.update({} if proposal is None else {algorithm.phase: proposal})
            state = algorithm.advance(state, Total(ask.layout, {}, answer.sums, 1))
        done[algorithm.phase] = state


def answers_of(algorithm: Algorithm, ask: Ask, mine: dict[str, Arrays], *data: Dataset) -> list[dict[str, np.ndarray]]:
    """Return what is answered, and proposed to be kept, on each of some snapshots."""
    found = []
    for one in data:
        answer, proposal = algorithm.answer(ask, one, mine, Stream.public(3))
        found.append({**put_under("sums", answer.sums), **put_under("mine", proposal or {})})
    return found


def same(one: Arrays, other: Arrays) -> bool:
    return set(one) == set(other) and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def spelt(patient: int, how: int) -> str:
    return (f"{patient:04d}", str(patient), f" {patient}.0 ", f"{patient:03d}-", f"0-{patient}")[how]


lists = st.dictionaries(st.integers(0, PATIENTS - 1), st.integers(0, 4), max_size=PATIENTS // 2)
counts = st.lists(st.integers(1, 3), min_size=PATIENTS, max_size=PATIENTS)


@given(lists, counts)
@settings(max_examples=6, deadline=None)
def test_an_opted_out_patient_is_in_no_batch(out: dict[int, int], times: list[int]) -> None:
    rows: dict[int, int] = dict(enumerate(times))
    left = {patient: count for patient, count in rows.items() if patient not in out}
    listed = [spelt(patient, how) for patient, how in out.items()]
    with tempfile.TemporaryDirectory() as place:
        data, _ = snapshot(Path(place) / "with", TRAINS, rows, listed)
        never, _ = snapshot(Path(place) / "never", TRAINS, left, None)
        parts = ("train", "validation", "test")
        batches = [batch_of(TRAINS, data, no_norm(TRAINS), part) for part in parts]
        assert sum(len(batch["y"]) for batch in batches) == sum(left.values())
        assert set(np.round(data.columns["a"], 3)) == {marker(patient) for patient in left}
        for one, other in zip(batches, (batch_of(TRAINS, never, no_norm(TRAINS), part) for part in parts), strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in one)
        for algorithm, ask, mine in asks(TRAINS, data):
            assert same(*answers_of(algorithm, ask, mine, data, never)), algorithm.phase
        data, _ = snapshot(Path(place) / "counted", COUNTS, rows, listed)
        never, _ = snapshot(Path(place) / "never counted", COUNTS, left, None)
        tables = {one.phase: answers_of(one, ask, mine, data, never) for one, ask, mine in asks(COUNTS, data)}
        assert set(tables) == {"bins", "means"} and all(same(*both) for both in tables.values())
        answer = tables["bins"][0]["sums/a"]
        assert answer.sum() == sum(left.values())
        assert np.array_equal(answer, bin_of(left))


def bin_of(left: dict[int, int]) -> np.ndarray:
    """Return the counts that the histogram of a must have, float64 [1001]."""
    found = np.zeros(1001)
    for patient, count in left.items():
        found[np.searchsorted(np.linspace(-5, 5, 1001), marker(patient), side="right") - 1] += count
    return found


def test_a_running_worker_lets_go_of_the_older_snapshot(tmp_path: Path) -> None:
    rows: dict[int, int] = dict.fromkeys(range(PATIENTS), 2)
    first = snapshot(tmp_path / "north", TRAINS, rows, [])
    second = snapshot(tmp_path / "north", TRAINS, rows, [f"{number}" for number in range(15)])
    moments, ask, _ = next(asks(TRAINS, first[0]))
    assert not same(*answers_of(moments, ask, {}, first[0], second[0]))
    pool = Pool(1, TRAINS)
    try:
        for data, place in (first, second, first):
            ((_, reply),) = pool.run([Job("north", place, "moments", ask, {}, Stream.public(3))], 60)
            assert isinstance(reply, tuple) and same(put_under("sums", reply[0].sums), answers_of(moments, ask, {}, data)[0])
    finally:
        pool.close()


def test_the_property_above_can_tell_one_patient_more(tmp_path: Path) -> None:
    data, _ = snapshot(tmp_path / "one", TRAINS, dict.fromkeys(range(PATIENTS), 1), [])
    for part, phases in (("train", {"moments", "train", "local"}), ("test", {"test"})):
        patient = round((data.columns["a"][data.rows(part)[0]] + 4.995) / 0.01)
        less, _ = snapshot(tmp_path / part, TRAINS, dict.fromkeys(range(PATIENTS), 1), [str(patient)])
        told = {one.phase for one, ask, mine in asks(TRAINS, data) if not same(*answers_of(one, ask, mine, data, less))}
        assert phases <= told, part


@pytest.mark.parametrize("agreed", [FROZEN, ROLLING], ids=["frozen", "rolling"])
def test_what_a_hospital_answers_from_the_next_round_on_is_as_if_the_patient_had_never_been_there(tmp_path: Path, agreed: Protocol) -> None:
    """Through the loader, the snapshot that waits and the gate: someone of the first snapshot, and a newcomer who waits to come in."""
    folder = hospital_at(tmp_path / "north", agreed)
    table(folder.path, 0, lambda found: found.extend([newcomer(0), newcomer(1)]))
    bringing.prepare(folder)
    (folder.path / "opt-out.txt").write_text(f"p-4\nP{AT_HOSPITAL}\n")
    bringing.withdraw(folder)
    renewed(folder)
    data = read_snapshot(folder.snapshot)

    def never(found: list[dict[str, object]]) -> None:
        del found[4]
        found.extend([newcomer(1)] if agreed.data == "rolling" else [])

    other = hospital_at(tmp_path / "other" / "north", agreed, begun=False)
    table(other.path, 0, never)
    bringing.prepare(other)
    without = read_snapshot(other.snapshot)
    assert data.patients == AT_HOSPITAL - (agreed.data == "frozen")
    for algorithm, ask, mine in asks(agreed, data):
        assert same(*answers_of(algorithm, ask, mine, data, without)), algorithm.phase
