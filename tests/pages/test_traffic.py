from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pages.fixtures import PROTOCOL, five_sites, forty_sites, write_folder
from tests.record.player import Player
from wardround.pages.left import left
from wardround.pages.traffic import RecordView, by_phase, by_site, in_all, missed, read_record, walked
from wardround.record.verify import verify
from wardround.study.errors import StoreError

SENT: list[dict[str, Any]] = [
    {"t": "snapshot"},
    {"t": "egress", "phase": "train.0", "round": 0, "kind": "sums", "bytes": 100},
    {"t": "egress", "phase": "train.0", "round": 1, "kind": "sums", "bytes": 150},
    {"t": "egress", "phase": "train.0", "round": 1, "kind": "ack", "bytes": 1},
    {"t": "refused", "phase": "train.0", "round": 2},
    {"t": "egress", "phase": "evaluate", "round": 0, "kind": "sums", "bytes": 1000},
]


def record() -> RecordView:
    turns = [("train.0", 0), ("train.0", 1), ("evaluate", 0)]
    study: list[dict[str, Any]] = []
    for phase, round_ in turns:
        study += [{"t": "round_open", "phase": phase, "round": round_}, {"t": "round_close", "phase": phase, "round": round_}]
    done = [{"t": "phase_done", "phase": phase} for phase in ("train.0", "train", "evaluate")]
    return RecordView({"b": SENT, "a": SENT[:3]}, [*study[:4], *done[:2], *study[4:], done[2]])


def test_messages_kinds_and_bytes_are_added_by_site() -> None:
    b, a = by_site(record())
    assert (b.name, b.messages, b.bytes, b.kinds, b.rounds, b.refused) == ("b", 4, 1251, (("ack", 1), ("sums", 3)), 3, 1)
    assert (a.name, a.messages, a.bytes, a.refused) == ("a", 2, 250, 0)


def test_phases_stand_in_the_order_of_the_study() -> None:
    found = [(one.name, one.rounds, one.messages, one.bytes) for one in by_phase(record())]
    assert found == [("train.0", 2, 5, 501), ("train", 0, 0, 0), ("evaluate", 1, 1, 1000)]


def test_rounds_and_phases_are_counted_as_the_verifier_counts_them(tmp_path: Path) -> None:
    played = Player(phases=(("moments", 1), ("train", 3)), refuses={("basel", "train", 1): "answer"}).play(tmp_path)
    found, _ = read_record(played)
    assert found is not None and walked(found) == (4, 2)
    said = next(line.text for line in verify(played).lines if line.name == "rounds")
    assert said.startswith("4 rounds in 2 phases") and "over 4 rounds in 2 phases." in left({}, found).summary


def test_sites_and_phases_come_to_the_same() -> None:
    sites, phases = in_all(by_site(record())), in_all(by_phase(record()))
    assert (
        (sites.messages, sites.bytes, sites.kinds) == (phases.messages, phases.bytes, phases.kinds) == (6, 1501, (("ack", 1), ("sums", 5)))
    )


def test_a_refusal_in_result_and_record_is_named_once_and_its_rounds_drawn_together() -> None:
    one = {"site": "a", "phase": "train", "where": "deadline", "reason": "No answer.", "remedy": "Look."}
    found = RecordView({}, [{"t": "refusal", "round": 4, **one}, {"t": "refusal", "round": 3, **one}, {"t": "join", "site": "a"}])
    (only,) = missed({"refusals": [{"round": 4, **one}, {"round": 9, **one}]}, found)
    assert (only.site, only.rounds) == ("a", (3, 4, 9))


def test_a_record_is_read_from_its_folder(tmp_path: Path) -> None:
    found, protocol = read_record(write_folder(tmp_path, five_sites()))
    assert found is not None and protocol == PROTOCOL
    assert set(found.sites) == set(five_sites()["sites"]) and found.study[0]["t"] == "protocol"


def test_no_record_is_no_error(tmp_path: Path) -> None:
    assert read_record(tmp_path) == (None, {})


@pytest.mark.parametrize("damage", ["{", "[]\n", '{"t": "egress"}\nnot json\n'])
def test_a_damaged_log_is_named_with_its_line(tmp_path: Path, damage: str) -> None:
    write_folder(tmp_path, five_sites())
    (tmp_path / "record/sites/Basel/entries.jsonl").write_text(damage)
    with pytest.raises(StoreError, match=r"record/sites/Basel/entries.jsonl, line \d is not a JSON object"):
        read_record(tmp_path)


def test_the_section_sets_what_left_against_what_stayed() -> None:
    result = {"sites": {"a": {"patients": 50, "snapshot_bytes": 500}, "b": {"patients": 50, "snapshot_bytes": 1000}}}
    found = left(result, record())
    text = [
        [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in (line.name, line.messages, line.kinds, line.left, line.stayed, line.share)]
        for line in found.sites
    ]
    assert text == [
        ["b", "4", "1 ack, 3 sums", "1.3 kB", "1.0 kB", "125 %"],
        ["a", "2", "2 sums", "250 bytes", "500 bytes", "50 %"],
        ["All sites", "6", "1 ack, 5 sums", "1.5 kB", "1.5 kB", "100 %"],
    ]
    assert found.summary.replace("\N{NO-BREAK SPACE}", " ") == "2 sites sent 6 messages, 1.5 kB in all, over 3 rounds in 3 phases."
    assert [kind for kind, _ in found.kinds] == ["ack", "sums"]


def test_the_size_at_a_hidden_site_is_not_told() -> None:
    found = left({"sites": {"a": {"patients": "<10", "snapshot_bytes": 500}, "b": {"patients": 99, "snapshot_bytes": 900}}}, record())
    assert "500" not in "".join(line.stayed + line.picture for line in found.sites) and "1.4" not in found.sites[-1].stayed


def test_without_a_record_the_history_speaks_and_says_that_it_does() -> None:
    found = left(forty_sites(), None)
    assert not found.recorded and not found.sites
    assert [line.name for line in found.phases] == ["moments", "train.0", "train.1", "train.2", "evaluate"]
    assert found.missed[0].rounds == (3, 4, 5, 9)
