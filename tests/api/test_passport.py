"""The passport of a tested model: signed, named in the record, and of a model that a study of ours released just as of a bought one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.learning.finished_studies import logistic, need_onnx, rows, run, text, write
from wardround import load_study, simulate
from wardround.data.snapshot import read_snapshot
from wardround.passport import statement
from wardround.record.note import VerifierKey
from wardround.record.passport import opened
from wardround.record.report import Report, Verdict
from wardround.record.verify import verify
from wardround.simulation import Result
from wardround.study.canonical import digest
from wardround.study.dataset import ROLES
from wardround.study.errors import ProtocolError, StoreError, VerificationError


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Result:
    need_onnx()
    return run(tmp_path_factory.mktemp("passport"), text(replicates=30), rows({"north": 150, "south": 120, "east": 90}))


@pytest.fixture
def copy(done: Result, tmp_path: Path) -> Path:
    for name in ("record", "result.json", "passport.json", "passport.html"):
        place = shutil.copytree if (done.folder / name).is_dir() else shutil.copy
        place(done.folder / name, tmp_path / name)
    return tmp_path


def failing(report: Report) -> dict[str, str]:
    return {line.name: line.text for line in report.lines if line.verdict is Verdict.FAIL}


def test_a_passport_is_signed_and_verifies(done: Result, copy: Path) -> None:
    assert not (done.folder / "report.html").exists() and not (done.folder / "model.safetensors").exists()
    report = verify(copy)
    assert failing(report) == {} and report.exit_code == 2
    (line,) = [line for line in report.lines if line.name == "model"]
    assert digest(logistic()) in line.text and line.verdict is Verdict.PASS
    key = VerifierKey.parse((copy / "record" / "study" / "vkey").read_text().strip())
    stated = opened((copy / "passport.json").read_bytes(), key)
    assert stated == json.loads(json.dumps(statement(done.result)))
    assert stated["tested_model"]["digest"] == digest(logistic()) and stated["metrics"] == done.result["metrics"]
    page = (copy / "passport.html").read_text()
    assert (
        digest(logistic()) in page
        and "wardround model passport 1" in page
        and "<script" not in page
        and "http" not in page.replace("http-equiv", "")
    )


@pytest.mark.parametrize("name", ["passport.json", "passport.html", "result.json"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.95])
def test_one_altered_byte_is_found(copy: Path, name: str, place: float) -> None:
    data = bytearray((copy / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (copy / name).write_bytes(bytes(data))
    assert "it is not the file that was released" in failing(verify(copy))["results"]


def test_a_missing_or_foreign_file_is_found(copy: Path) -> None:
    (copy / "passport.json").unlink()
    assert "it was released and is missing" in failing(verify(copy))["results"]
    (copy / "model.safetensors").write_bytes(b"x")
    assert "released none" in failing(verify(copy))["model"]


def test_only_what_the_key_signed_is_opened(copy: Path) -> None:
    key = VerifierKey.parse((copy / "record" / "study" / "vkey").read_text().strip())
    found = json.loads((copy / "passport.json").read_bytes())
    found["passport"]["metrics"]["model"]["all"]["auroc"]["value"] = 0.99
    with pytest.raises(VerificationError, match="not over what it states"):
        opened(json.dumps(found).encode(), key)
    for data in (b"", b"[]", b"{}", b'{"passport": {}, "note": 3}', b'{"passport": {"study": "x"}, "note": 3}'):
        with pytest.raises(VerificationError):
            opened(data, key)
    other = VerifierKey.parse((copy / "record" / "sites" / "north" / "vkey").read_text().strip())
    with pytest.raises(VerificationError, match="none of the expected keys"):
        opened((copy / "passport.json").read_bytes(), other)


def test_the_same_command_gives_the_same_result_and_another_file_is_refused(tmp_path: Path) -> None:
    need_onnx()
    given = rows({"a": 60, "b": 60, "c": 60})
    first = run(tmp_path, text(replicates=0), given)
    assert dict(run(tmp_path, text(replicates=0), given).result) == dict(first.result)
    with pytest.raises(StoreError, match="The model's file is another one"):
        run(tmp_path, text(replicates=0), given, logistic(bias=-3.0))


def test_a_passport_that_states_another_figure_than_the_result_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx()

    def lie(result: Any) -> dict[str, Any]:
        stated: dict[str, Any] = json.loads(json.dumps(statement(result)))
        stated["metrics"]["model"]["all"]["auroc"] = {"value": 0.99, "low": 0.98, "high": 1.0}
        return stated

    monkeypatch.setattr("wardround.publish.statement", lie)
    run(tmp_path, text(replicates=0), rows({"a": 60, "b": 60, "c": 60}))
    assert "states something else than result.json: metrics" in failing(verify(tmp_path / "run"))["model"]


TRAINED = """
study = "trained"
[question]
kind = "binary"
title = "t"
purpose = "Test."
[parties]
coordinator = "c"
[contract]
label = "ill"
[contract.fields]
age = { type = "number", unit = "a", range = [0, 120] }
chol = { type = "number", unit = "mg/dL", range = [50, 500], missing = "indicator" }
sex = { type = "code", codes = ["f", "m"] }
ill = { type = "code", codes = ["no", "yes"] }
[model]
kind = "logistic"
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
rounds = 2
learning_rate = 0.1
[[phases]]
name = "test"
kind = "evaluate"
[bounds]
sites = 3
examples = 500
[rounds]
quorum = 3
[privacy]
counts = true
[evaluation]
metrics = ["auroc"]
replicates = 0
compare = []
test = 0.5
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, dict[str, Any]]:
    folder, given = tmp_path_factory.mktemp("trained"), rows({"north": 150, "south": 120, "east": 90})
    files = write(folder, TRAINED, given, b"")
    return folder, simulate(load_study(folder / "study.toml"), files, folder / "run"), given


