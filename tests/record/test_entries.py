from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.record.player import Player
from wardround.record.entries import KINDS, MOST_BYTES, PLACES, SCHEMAS, band, check, decode, encode, plain
from wardround.study.canonical import canonical
from wardround.study.errors import WardroundError

COMMON = {"v", "t", "study", "seq", "ts"}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One entry of each type."""
    player = Player(refuses={("basel", "train", 0): "answer"})
    player.play(tmp_path_factory.mktemp("played"))
    player.add("study", "round_short", phase="train", round=9, attempt=0, sites=1, quorum=2)
    player.add("study", "resumed", phase="train", round=9)
    player.add("study", "stopped", reason="asked to")
    player.add("study", "tables", result=f"sha256:{'0' * 64}", report=f"sha256:{'0' * 64}")
    player.add("study", "passport", **dict.fromkeys(("model", "result", "passport", "page"), f"sha256:{'0' * 64}"))
    where = {"phase": "train", "round": 9, "attempt": 0}
    envelope_of_basel = next(entry["envelope"] for entry in player.logs["basel"].entries() if entry["t"] == "approval")
    player.add("study", "kept", site="basel", envelope=envelope_of_basel)
    player.add("study", "unheard", site="basel")
    player.add("study", "late", site="basel", **where, commit=f"sha256:{'0' * 64}", bytes=8, entry="0" * 64, index=7)
    protocol = f"sha256:{'0' * 64}"
    player.add("basel", "declined", site="basel", protocol=protocol, reason="not now")
    player.add("basel", "left", site="basel", protocol=protocol)
    player.add("basel", "results", site="basel", protocol=protocol, to="coordinator", kind="results", commit=protocol, bytes=900)
    player.add("basel", "handed_over", site="basel", protocol=protocol, to="coordinator", head=(3, "0" * 64))
    found = {entry["t"]: entry for log in player.logs.values() for entry in log.entries()}
    player.add("basel", "changed", site="basel", snapshot=protocol, rows="<10", patients="<10", decision="stop")
    counts = {"rows": "100-199", "patients": "100-199", "withdrew": "<10", "changed": "<10"}
    player.add("basel", "snapshot", site="basel", snapshot=protocol, source="table", **counts, why="withdrawal")
    player.add(
        "basel", "egress", **{name: found["egress"][name] for name in SCHEMAS[1, "egress"].fields if name not in COMMON}, data=protocol
    )
    newer = list(player.logs["basel"].entries())[-3:]
    return {**found, "changed": newer[0], "snapshot 2": newer[1], "egress 2": newer[2]}


def test_every_type_has_an_example_and_every_example_passes(examples: dict[str, dict[str, Any]]) -> None:
    assert {(entry["v"], entry["t"]) for entry in examples.values()} == SCHEMAS.keys()
    for entry in examples.values():
        assert check(entry) == SCHEMAS[entry["v"], entry["t"]].book
        assert decode(encode(entry)) == entry


def test_the_fast_encoding_is_canonical_json(examples: dict[str, dict[str, Any]]) -> None:
    for entry in examples.values():
        assert encode(entry) == canonical(entry)


printable = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=40)


@given(printable, st.integers(0, 2**53 - 1))
def test_the_fast_encoding_is_canonical_for_any_text_and_number_that_passes(text: str, number: int) -> None:
    entry = {
        "v": 1,
        "t": "refusal",
        "study": "s",
        "seq": number,
        "ts": "2026-11-20T10:00:00Z",
        "site": "a",
        "phase": "p" + text,
        "round": number,
    }
    entry |= {"attempt": 0, "where": "admit", "reason": text, "remedy": text}
    check(entry)
    assert encode(entry) == canonical(entry)


WRONG = [None, True, -1, 1.0, 2**53, "\n", "\u202e", "\ud800", "x" * 3001, [1], {"\n": 1}]


def altered(entry: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in entry:
        yield name, {key: value for key, value in entry.items() if key != name}
        for value in WRONG:
            yield name, {**entry, name: value}


def test_every_field_of_every_type_refuses_what_it_is_not(examples: dict[str, dict[str, Any]]) -> None:
    for entry in examples.values():
        with pytest.raises(WardroundError, match="does not list"):
            check({**entry, "extra": 1})
        for name, wrong in altered(entry):
            with pytest.raises(WardroundError) as caught:
                check(wrong)
            assert name in ("v", "t") or f"'{name}'" in caught.value.message
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "records"),
        ("kind", ""),
        ("task", "sha256:" + "AB" * 32),
        ("task", "ab" * 32),
        ("stage", ""),
        ("to", ""),
        ("ts", "2026-13-20T10:00:00Z"),
        ("bounds", {"bits": [32]}),
        ("bounds", {"bits": [True], "refused_over": "x"}),
        ("privacy", {"epsilon": "3"}),
        ("privacy", {"mode": "dp", "epsilon": 3.0}),
        ("privacy", {"mode": "dp", "Upper": 1}),
        ("examples", "100-200"),
        ("examples", "123"),
        ("study_head", [1, "AB" * 32]),
        ("study_head", [1, "ab" * 32, 3]),
        ("site", "a/b"),
        ("site", ".."),
        ("ts", "2026-11-20 10:00:00"),
    ],
)
def test_values_that_look_nearly_right_are_refused(examples: dict[str, dict[str, Any]], field: str, value: Any) -> None:
    with pytest.raises(WardroundError, match=f"'{field}'"):
        check({**examples["egress"], field: value})


def test_no_kind_of_message_is_record_level() -> None:
    assert not {"record", "records", "rows", "images", "scores", "predictions"} & KINDS.keys()
    assert "admit" in PLACES


def test_other_versions_and_types_are_unknown(examples: dict[str, dict[str, Any]]) -> None:
    for change in ({"v": 3}, {"v": True}, {"v": "1"}, {"t": "other"}, {"t": ["egress"]}):
        with pytest.raises(WardroundError, match="does not know"):
            check({**examples["egress"], **change})
    with pytest.raises(WardroundError, match="not a JSON object"):
        check([])


def test_an_entry_has_at_most_4096_bytes(examples: dict[str, dict[str, Any]]) -> None:
    entry = {**examples["protocol"], "unregistered": ["é" * 500] * 3}
    room = MOST_BYTES - len(encode(entry))
    fits = {**entry, "unregistered": [*entry["unregistered"], "x" * (room - 3)]}
    assert len(encode(fits)) == MOST_BYTES
    with pytest.raises(WardroundError, match="4097 bytes"):
        encode({**entry, "unregistered": [*entry["unregistered"], "x" * (room - 2)]})
    with pytest.raises(WardroundError, match="bytes"):
        decode(b" " * (MOST_BYTES + 1))


def test_only_one_spelling_is_read(examples: dict[str, dict[str, Any]]) -> None:
    entry = {**examples["stopped"], "reason": "é"}
    good = encode(entry)
    assert decode(good) == entry
    spellings = [
        json.dumps(entry).encode(),
        json.dumps(entry, separators=(",", ":"), sort_keys=True).encode(),
        good + b" ",
        good.replace(b'{"reason"', b'{"reason":"x","reason"'),
        good.replace("é".encode(), b"e\xcc\x81"),
    ]
    for other in spellings[:4]:
        with pytest.raises(WardroundError):
            decode(other)
    assert decode(spellings[4])["reason"] != "é"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[" * 4000,
        b'{"v":' + b"9" * 4000 + b"}",
        b"\xff",
        b"nul",
        b'{"v":1e999}',
        b'{"v":NaN}',
        b"1",
        b'"x"',
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
)
def test_rubbish_is_an_error_and_nothing_worse(line: bytes) -> None:
    with pytest.raises(WardroundError):
        decode(line)


def test_bands_hide_small_counts_and_cover_every_number_once() -> None:
    assert [band(n) for n in (0, 9, 10, 49, 50, 99, 100, 199, 200, 499, 500, 999, 1000, 1999, 2000)] == [
        *("<10", "<10", "10-49", "10-49", "50-99", "50-99", "100-199", "100-199", "200-499", "200-499", "500-999", "500-999"),
        *("1000-1999", "1000-1999", "2000-4999"),
    ]
    for n in range(10, 30_000, 7):
        low, high = map(int, band(n).split("-"))
        assert low <= n <= high and band(low) == band(high) == band(n) and band(high + 1) != band(n)
    with pytest.raises(ValueError):
        band(-1)


@given(st.text(max_size=600))
def test_plain_text_always_fits_an_entry(text: str) -> None:
    line = plain(text)
    assert len(line) <= 400 and line.isprintable()
    assert plain(line) == line


def test_the_golden_record_still_decodes() -> None:
    golden = Path(__file__).parents[1] / "vectors/record/played/record"
    lines = [line for file in golden.rglob("entries.jsonl") for line in file.read_bytes().splitlines()]
    assert len(lines) > 30
    for line in lines:
        decode(line)
