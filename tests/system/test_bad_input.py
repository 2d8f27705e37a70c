"""Bad input, a full disk and Ctrl-C get one sentence, a remedy and an exit code; no patient's value is shown, and nothing is lost.

Every hospital has one patient who is easy to recognise. Whatever the test, neither that patient's identifier nor that patient's measurement
may stand in what a command says, in the record, in the result or in the report.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.parts import hospitals
from benchmarks.parts.hospitals import MadeUp, Shape
from tests.cli.terminal import Said, Terminal
from wardround import publish
from wardround.cli.progress import Lines
from wardround.coordinator import events
from wardround.record.report import Verdict
from wardround.record.verify import verify

PATIENT, VALUE = "zebra-7731", "41.7731"
Row = dict[str, str]


@dataclass(frozen=True)
class Calm:
    """A study that nothing disturbed: its inputs, its results, its model."""

    made: MadeUp
    results: Path
    digest: str


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("calm")
    made = hospitals.write(folder / "inputs", Shape(rounds=3, patients=60, sites=3))
    for site in made.sites:
        rewrite(site.with_suffix(".csv"), planted)
    results = folder / "results"
    digest = simulated_digest(made, results)
    return Calm(made, results, digest)


@pytest.fixture
def made(calm: Calm, tmp_path: Path) -> MadeUp:
    """Return a copy of the study's inputs, to be spoiled."""
    inputs = shutil.copytree(calm.made.study.parent, tmp_path / "inputs")
    return MadeUp(inputs / calm.made.study.name, tuple(inputs / site.name for site in calm.made.sites))


def simulated_digest(made: MadeUp, out: Path) -> str:
    from wardround import simulate

    return str(simulate(made.study, list(made.sites), out).result["model_digest"])


