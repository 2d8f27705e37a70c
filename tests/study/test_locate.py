"""A key of a TOML text is found on its own line, or on that of its nearest parent."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.study.protocol.locate import line_of

TEXT = '''# a comment with [brackets] and key = value
top = 1
list = [
    "x = 1",   # [not.a.table]
    { y = "]" },
]
text = """
[neither]
is = "a table" \\""" nor this
""""
after = 2
[table]
a.b = 1
"quoted key" = 2
'single.quoted' = 3
[ table . inner ]
inline = { c = { d = 1 } }
[[phases]]
name = "one"
[[phases]]
name = "two"
[phases.options]
rounds = 3
[[phases.steps]]
at = 1
[[phases.steps]]
at = 2
"\\u00e4" = 5'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("list", 1, "y"), 3),
        (("text",), 7),
        (("is",), None),
        (("neither",), None),
        (("after",), 11),
        (("table",), 12),
        (("table", "a"), 13),
        (("table", "a", "b"), 13),
        (("table", "quoted key"), 14),
        (("table", "single.quoted"), 15),
        (("table", "missing"), 12),
        (("table", "inner"), 16),
        (("table", "inner", "inline", "c", "d"), 17),
        (("phases",), 18),
        (("phases", 0, "name"), 19),
        (("phases", 1), 20),
        (("phases", 1, "name"), 21),
        (("phases", 1, "options", "rounds"), 23),
        (("phases", 1, "steps", 1, "at"), 27),
        (("phases", 1, "steps", 1, "ä"), 28),
        (("phases", 7, "name"), 18),
        (("nowhere", "at", "all"), None),
        ((), None),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int | None) -> None:
    tomllib.loads(TEXT)  # the text is TOML indeed
    assert line_of(TEXT, path) == line


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
STRINGS = st.sampled_from(
    ['"[t]"', '"a = 1"', "'''\n[t]\nb = 2\n'''", '"""\n\\"""x = 1\n"""', "[\n 1, # ]\n 2\n]", "{ z = 1 }", "1", "'#'"]
)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, STRINGS, max_size=4), max_size=4))
def test_every_key_of_any_table_is_found(tables: dict[str, dict[str, str]]) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, keys in tables.items():
        expected[(table,)] = _next(lines)
        lines.append(f"[{_quoted(table)}]")
        for key, value in keys.items():
            expected[(table, key)] = _next(lines)
            lines.append(f"{_quoted(key)} = {value}")
    text = "\n".join(lines)
    data: dict[str, Any] = tomllib.loads(text)
    assert {table: set(keys) for table, keys in data.items()} == {table: set(keys) for table, keys in tables.items()}
    assert {path: line_of(text, path) for path in expected} == expected


def _next(lines: list[str]) -> int:
    return sum(line.count("\n") + 1 for line in lines) + 1


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
