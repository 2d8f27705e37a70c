"""One source becomes simulated hospitals: every patient at exactly one, the same files for the same seed."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import wardround
from tests.support import plan
from wardround.data.load import inspect
from wardround.data.site_file import load_site
from wardround.study.errors import DataError, ProtocolError, StoreError
from wardround.study.protocol import Protocol

SPLIT = '[split]\ncolumn = "part"\ntrain = ["a"]\nvalidation = ["b"]\ntest = ["c"]\n'


def study(**changes: Any) -> Protocol:
    return Protocol.model_validate(plan(contract={"patient": "patient"}, bounds={"sites": 20, "examples": 500}, **changes))


def rows(patients: int = 200, seed: int = 1) -> list[list[str]]:
    """Return one to three rows of each patient; a scanner and a part belong to the patient."""
    rng, found = np.random.default_rng(seed), []
    for number in range(patients):
        scanner, part, sex = (
            rng.choice(["old", "new", "mobile"], p=[0.5, 0.4, 0.1]),
            rng.choice(["a", "a", "b", "c"]),
            rng.choice(["f", "m"]),
        )
        for _ in range(rng.integers(1, 4)):
            found.append([f"p{number}", f"{rng.normal():.4f}", f"{rng.normal():.4f}", sex, str(int(rng.random() < 0.3)), scanner, part])
    return found


def source(folder: Path, table: list[list[str]], further: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([["MRN", "A", "B", "sex", "ill", "scanner", "part"], *table])
    text = 'name = "all"\n[source]\nkind = "table"\npath = "all.csv"\nseparator = ";"\n[map]\npatient = "MRN"\na = "A"\nb = "B"\n'
    (folder / "all.toml").write_text(text + further)
    return folder / "all.toml"


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("source"), rows(), SPLIT)


def held(site: Path) -> list[str]:
    """Return the patient of each row that a hospital holds."""
    return list(pl.read_parquet(site.with_suffix(".parquet")).get_column("MRN"))


def data(site: Path) -> Any:
    return inspect(load_site(site), study()).dataset


WAYS: list[dict[str, Any]] = [
    {"by": "iid", "sites": 7},
    {"by": "labels", "sites": 4, "alpha": 1.0, "least": 5},
    {"by": "quantity", "sites": 5, "beta": 0.5},
    {"by": ["quantity", "labels"], "sites": 5, "alpha": 0.3},
    {"by": ["quantity", "shift"], "sites": 3, "law": "lognormal", "sigma": 0.5},
    {"by": "column", "column": "scanner"},
    {"by": ["column", "shift"], "column": "scanner"},
    {"by": ["labels", "quantity"], "sites": 4, "test": "central"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "+".join([way["by"]] if isinstance(way["by"], str) else way["by"]))
def test_every_patient_is_at_exactly_one_hospital_with_all_rows(everyone: Path, tmp_path: Path, way: dict[str, Any]) -> None:
    sites = wardround.partition(everyone, study(), out=tmp_path, seed=3, **way)
    there = [set(held(site)) for site in sites]
    assert sum(map(len, there)) == len(set.union(*there)) == 200
    assert sum((Counter(held(site)) for site in sites), Counter()) == Counter(row[0] for row in rows())
    told = json.loads((tmp_path / "partition.json").read_text())
    assert told["simulated"] and [one["patients"] for one in told["sites"]] == [len(one) for one in there]
    assert min(map(len, there)) >= way.get("least", 10)
    for site in sites:
        assert "simulated hospital" in site.read_text() and load_site(site).simulated
        assert any("simulated hospital" in one.sentence for one in inspect(load_site(site), study()).report.findings)


def test_the_same_seed_gives_the_same_bits_whatever_the_order_of_rows(everyone: Path, tmp_path: Path) -> None:
    way: dict[str, Any] = {"by": ["labels", "quantity"], "sites": 4}
    one, again, other = (
        wardround.partition(everyone, study(), out=tmp_path / name, seed=seed, **way) for name, seed in (("1", 1), ("2", 1), ("3", 2))
    )
    for first, second in zip(one, again, strict=True):
        assert first.with_suffix(".parquet").read_bytes() == second.with_suffix(".parquet").read_bytes()
        assert first.read_bytes() == second.read_bytes()
    mixed = rows()
    random.Random(1).shuffle(mixed)
    shuffled = wardround.partition(source(tmp_path / "shuffled", mixed, SPLIT), study(), out=tmp_path / "4", seed=1, **way)
    assert [set(held(site)) for site in shuffled] == [set(held(site)) for site in one]
    assert [set(held(site)) for site in other] != [set(held(site)) for site in one]


def test_a_central_test_part_is_dealt_out_whole(everyone: Path, tmp_path: Path) -> None:
    sites = wardround.partition(everyone, study(), "labels", 4, tmp_path, test="central", alpha=0.3)
    tested = [data(site).rows("test") for site in sites]
    patients = [len(set(data(site).patient[rows])) for site, rows in zip(sites, tested, strict=True)]
    official = {row[0] for row in rows() if row[-1] == "c"}
    assert sum(patients) == len(official) and max(patients) - min(patients) <= 1


def test_a_column_names_the_hospitals(everyone: Path, tmp_path: Path) -> None:
    sites = wardround.partition(everyone, study(), "column", out=tmp_path, column="scanner")
    assert [load_site(site).name for site in sites] == ["mobile", "new", "old"]
    assert all(set(pl.read_parquet(site.with_suffix(".parquet")).get_column("scanner")) == {site.stem} for site in sites)


def test_a_shift_changes_numbers_and_nothing_else(everyone: Path, tmp_path: Path) -> None:
    plain = wardround.partition(everyone, study(), "iid", 3, tmp_path / "plain")
    moved = wardround.partition(everyone, study(), ["iid", "shift"], 3, tmp_path / "moved", offset=2.0)
    offsets = []
    for one, other in zip(map(data, plain), map(data, moved), strict=True):
        assert np.array_equal(one.columns["ill"], other.columns["ill"]) and np.array_equal(one.columns["sex"], other.columns["sex"])
        assert np.array_equal(one.patient, other.patient) and np.array_equal(one.role, other.role)
        offsets.append(float(np.mean(other.columns["a"] - one.columns["a"])))
    assert np.std(offsets) > 0.1


def test_iid_hospitals_are_alike(everyone: Path, tmp_path: Path) -> None:
    wardround.partition(everyone, study(), "iid", 4, tmp_path)
    classes = [one["classes"] for one in json.loads((tmp_path / "partition.json").read_text())["sites"]]
    assert all(max(one[code] for one in classes) - min(one[code] for one in classes) <= 1 for code in ("0", "1"))


@pytest.mark.parametrize("by", ["quantity", ["labels", "quantity"], "labels"], ids=str)
def test_a_class_that_no_patient_has_does_not_matter(everyone: Path, tmp_path: Path, by: Any) -> None:
    agreed = plan(contract={"patient": "patient"}, bounds={"sites": 20, "examples": 500})
    agreed["contract"]["fields"]["ill"] = {"type": "code", "codes": ["none", "0", "1"]}
    agreed |= {"question": {**agreed["question"], "kind": "multiclass"}, "evaluation": {"metrics": ["accuracy"], "replicates": 0}}
    sites = wardround.partition(everyone, Protocol.model_validate(agreed), by, 4, tmp_path, least=5)
    there = [set(held(site)) for site in sites]
    assert sum(map(len, there)) == len(set.union(*there)) == 200 and min(map(len, there)) >= 5


def findings(sick: Callable[[int], str]) -> list[list[str]]:
    """Return one row of each of 200 patients with two findings: sex and what is given of the second."""
    return [[f"p{number}", "0.1", "0.2", "fm"[number % 2], sick(number), "old", "a"] for number in range(200)]


def of_findings() -> Protocol:
    fields = {name: {"type": "number", "range": [-5, 5], "unit": "1"} for name in "ab"}
    fields |= {"sex": {"type": "code", "codes": ["f", "m"]}, "ill": {"type": "code", "codes": ["0", "1"], "missing": "unknown"}}
    contract = {"patient": "patient", "labels": ["sex", "ill"], "fields": fields}
    made = plan(bounds={"sites": 20, "examples": 500}, question={"kind": "multilabel"})
    return Protocol.model_validate({**made, "contract": contract, "evaluation": {"metrics": ["auroc"], "replicates": 0}})


def test_several_labels_divide_by_their_combinations(tmp_path: Path) -> None:
    """A sparse alpha leaves nearly every hospital one combination; three patients of a rare one go with the rest."""
    table = findings(lambda number: "" if number < 3 else "01"[number % 4 // 2])
    sites = wardround.partition(source(tmp_path, table), of_findings(), "labels", 4, tmp_path / "out", alpha=0.05, least=1)
    found = [pl.read_parquet(site.with_suffix(".parquet")) for site in sites]
    assert sum(one.height for one in found) == 200
    largest = [max(Counter(zip(one["sex"], one["ill"].cast(pl.String), strict=True)).values()) / one.height for one in found]
    assert np.mean(largest) > 0.6, "alike hospitals would have a quarter of each combination"


def test_labels_that_are_all_alike_divide_nothing(tmp_path: Path) -> None:
    table = [[*row[:3], "f", "1", *row[5:]] for row in findings(lambda number: "1")]
    with pytest.raises(ProtocolError, match="all patients are of one"):
        wardround.partition(source(tmp_path, table), of_findings(), ["labels", "quantity"], 4, tmp_path / "out")
    assert len(wardround.partition(tmp_path / "all.toml", of_findings(), "quantity", 4, tmp_path / "out")) == 4


def test_a_source_is_not_replaced_by_what_it_is_divided_into(everyone: Path, tmp_path: Path) -> None:
    first = wardround.partition(everyone, study(), "iid", 2, tmp_path)
    before = {path: path.read_bytes() for path in sorted(tmp_path.iterdir())}
    with pytest.raises(StoreError, match="holds the source"):
        wardround.partition(first[0], study(), "iid", 2, tmp_path)
    assert before == {path: path.read_bytes() for path in sorted(tmp_path.iterdir())}


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"by": "label"}, ProtocolError, "no partitioner named 'label'"),
    ({"by": "labels", "beta": 1}, ProtocolError, "beta: is no option of labels"),
    ({"by": "labels", "alpha": -1}, ProtocolError, "alpha"),
    ({"by": ["labels", "column"], "column": "scanner"}, ProtocolError, "decides alone"),
    ({"by": "column", "column": "region"}, ProtocolError, "no column 'region'"),
    ({"by": "column", "column": "scanner", "sites": 9}, ProtocolError, "makes 3 hospitals, not 9"),
    ({"by": "column", "column": "scanner", "least": 40}, ProtocolError, "1 of 3 hospitals would have fewer than 40"),
    ({"by": "iid", "sites": 21}, ProtocolError, "200 patients cannot be divided over 21 hospitals of at least 10"),
    ({"by": "labels", "sites": 10, "alpha": 0.01}, ProtocolError, "always had fewer than 10"),
    ({"by": []}, ProtocolError, "names no way"),
]


@pytest.mark.parametrize(("way", "kind", "words"), REFUSED)
def test_impossible_wishes_are_refused_in_one_sentence(
    everyone: Path, tmp_path: Path, way: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        wardround.partition(everyone, study(), out=tmp_path / "out", **way)
    assert not (tmp_path / "out").exists()


def test_what_the_source_lacks_is_said(tmp_path: Path) -> None:
    table = rows(60)
    table[3][5] = ""
    plain = source(tmp_path, table)
    with pytest.raises(DataError, match="empty in 1 of"):
        wardround.partition(plain, study(), "column", out=tmp_path / "out", column="scanner")
    with pytest.raises(ProtocolError, match="states none"):
        wardround.partition(plain, study(), "iid", 3, tmp_path / "out", test="central")
    table[0][4] = "perhaps"
    with pytest.raises(DataError):
        wardround.partition(source(tmp_path, table), study(), "iid", 3, tmp_path / "out")


def test_a_folder_with_other_files_is_left_alone_and_an_earlier_partition_replaced(everyone: Path, tmp_path: Path) -> None:
    wardround.partition(everyone, study(), "iid", 5, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    wardround.partition(everyone, study(), "iid", 2, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.toml")} == {"hospital-1.toml", "hospital-2.toml"}
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(StoreError, match="no earlier partition"):
        wardround.partition(everyone, study(), "iid", 2, tmp_path / "other")


def test_made_up_rows_are_not_passed_on_as_if_they_were_real(tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text('name = "all"\n[source]\nkind = "synthetic"\nrows = 100\n')
    with pytest.raises(ProtocolError, match="made up"):
        wardround.partition(tmp_path / "all.toml", study(), "iid", 2, tmp_path / "out")


def test_partitioned_hospitals_run_a_study(everyone: Path, tmp_path: Path) -> None:
    sites = wardround.partition(everyone, study(), ["labels", "shift"], 3, tmp_path / "sites", alpha=5)
    result = wardround.simulate(study(), sites, tmp_path / "run").result
    assert set(result["sites"]) == {"hospital-1", "hospital-2", "hospital-3"} and not result["synthetic"]


def test_pictures_are_divided_with_their_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    label = (rng.random(90) < 0.5).astype(np.int64)
    pictures = rng.integers(0, 100, (90, 6, 6)).astype(np.uint8) + (label * 100).astype(np.uint8)[:, None, None]
    names = np.array([f"p{number // 2}" for number in range(90)])
    np.savez(tmp_path / "all.npz", scans=pictures, ill=label, MRN=names)
    text = 'name = "all"\n[source]\nkind = "images"\npath = "all.npz"\n[map]\npatient = "MRN"\nimage = "scans"\n'
    (tmp_path / "all.toml").write_text(text)
    image = {"type": "image", "shape": [1, 6, 6], "intensity": [0, 255]}
    fields = {"image": image, "ill": {"type": "code", "codes": ["0", "1"]}}
    contract = {"patient": "patient", "label": "ill", "fields": fields}
    agreed = Protocol.model_validate({**plan(), "contract": contract, "model": {"kind": "cnn"}})
    for by in ("quantity", ["labels", "quantity", "shift"]):
        sites = wardround.partition(tmp_path / "all.toml", agreed, by, 3, tmp_path / "out", least=5)
        again = [site.with_suffix(".npz").read_bytes() for site in sites]
        wardround.partition(tmp_path / "all.toml", agreed, by, 3, tmp_path / "out", least=5)
        assert again == [site.with_suffix(".npz").read_bytes() for site in sites]
        found = [inspect(load_site(site), agreed).dataset for site in sites]
        there = [one for one in found if one is not None]
        assert sum(len(one) for one in there) == 90 and sum(one.patients for one in there) == 45
        if by == "quantity":
            for one in there:
                assert np.array_equal(one.columns["image"].mean(axis=(1, 2, 3)) > 100, one.columns["ill"] == 1)