def rewrite(table: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    """Change the rows of a table."""
    with table.open(newline="") as file:
        rows = change(list(csv.DictReader(file)))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def planted(rows: list[Row]) -> list[Row]:
    return [{**rows[0], "patient": PATIENT, "marker": VALUE}, *rows[1:]]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def tells_nothing(said: Said, out: Path) -> None:
    """No patient's value in what was said and in what is handed out; no traceback."""
    handed = [path for path in [*out.glob("*.json"), *out.glob("*.html"), *(out / "record").rglob("*")] if path.is_file()]
    for text in (said.out, said.err, *(path.read_text() for path in handed)):
        assert PATIENT not in text and VALUE not in text
        assert "Traceback" not in text


def one_sentence(said: Said, code: int, wrong: str, remedy: str) -> None:
    """One error with its remedy, last on standard error; progress may stand before it, nothing stands after it."""
    lines = said.err.splitlines()
    assert said.code == code, said.err
    assert sum(line.startswith("Error: ") for line in lines) == sum(line.startswith("What to do: ") for line in lines) == 1
    assert lines[-2].startswith("Error: ") and wrong in lines[-2] and lines[-2].endswith((".", ")", "?"))
    assert lines[-1].startswith("What to do: ") and remedy in lines[-1] and lines[-1].endswith(".")


def without_marker(made: MadeUp) -> None:
    rewrite(made.sites[0].with_suffix(".csv"), lambda rows: [{key: row[key] for key in row if key != "marker"} for row in rows])


def other_unit(made: MadeUp) -> None:
    def litres(rows: list[Row]) -> list[Row]:
        return [{**row, "marker": f"{float(row['marker']) * 100:.4f}" if row["marker"] else ""} for row in rows]

    rewrite(made.sites[0].with_suffix(".csv"), litres)


def text_in_a_number(made: MadeUp) -> None:
    rewrite(made.sites[0].with_suffix(".csv"), lambda rows: [{**rows[0], "age": PATIENT}, *rows[1:]])


def no_rows(made: MadeUp) -> None:
    table = made.sites[0].with_suffix(".csv")
    table.write_text(table.read_text().splitlines()[0] + "\n")


def in_two_parts(made: MadeUp) -> None:
    def parted(rows: list[Row]) -> list[Row]:
        rows = [{**row, "part": "test" if row["patient"].endswith(("1", "4", "8")) else "train"} for row in rows]
        return [{**rows[0], "part": "train"}, *rows]

    rewrite(made.sites[0].with_suffix(".csv"), parted)
    with made.sites[0].open("a") as file:
        file.write('\n[split]\ncolumn = "part"\ntrain = ["train"]\ntest = ["test"]\n')


def never_measured(made: MadeUp) -> None:
    rewrite(made.sites[0].with_suffix(".csv"), lambda rows: [{**row, "marker": ""} for row in rows])


def same_names(made: MadeUp) -> None:
    replace(made.sites[0], 'name = "north"', 'name = "south"')


def unknown_option(made: MadeUp) -> None:
    replace(made.study, "hidden = [8]", "hiden = [8]")


FAULTS: dict[str, tuple[Callable[[MadeUp], None], str, str]] = {
    "missing column": (without_marker, "Site north: marker: there is no column 'marker'.", "under [map]"),
    "wrong unit": (other_unit, "outside 0.1 to 50 mg/dL. Unit?", "unit ="),
    "text in a number": (text_in_a_number, "age: <10 cells of column 'age' hold something else than a number.", "Correct them"),
    "empty site": (no_rows, "north: the source has no rows.", "leave this site out"),
    "patient in two parts": (in_two_parts, "<10 patients stand in two parts.", "Put all rows of a patient into one part."),
    "feature never measured": (never_measured, "marker: is missing in every row.", "Check column"),
    "two sites of one name": (same_names, "Two site files have the name 'south'.", "its own name"),
    "unknown option": (unknown_option, "line 23, model.hiden: there is no such option.", "Did you mean 'hidden'?"),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_bad_input_gets_a_sentence_and_mended_input_runs(fault: str, wardround: Terminal, calm: Calm, made: MadeUp, tmp_path: Path) -> None:
    spoil, wrong, remedy = FAULTS[fault]
    out = tmp_path / "results"
    spoil(made)
    said = wardround(*made.words(out))
    one_sentence(said, 2, wrong, remedy)
    assert len(said.err.splitlines()) == 2 and said.out == ""
    tells_nothing(said, out)
    assert not (out / "result.json").exists()
    mended = wardround(*calm.made.words(out), "--json")
    assert mended.code == 0 and mended.document["model_digest"] == calm.digest
    tells_nothing(mended, out)


def test_a_site_with_one_class_takes_part_and_cannot_say(wardround: Terminal, calm: Calm, made: MadeUp, tmp_path: Path) -> None:
    rewrite(made.sites[0].with_suffix(".csv"), lambda rows: [{**row, "ill": "0"} for row in rows])
    said = wardround(*made.words(tmp_path / "results"), "--json")
    assert said.code == 0
    assert said.document["verdicts"]["north"] == "cannot_say" and said.document["verdict_notes"]["north"].startswith("too few")
    assert not said.document["refusals"] and said.document["model_digest"] != calm.digest
    tells_nothing(said, tmp_path / "results")


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse to write beyond a size, as on a full disk; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 3_000, 60_000, 100_000, 200_000, 400_000, 800_000, 1_100_000])
def test_a_full_disk_loses_no_round(size: int, wardround: Terminal, calm: Calm, tmp_path: Path) -> None:
    out = tmp_path / "results"
    with no_file_larger_than(size):
        said = wardround(*calm.made.words(out))
    one_sentence(said, 2, "The study's state could not be saved", "Make room on the disk, then run the same command again.")
    goes_on(wardround, calm, out)


