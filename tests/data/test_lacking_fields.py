"""In a study of statistics a site may lack a field; in one that trains it may not."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.learning.statistics.studies import plan, rows
from wardround.data.contract_check import Checked, check
from wardround.data.site_file import load_site


def checked(folder: Path, mapped: str = "", drop: str = "weight") -> Checked:
    listed = [{"patient": str(number), **row} for number, row in enumerate(rows({"north": 30})["north"])]
    frame = pl.DataFrame(listed).drop(drop)
    site = folder / "site.toml"
    site.write_text(f'name = "north"\n[source]\nkind = "table"\npath = "rows.csv"\n{mapped}')
    return check(frame, load_site(site), plan("secure"))


def test_a_field_without_a_column_counts_as_missing_and_is_named(tmp_path: Path) -> None:
    found = checked(tmp_path)
    assert found.dataset is not None and bool((found.dataset.columns["weight"] != found.dataset.columns["weight"]).all())
    (warning,) = [one for one in found.report.findings if one.field == "weight" and "no such column" in one.sentence]
    assert warning.level == "warning" and "[map]" in warning.remedy


def test_a_code_without_a_column_too(tmp_path: Path) -> None:
    found = checked(tmp_path, drop="sex")
    assert found.dataset is not None and set(found.dataset.columns["sex"].tolist()) == {-1}


def test_a_column_that_the_site_file_names_must_be_there(tmp_path: Path) -> None:
    found = checked(tmp_path, '[map]\nweight = "wieght"\n')
    assert found.dataset is None
    assert [one.field for one in found.report.errors] == ["weight"]
