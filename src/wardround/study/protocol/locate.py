"""Find the line on which a key of a TOML text stands, so that an error can point at it.

Python's own TOML reader forgets lines. This scanner reads only headers and keys, and skips what may span lines (strings, arrays, inline
tables); it is never used to read a value. Where a key has no line of its own (inside an inline table, or missing), its nearest
parent's line is given.

Source: TOML 1.0.0, sections Keys, Table, Array of Tables, https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_KEY})[ \t]*\]")
_ASSIGN = re.compile(rf"[ \t]*({_KEY})[ \t]*=")
_TOKEN = re.compile(r""""{3}|'{3}|"(?:\\.|[^"\\])*"|'[^']*'|\#.*|[\[\]{}]""")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    r"""Return the 1-based line of a key, or of its nearest parent that has a line; None when not even the first part is there.

    Args:
        text: of a TOML file.
        path: names of tables and keys, with the index of each entry in an array of tables.

    Example:
        >>> line_of("[a]\nb.c = 1\n[[d]]\ne = { f = 2 }", ("d", 0, "e", "f"))
        4
    """
    lines: dict[Path, int] = {}
    for found, number in _keys(text):
        for length in range(1, len(found) + 1):
            lines.setdefault(found[:length], number)
    wanted = tuple(path)
    return next((lines[wanted[:length]] for length in range(len(wanted), 0, -1) if wanted[:length] in lines), None)


def _keys(text: str) -> Iterator[tuple[Path, int]]:
    """Yield the full path of each header and key, with its line."""
    table: Path = ()
    entries: dict[Path, int] = {}
    string, depth = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not string and not depth:
            header, assign = _HEADER.match(line), _ASSIGN.match(line)
            if header:
                table = _table(_parts(header[2]), header[1] == "[[", entries)
                yield table, number
                continue
            if assign:
                yield (*table, *_parts(assign[1])), number
                line = line[assign.end() :]
        string, depth = _still_open(line, string, depth)


def _table(names: Path, array: bool, entries: dict[Path, int]) -> Path:
    """Return the path of a header, with the index of each array of tables on the way; counts a new entry of one."""
    path: Path = ()
    for name in names[:-1]:
        path = (*path, name)
        if path in entries:
            path = (*path, entries[path])
    path = (*path, names[-1])
    if array:
        entries[path] = entries.get(path, -1) + 1
    return (*path, entries[path]) if path in entries else path


def _still_open(line: str, string: str, depth: int) -> tuple[str, int]:
    """Return which multi-line string is open after a line ("" for none), and how many brackets are."""
    at = 0
    while True:
        if string:
            end = _end_of(line, string, at)
            if end is None:
                return string, depth
            at, string = end, ""
        token = _TOKEN.search(line, at)
        if token is None:
            return "", depth
        at = token.end()
        if token[0] in ('"""', "'''"):
            string = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1


def _end_of(line: str, string: str, at: int) -> int | None:
    """Return where an open multi-line string ends in a line, or None. Up to two quotes may stand right before the closing three."""
    closing = re.compile(r'(?:\\.|[^"\\]|"(?!""))*?("{3,5})' if string == '"""' else r"(?:[^']|'(?!''))*?('{3,5})")
    found = closing.match(line, at)
    return found.end() if found else None


def _parts(key: str) -> Path:
    """Return the names in a dotted key, without quotes."""
    return tuple(_unquoted(part) for part in re.findall(_PART, key))


def _unquoted(part: str) -> str:
    """Return one part of a key as its name."""
    if part[0] == "'":
        return part[1:-1]
    if part[0] != '"':
        return part
    return _ESCAPE.sub(_meant, part[1:-1])


def _meant(escape: re.Match[str]) -> str:
    """Return the character that an escape stands for."""
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else _ESCAPED.get(escape[3], escape[3])