@pytest.mark.parametrize("size", [0, 1_000, 20_000])
def test_a_disk_that_is_full_when_results_are_written_loses_nothing(
    size: int, wardround: Terminal, calm: Calm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = publish._write

    def full(path: Path, data: bytes) -> None:
        with no_file_larger_than(size):
            write(path, data)

    out = tmp_path / "results"
    monkeypatch.setattr(publish, "_write", full)
    said = wardround(*calm.made.words(out))
    monkeypatch.undo()
    one_sentence(said, 2, "directory cannot be used (File too large)", "make room, then run the same command again.")
    assert (out / "model.safetensors").exists() == (size > 0)
    goes_on(wardround, calm, out)


def goes_on(wardround: Terminal, calm: Calm, out: Path) -> None:
    """The same command now ends as an undisturbed one, and nothing in the record contradicts anything."""
    said = wardround(*calm.made.words(out), "--json")
    assert said.code == 0 and said.document["model_digest"] == calm.digest
    assert not [line for line in verify(out).lines if line.verdict is Verdict.FAIL]
    tells_nothing(said, out)


@pytest.fixture
def python_interrupts() -> Iterator[None]:
    """Let the signal of Ctrl-C do what it does at a terminal, however this test was started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("phase", ["moments", "train", "local", "evaluate"])
def test_ctrl_c_in_a_round_keeps_the_rounds_before(
    phase: str, wardround: Terminal, calm: Calm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python_interrupts: None
) -> None:
    tell = Lines.__call__

    def interrupted(lines: Lines, event: events.Event) -> None:
        tell(lines, event)
        if isinstance(event, events.Answered) and event.phase == phase and event.site == "north":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Lines, "__call__", interrupted)
    out = tmp_path / "results"
    said = wardround(*calm.made.words(out))
    monkeypatch.undo()
    assert said.code == 130 and said.out == ""
    assert said.err.splitlines()[-1] == "Stopped. The last whole round is kept; the same command goes on from there."
    tells_nothing(said, out)
    goes_on(wardround, calm, out)


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_ends_workers_without_a_word_from_them(calm: Calm, tmp_path: Path) -> None:
    """A terminal sends the signal to every process of its foreground group."""
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom wardround.cli.main import main; main()"
    made = hospitals.write(tmp_path / "inputs", Shape(rounds=500))
    command = [sys.executable, "-c", script, *made.words(tmp_path / "results", "--workers", "2")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("moments"):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines() == ["Stopped. The last whole round is kept; the same command goes on from there."]


def other_protocol(made: MadeUp) -> None:
    replace(made.study, "learning_rate = 0.1", "learning_rate = 0.2")


def other_seed(made: MadeUp) -> None:
    replace(made.study, "seed = 42", "seed = 43")


def other_data(made: MadeUp) -> None:
    rewrite(made.sites[1].with_suffix(".csv"), lambda rows: [*rows[:-1], {**rows[-1], "marker": "7.5"}])


OTHERS: dict[str, tuple[Callable[[MadeUp], None], str]] = {
    "learning rate": (other_protocol, "The protocol is another one than this folder was started with."),
    "seed": (other_seed, "The protocol is another one than this folder was started with."),
    "one cell": (other_data, "Sites or their data are others than this folder was started with."),
}


@pytest.mark.parametrize("other", sorted(OTHERS))
def test_a_folder_belongs_to_one_protocol_and_one_state_of_the_data(
    other: str, wardround: Terminal, calm: Calm, made: MadeUp, tmp_path: Path
) -> None:
    change, wrong = OTHERS[other]
    change(made)
    out = shutil.copytree(calm.results, tmp_path / "results")
    before = contents(out)
    said = wardround(*made.words(out))
    one_sentence(said, 2, wrong, "Start anew with another output folder")
    assert contents(out) == before
    goes_on(wardround, calm, out)
    assert contents(out) == before


def test_a_folder_belongs_to_its_sites(wardround: Terminal, calm: Calm, tmp_path: Path) -> None:
    out = shutil.copytree(calm.results, tmp_path / "results")
    fewer = MadeUp(calm.made.study, calm.made.sites[1:])
    one_sentence(wardround(*fewer.words(out)), 2, "Sites or their data are others", "Start anew with another output folder")
    assert contents(out) == contents(calm.results)


def contents(out: Path) -> dict[str, bytes]:
    """Return everything that a run hands out."""
    handed = [*(out / "record").rglob("*"), *(out / name for name in ("result.json", "report.html", "model.safetensors"))]
    return {str(path.relative_to(out)): path.read_bytes() for path in handed if path.is_file()}


@pytest.mark.parametrize("name", ["record/study/entries.jsonl", "record/sites/south/entries.jsonl"])
def test_a_truncated_log_is_found_and_named(name: str, wardround: Terminal, calm: Calm, tmp_path: Path) -> None:
    out = shutil.copytree(calm.results, tmp_path / "results")
    lines = (out / name).read_bytes().splitlines(keepends=True)
    (out / name).write_bytes(b"".join(lines[:-2]))
    found = fails(wardround, out)
    assert name.rpartition("/")[0] in found["checkpoints"]


def test_an_edited_result_is_found_and_named(wardround: Terminal, calm: Calm, tmp_path: Path) -> None:
    out = shutil.copytree(calm.results, tmp_path / "results")
    result = json.loads((out / "result.json").read_text())
    result["metrics"]["federated"]["all"]["accuracy"]["value"] += 0.01
    (out / "result.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    assert "result.json" in fails(wardround, out)["results"]
    one_sentence(wardround(*calm.made.words(out)), 2, "is not the result that was released", "wardround verify")


def fails(wardround: Terminal, out: Path) -> dict[str, str]:
    """Return the lines that fail, by name; the command says no and has no complaint about itself."""
    said = wardround("verify", out)
    assert said.code == 1 and said.err == "" and "Verdict: FAIL" in said.out
    tells_nothing(said, out)
    return {line.name: line.text for line in verify(out).lines if line.verdict is Verdict.FAIL}
