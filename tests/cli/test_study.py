"""`wardround study` writes, checks and describes studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.learning.statistics.studies import text as plain_text


def test_a_new_study_passes_its_check(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    assert wardround("study", "new", path, "--template", "multiclass").code == 0
    said = wardround("study", "check", path)
    assert said.code == 0
    assert said.out.startswith("Privacy\n  No differential privacy")
    found = wardround("study", "check", path, "--json").document
    assert (found["ok"], found["findings"]) == (True, [])
    assert found["summary"][-1]["lines"] == [found["digest"]]


def test_what_is_left_of_the_template_is_warned_of(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    assert "Warning: study still says 'my-study', as the template does; fill it in." in wardround("study", "check", path).out
    warned = wardround("study", "check", path, "--json").document["warnings"]
    keys = ["study", "parties.coordinator", "parties.legal_basis", "parties.ethics", "parties.retention"]
    assert [warning.split()[0] for warning in warned] == keys
    path.write_text(path.read_text().replace("my-study", "mine"))
    assert len(wardround("study", "check", path, "--json").document["warnings"]) == 4


def test_what_the_model_receives_is_listed_in_order(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    found = wardround("study", "check", path, "--json").document
    assert found["inputs"] == ["admission=emergency", "age", "creatinine", "creatinine missing", "length_of_stay"]
    assert found["outputs"] == 1
    said = " ".join(wardround("study", "check", path).out.split())
    assert f"The model receives 5 columns, in this order: {', '.join(found['inputs'])}. It gives 1 number for each row." in said


def test_a_file_that_exists_is_not_written_over(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("mine")
    said = wardround("study", "new", path)
    assert said.code == 2
    assert "exists already" in said.err
    assert path.read_text() == "mine"


def test_an_unknown_template_is_answered_with_those_there_are(wardround: Terminal, tmp_path: Path) -> None:
    said = wardround("study", "new", tmp_path / "study.toml", "--template", "survival")
    assert said.code == 2
    assert "binary, image, multiclass" in said.err
    assert not (tmp_path / "study.toml").exists()


def test_findings_are_an_answer_and_not_an_error(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    path.write_text(path.read_text().replace("quorum = 3", "quorom = 2"))
    said = wardround("study", "check", path)
    assert (said.code, said.err) == (1, "")
    line = path.read_text().splitlines().index(next(row for row in path.read_text().splitlines() if row.startswith("quorom"))) + 1
    assert f"line {line}, rounds.quorom: there is no such key." in said.out
    found = wardround("study", "check", path, "--json")
    assert (found.code, found.document["ok"]) == (1, False)
    assert {one["key"] for one in found.document["findings"]} == {"rounds.quorom", "rounds.quorum"}
    assert {"line", "key", "wrong", "remedy"} == set(found.document["findings"][0])


def test_a_missing_file_is_wrong_use(wardround: Terminal, tmp_path: Path) -> None:
    said = wardround("study", "check", tmp_path / "nowhere.toml")
    assert said.code == 2
    assert "wardround study new" in said.err


def test_an_expired_study_is_warned_of(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    path.write_text(path.read_text().replace("# expires = 2027-12-31", "expires = 2020-12-31"))
    said = wardround("study", "check", path)
    assert said.code == 0
    assert "Warning: the study expired on 2020-12-31" in said.out
    assert "expired" in wardround("study", "check", path, "--json").document["warnings"][-1]


def test_the_schema_is_json(wardround: Terminal) -> None:
    assert json.loads(wardround("study", "schema").out)["title"] == "Protocol"


def test_a_check_says_what_the_secure_sum_tolerates(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    said = " ".join(wardround("study", "check", path).out.split())
    assert "closes with at most 3 of them absent, so with at least 7" in said
    assert "no total over fewer than 3 hospitals" in said


@pytest.mark.parametrize(
    ("sites", "quorum", "key"), [(2, 2, "bounds.sites"), (1, 1, "bounds.sites"), (10, 2, "rounds.quorum"), (3, 1, "rounds.quorum")]
)
def test_a_secure_sum_of_two_hospitals_is_no_study(wardround: Terminal, tmp_path: Path, sites: int, quorum: int, key: str) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    path.write_text(path.read_text().replace("sites = 10 ", f"sites = {sites} ").replace("quorum = 3 ", f"quorum = {quorum} "))
    found = wardround("study", "check", path, "--json")
    (finding,) = found.document["findings"]
    assert found.code == 1 and finding["key"] == key
    assert "hides nothing" in finding["wrong"] and 'combine = "plain"' in finding["remedy"]


def test_of_two_hospitals_no_secure_sum_is_claimed(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    text = path.read_text().replace('combine = "secure"', 'combine = "plain" ').replace("quorum = 3 ", "quorum = 2 ")
    path.write_text(text.replace("sites = 10 ", "sites = 2 "))
    said = " ".join(wardround("study", "check", path).out.split())
    assert "each takes its own sums off the total. So none is claimed." in said and "Plain sums" in said
    path.write_text(text)
    assert "none is claimed" not in wardround("study", "check", path).out


def test_a_study_of_statistics_is_summarised_without_a_model(wardround: Terminal, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(plain_text("plain", 10))
    done = wardround("study", "check", study)
    assert done.code == 0 and "The model receives" not in done.out
    said = " ".join(done.out.split())
    assert "No count of fewer than 10 patients leaves a hospital" in said and "no model is trained or tested" in said


def test_of_an_image_the_page_says_that_the_model_receives_one(wardround: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    wardround("study", "new", path, "--template", "image")
    (image,) = wardround("study", "check", path, "--json").document["inputs"]
    said = " ".join(wardround("study", "check", path).out.split())
    assert f"The model receives an image, {image}. It gives 1 number for each image." in said
    assert "columns" not in said