def test_a_passport_in_another_studys_folder_is_found(trained: tuple[Path, Result, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained[1].folder, folder)
    assert failing(verify(folder)) == {}
    (folder / "passport.html").write_text("<html>")
    assert "this study released no passport" in failing(verify(folder))["results"]


def evaluation(changes: Callable[[str], str] = lambda study: study) -> str:
    head, _, rest = TRAINED.partition('kind = "logistic"\n')
    _, _, tail = rest.partition("[bounds]")
    model = 'kind = "logistic"\nfile = "model.safetensors"\ntrained_on = "Other patients."\n[[phases]]\nname = "test"\nkind = "assess"\n'
    study = 'kind = "evaluation"\n' + head.replace('"trained"', '"tested"') + model + "[bounds]" + tail
    return changes(study.replace("compare = []\ntest = 0.5\n", ""))


def test_a_model_that_a_study_released_is_tested_as_that_study_tested_it(
    trained: tuple[Path, Result, dict[str, Any]], tmp_path: Path
) -> None:
    """The same file on the same test patients gives the same figures: normalisation and missing values are the file's."""
    _, before, given = trained
    listed = {}
    for site, held in given.items():
        (place,) = [path for path in (before.folder / "snapshots" / site).iterdir() if path.is_dir()]
        roles = read_snapshot(place).role
        listed[site] = [{**row, "part": ROLES[role]} for row, role in zip(held, roles, strict=True)]
    files = write(tmp_path, evaluation(), listed, b"")
    for path in files:
        path.write_text(path.read_text() + '[split]\ncolumn = "part"\ntrain = ["train"]\nvalidation = ["validation"]\ntest = ["test"]\n')
    shutil.copy(before.folder / "model.safetensors", tmp_path)
    found = simulate(load_study(tmp_path / "study.toml"), files, tmp_path / "run").result
    assert found["tested_model"]["digest"] == before.result["model_digest"], "as sha256sum prints it"
    now, then = found["metrics"]["model"]["all"], before.result["metrics"]["federated"]["all"]
    assert found["patients"]["all"] == sum(row["part"] == "test" for held in listed.values() for row in held) > 100
    assert all(now[name]["value"] == float(f"{then[name]['value']:.3g}") for name in ("auroc", "brier", "loss", "accuracy"))


@pytest.mark.parametrize(
    ("change", "data", "says"),
    [
        (lambda study: study, b"no model", "is not a safetensors file"),
        (lambda study: study.replace('kind = "logistic"', 'kind = "mlp"'), None, "are not those of this model"),
        (lambda study: study.replace('missing = "indicator"', 'missing = "mean"'), None, "takes 4 columns, and this contract gives 3"),
        (lambda study: study.replace("trained_on", 'normalise = "site"\ntrained_on'), None, "rows that are not tested"),
    ],
)
def test_a_file_that_is_not_the_plans_model_is_refused(
    trained: tuple[Path, Result, dict[str, Any]], tmp_path: Path, change: Callable[[str], str], data: bytes | None, says: str
) -> None:
    _, before, _ = trained
    write(tmp_path, evaluation(change), {}, b"")
    (tmp_path / "model.safetensors").write_bytes((before.folder / "model.safetensors").read_bytes() if data is None else data)
    with pytest.raises(ProtocolError) as caught:
        load_study(tmp_path / "study.toml")
    assert says in caught.value.message
