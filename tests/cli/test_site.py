"""`wardround site` describes a hospital's data and holds it against the contract."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from wardround.data.site_file import load_site

FIELDS = ["patient", "admission", "age", "creatinine", "length_of_stay", "readmitted"]


@pytest.fixture
def study(wardround: Terminal, tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    wardround("study", "new", path)
    return path


def write_table(path: Path, age: str = "50") -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(FIELDS)
        for number in range(60):
            ill = number % 3 == 0
            table.writerow([f"p{number}", "planned", age if number == 7 else "61", "1.5", str(number % 9), "yes" if ill else "no"])


def test_a_new_site_file_holds_for_a_table_with_the_contract_s_own_names(wardround: Terminal, tmp_path: Path, study: Path) -> None:
    site = tmp_path / "site.toml"
    assert wardround("site", "new", site, "--study", study, "--table", "rows.csv").code == 0
    assert set(tomllib.loads(site.read_text())["map"]) == set(FIELDS)
    write_table(tmp_path / "rows.csv")
    said = wardround("site", "check", site, "--study", study)
    assert said.code == 0, said
    assert "can take part" in said.out
    found = wardround("site", "check", site, "--study", study, "--json").document
    assert found["ok"] is True
    assert found["rows"] == "60"


@pytest.mark.parametrize(
    ("file", "name"),
    [("nord", "nord"), ("Köln Süd", "Koln-Sud"), ("2nd", "site-2nd"), ("東", "site"), ("x" * 80, "x" * 64), ("a.b_c-", "a.b_c")],
)
def test_a_site_is_called_as_its_file(wardround: Terminal, tmp_path: Path, study: Path, file: str, name: str) -> None:
    path = tmp_path / f"{file}.toml"
    assert wardround("site", "new", path, "--study", study).code == 0
    assert load_site(path).name == name


def test_names_that_toml_must_quote_are_quoted(wardround: Terminal, tmp_path: Path, study: Path) -> None:
    study.write_text(study.read_text().replace("age =", '"age.at" =').replace('"planned"', '"not \\"urgent\\""'))
    assert wardround("study", "check", study).code == 0
    wardround("site", "new", tmp_path / "site.toml", "--study", study)
    maps = tomllib.loads((tmp_path / "site.toml").read_text())["map"]
    assert maps["age.at"] == "age.at"
    assert maps["admission"]["codes"] == {'not "urgent"': 'not "urgent"', "emergency": "emergency"}


def test_data_that_does_not_fit_is_an_answer_without_values(wardround: Terminal, tmp_path: Path, study: Path) -> None:
    wardround("site", "new", tmp_path / "site.toml", "--study", study)
    write_table(tmp_path / "patients.csv", age="777")
    said = wardround("site", "check", tmp_path / "site.toml", "--study", study)
    assert said.code == 1
    assert "age" in said.out
    assert "cannot take part yet" in said.out
    assert "777" not in said.out + said.err
    assert wardround("site", "check", tmp_path / "site.toml", "--study", study, "--json").document["ok"] is False


def test_a_site_file_with_mistakes_is_an_answer(wardround: Terminal, tmp_path: Path, study: Path) -> None:
    (tmp_path / "site.toml").write_text('name = "north"\nsauce = 1\n[source]\nkind = "table"\npath = "x.csv"\n')
    said = wardround("site", "check", tmp_path / "site.toml", "--study", study)
    assert said.code == 1
    assert "line 2, sauce" in said.out
    assert "'source'" in said.out


def test_a_table_that_is_not_there_is_an_answer(wardround: Terminal, tmp_path: Path, study: Path) -> None:
    wardround("site", "new", tmp_path / "site.toml", "--study", study)
    said = wardround("site", "check", tmp_path / "site.toml", "--study", study)
    assert said.code == 1
    assert "no such file" in said.err
