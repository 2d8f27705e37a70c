from __future__ import annotations

from pathlib import Path

import pytest

from wardround.data.site_file import FieldMap, load_site
from wardround.study.errors import ProtocolError

GOOD = """\
name = "north"
[source]
kind = "table"
path = "rows.csv"
missing = ["?"]
[map]
patient = 0
age = "AGE"
chol = { column = "CHOL", unit = "mmol/L", factor = 38.67, missing = [0] }
[map.sex]
codes = { 1 = "male", 0 = "female" }
[split]
column = "set"
train = ["A", 1]
test = ["C"]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "site.toml").write_text(text, encoding="utf-8")
    return folder / "site.toml"


def test_a_site_file_is_read(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, GOOD))
    assert site.name == "north"
    assert site.source.kind == "table"
    assert site.source.options["path"] == str(tmp_path / "rows.csv")
    assert site.source.options["decimal"] == "."
    assert (site.column_of("patient"), site.column_of("age"), site.column_of("sex"), site.column_of("ill")) == (0, "AGE", "sex", "ill")
    assert site.map["chol"] == FieldMap(column="CHOL", unit="mmol/L", factor=38.67, missing=("0",))
    assert site.map["sex"].codes == {"1": "male", "0": "female"}
    assert site.split is not None
    assert site.split.train == ("A", "1")


def test_the_folder_of_the_site_file_counts_not_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_site("sub/site.toml").source.options["path"] == str(tmp_path / "sub" / "rows.csv")
    absolute = GOOD.replace('"rows.csv"', '"/data/rows.csv"')
    assert load_site(write(tmp_path, absolute)).source.options["path"] == "/data/rows.csv"


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_site(tmp_path / "site.toml").name == "north"


def test_place_names_file_line_and_key(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, GOOD))
    assert site.place("map", "chol", "unit") == "site.toml, line 9, map.chol.unit"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('name = "north"\n', "", None, "name: is missing"),
        ('name = "north"', "name = 3", 1, "name"),
        ('name = "north"', 'name = "north"\ncolour = "red"', 2, "colour: there is no such key"),
        ('kind = "table"', 'kind = "tabel"', 3, "there is no source named 'tabel'"),
        ('missing = ["?"]', 'mising = ["?"]', 5, "Did you mean 'missing'?"),
        ('missing = ["?"]', 'encoding = "klingon"', 5, "encoding: is not known"),
        ('missing = ["?"]', 'separator = "ab"', 5, "separator: is not one character"),
        ('missing = ["?"]', 'decimal = ";"', 5, "decimal"),
        ('age = "AGE"', "age = true", 8, "map.age"),
        ('age = "AGE"', "age = -1", 8, "counted from 0"),
        ('age = "AGE"', 'age = { colum = "AGE" }', 8, "Did you mean 'column'?"),
        ("factor = 38.67", "factor = 0", 9, "map.chol.factor: 0 would make every value the same"),
        ("factor = 38.67", "factor = nan", 9, "map.chol.factor"),
        ('missing = ["?"]', 'encoding = "base64"', 5, "encoding: is not known"),
        ('missing = ["?"]', 'encoding = "rot13"', 5, "encoding: is not known"),
        ('missing = ["?"]', 'encoding = "punycode"', 5, "encoding: is not known"),
        ('missing = ["?"]', 'encoding = "undefined"', 5, "encoding: is not known"),
        ('missing = ["?"]', 'encoding = "a\\u0000b"', 5, "encoding"),
        ("0 = ", '" 1" = ', 11, "a local code stands there twice"),
        ('train = ["A", 1]', "train = []", 14, "split.train"),
        ('test = ["C"]', 'test = ["C", "A"]', 12, "a value stands in two parts"),
        ("[map]", "map", None, "this is not TOML"),
    ],
)
def test_a_mistake_is_named_with_line_key_and_remedy(tmp_path: Path, old: str, new: str, line: int | None, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ProtocolError) as refused:
        load_site(write(tmp_path, GOOD.replace(old, new, 1)))
    message = str(refused.value)
    assert "site.toml" in message
    assert said in message
    assert refused.value.remedy
    if line:
        assert f"line {line}" in message


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    bad = GOOD.replace('name = "north"', "nam = 1").replace('age = "AGE"', "age = true").replace("mising", "missing").replace("path", "pat")
    with pytest.raises(ProtocolError) as refused:
        load_site(write(tmp_path, bad))
    for key in ("nam:", "name:", "map.age", "source.pat"):
        assert key in str(refused.value)


def test_a_path_that_no_file_can_have_is_said(tmp_path: Path) -> None:
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(ProtocolError, match="cannot be read"):
            load_site(tmp_path / name)


def test_a_missing_file_and_a_wrong_encoding_are_said(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="there is no such file"):
        load_site(tmp_path / "site.toml")
    (tmp_path / "site.toml").write_bytes('name = "größer"'.encode("latin-1"))
    with pytest.raises(ProtocolError, match="not UTF-8"):
        load_site(tmp_path / "site.toml")
