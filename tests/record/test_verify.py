from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.record.player import Player, failing, golden, key, lines_of, rewrite
from wardround.record import note
from wardround.record.merkle import Tree, leaf_hash
from wardround.record.report import Line, Problem, Report, Verdict
from wardround.record.verify import verify
from wardround.study.canonical import canonical

GOLDEN = Path(__file__).parents[1] / "vectors/record/played"
FILES = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file())
LOGS = ["study", "sites/aarau", "sites/basel"]
NAMES = [
    *(
        "files",
        "entries",
        "checkpoints",
        "keys",
        "protocol",
        "approvals",
        "messages",
        "rows",
        "cross-links",
        "layouts",
        "rounds",
        "model",
        "results",
    ),
    "witnesses",
]
OLD = {"rows": Verdict.INCOMPLETE, "witnesses": Verdict.INCOMPLETE}
"""What a log of the first release cannot show."""
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN, tmp_path / "results")


def assert_clean(report: Report) -> None:
    assert [line.name for line in report.lines] == NAMES
    assert {line.name: line.verdict for line in report.lines if line.verdict is not Verdict.PASS} == OLD, report.text()
    assert report.exit_code == 2


@pytest.mark.parametrize(
    "player",
    [
        golden(),
        Player(),
        Player(sites=tuple(f"site{n}" for n in range(7)), phases=(("moments", 1), ("train", 4), ("evaluate", 1))),
        Player(refuses={("aarau", "moments", 0): "admit", ("basel", "train", 0): "deadline", ("basel", "train", 1): "accept"}),
    ],
    ids=["golden", "plain", "seven", "refusals"],
)
def test_an_honest_record_passes_every_line_but_witnesses(player: Player, tmp_path: Path) -> None:
    assert_clean(verify(player.play(tmp_path)))


def test_the_golden_record_still_verifies_from_either_folder() -> None:
    assert_clean(verify(GOLDEN))
    assert_clean(verify(str(GOLDEN / "record")))


def test_the_certificate_states_what_was_recorded_and_promises_nothing() -> None:
    report = verify(GOLDEN)
    assert report.certificate == (
        "Every message that reached the study coordinator from 2 sites is listed in their logs; "
        "none was of a record-level kind (5 x sums); in all 5 messages with 5002 bytes, and 1 refused task."
    )
    assert report.certificate in report.text() and "no data could have left" not in report.text()
    assert json.loads(json.dumps(report.as_dict()))["totals"]["sites"] == {"aarau": [3, 3001], "basel": [2, 2001]}
    assert len(report.text().splitlines()) <= 20


@many
@given(st.data())
def test_any_flipped_byte_in_any_file_is_found(directory: Path, data: st.DataObject) -> None:
    path = directory / data.draw(st.sampled_from(FILES))
    good = path.read_bytes()
    bad = bytearray(good)
    bad[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bad)
    report = verify(directory)
    path.write_bytes(good)
    assert report.exit_code == 1 and report.certificate == ""


@many
@given(st.data())
def test_any_cut_or_lengthened_file_is_found(directory: Path, data: st.DataObject) -> None:
    path = directory / data.draw(st.sampled_from(FILES))
    good = path.read_bytes()
    cut = good[: data.draw(st.integers(0, len(good) - 1))]
    path.write_bytes(data.draw(st.sampled_from([cut, good + b"\n", good + b"x", b"\n" + good, good + good])))
    report = verify(directory)
    path.write_bytes(good)
    assert report.exit_code == 1


@pytest.mark.parametrize("name", FILES)
def test_any_missing_file_is_found(directory: Path, name: str) -> None:
    (directory / name).unlink()
    report = verify(directory)
    assert report.exit_code == 1 and any(name in line.where for line in report.lines if line.verdict is Verdict.FAIL)


@pytest.mark.parametrize(
    "name", ["record/new", "record/study/new", "record/sites/new", "record/sites/aarau/.hidden", "record/layouts/x.json"]
)
def test_any_added_file_is_found(directory: Path, name: str) -> None:
    (directory / name).write_bytes(b"x")
    assert verify(directory).exit_code == 1


def test_swapped_files_are_found(directory: Path) -> None:
    for one, two in (("sites/aarau", "sites/basel"), ("study", "sites/aarau")):
        for name in ("entries.jsonl", "checkpoint", "vkey"):
            first, second = directory / "record" / one / name, directory / "record" / two / name
            mine, other = first.read_bytes(), second.read_bytes()
            first.write_bytes(other), second.write_bytes(mine)
            assert verify(directory).exit_code == 1
            first.write_bytes(mine), second.write_bytes(other)
    assert_clean(verify(directory))


def edits(lines: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    for index in range(len(lines)):
        yield f"delete {index}", lines[:index] + lines[index + 1 :]
        yield f"duplicate {index}", [*lines[: index + 1], *lines[index:]]
        if index:
            yield f"swap {index}", [*lines[: index - 1], lines[index], lines[index - 1], *lines[index + 1 :]]
            yield f"truncate {index}", lines[:index]


def numbered(lines: list[bytes]) -> list[bytes]:
    """Number entries anew, as a careful forger would."""
    entries = [{**json.loads(line), "seq": index} for index, line in enumerate(lines)]
    return [json.dumps(entry, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode() for entry in entries]


@pytest.mark.parametrize("place", LOGS)
def test_an_edited_log_is_found_by_its_signed_head(directory: Path, place: str) -> None:
    path = directory / "record" / place / "entries.jsonl"
    for what, lines in edits(lines_of(GOLDEN, place)):
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        report = verify(directory)
        assert "checkpoints" in failing(report), what
        assert report.exit_code == 1


@pytest.mark.parametrize("place", LOGS)
def test_a_log_rewritten_and_signed_by_its_owner_is_found_by_the_other_logs(directory: Path, place: str) -> None:
    """Only what nobody else has seen yet can be changed unseen: that is why witnesses come."""
    name = place.removeprefix("sites/")
    good = lines_of(GOLDEN, place)
    last_seen = max(index for index, line in enumerate(good) if json.loads(line)["t"] in ("egress", "round_close"))
    unfound = []
    for what, lines in edits(good):
        rewrite(directory, place, numbered(lines), Player().signer(name))
        report = verify(directory)
        assert "checkpoints" not in failing(report), what
        if report.exit_code != 1:
            unfound.append(what)
        if place == "study" and what.startswith("truncate"):
            assert next(line for line in report.lines if line.name == "model").verdict is not Verdict.PASS, what
    assert all(int(what.split()[1]) > last_seen for what in unfound), unfound


@many
@given(st.data())
def test_any_field_changed_and_signed_by_the_owner_is_found_if_another_log_saw_it(directory: Path, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(LOGS))
    lines = lines_of(GOLDEN, place)
    entries = [json.loads(line) for line in lines]
    last_seen = max(index for index, entry in enumerate(entries) if entry["t"] in ("egress", "round_open"))
    index = data.draw(st.integers(0, last_seen))
    name = data.draw(st.sampled_from(sorted(entries[index])))
    others = [entry[name] for entry in entries if name in entry and entry[name] != entries[index][name]]
    anything = st.none() | st.integers(0, 30) | st.text(max_size=5) | st.lists(st.integers(0, 3), max_size=2)
    value = data.draw(st.sampled_from(others) | anything if others else anything)
    if value == entries[index][name]:
        return
    lines[index] = json.dumps({**entries[index], name: value}, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    good = {path: path.read_bytes() for path in (directory / "record" / place).iterdir()}
    rewrite(directory, place, lines, Player().signer(place.removeprefix("sites/")))
    assert verify(directory).exit_code == 1
    for path, content in good.items():
        path.write_bytes(content)


def test_without_its_release_a_record_does_not_vouch_for_the_model(directory: Path) -> None:
    rewrite(directory, "study", lines_of(GOLDEN, "study")[:-1], Player().signer("study"))
    report = verify(directory)
    assert {line.name for line in report.lines if line.verdict is not Verdict.PASS} == {"model", "results", "rows", "witnesses"}
    assert "does not vouch" in report.text() and report.exit_code == 2


def test_a_log_that_its_site_keeps_is_missing_evidence_and_no_contradiction(tmp_path: Path) -> None:
    refuses = {("basel", "train", 1): "accept", ("aarau", "moments", 0): "accept"}
    directory = Player(sites=("aarau", "basel", "chur"), refuses=refuses, kept=("basel",)).play(tmp_path)
    report = verify(directory)
    assert {line.name: line.verdict for line in report.lines if line.verdict is not Verdict.PASS} == dict.fromkeys(
        ("keys", "approvals", "messages", "rows", "cross-links", "witnesses"), Verdict.INCOMPLETE
    ), report.text()
    assert report.certificate.endswith("Not among them is what basel sent: that log is not here.")
    assert report.exit_code == 2
    assert "basel keeps its log, as its own rules say" in report.text()
    assert set(report.totals.sites) == {"aarau", "chur"}
    rewrite(directory, "sites/aarau", lines_of(directory, "sites/aarau")[:-2], Player().signer("aarau"))
    assert verify(directory).exit_code == 1  # the others' logs are held against the coordinator's as before


def test_a_log_that_was_not_handed_over_is_missing_evidence_where_the_record_says_so(tmp_path: Path) -> None:
    directory = Player(sites=("aarau", "basel", "chur"), unheard=("basel",)).play(tmp_path)
    report = verify(directory)
    assert {line.verdict for line in report.lines} == {Verdict.PASS, Verdict.INCOMPLETE}, report.text()
    assert "basel handed no log over, as the coordinator says" in report.text() and report.exit_code == 2


@pytest.mark.parametrize(("stage", "verdict"), [("agree", Verdict.INCOMPLETE), ("answer", Verdict.FAIL)])
def test_what_helps_to_open_a_total_may_be_lost_and_an_answer_may_not(stage: str, verdict: Verdict, directory: Path) -> None:
    """A coordinator that is killed before it has noted the one opens the total with others."""
    lines = lines_of(directory, "sites/aarau")
    sent = next(json.loads(line) for line in reversed(lines) if json.loads(line)["t"] == "egress")
    more = {**sent, "seq": len(lines), "stage": stage, "task": "sha256:" + "9" * 64}
    rewrite(directory, "sites/aarau", [*lines, canonical(more)], Player().signer("aarau"))
    (line,) = (one for one in verify(directory).lines if one.name == "messages")
    assert line.verdict is verdict and "was" in str(line)


def test_only_a_site_itself_can_say_that_it_keeps_its_log(tmp_path: Path) -> None:
    directory = Player(sites=("aarau", "basel", "chur"), kept=("basel",), keeper="study").play(tmp_path)
    assert "the log of basel is missing" in failing(verify(directory))["keys"]


def test_a_log_that_is_gone_without_its_site_having_said_so_is_found(tmp_path: Path) -> None:
    directory = Player(sites=("aarau", "basel", "chur")).play(tmp_path)
    shutil.rmtree(directory / "record/sites/basel")
    assert "keys" in failing(verify(directory))


@pytest.mark.parametrize("place", LOGS)
def test_a_log_forged_under_another_key_is_found(directory: Path, place: str) -> None:
    forger = note.Signer(f"study.example/played/{place.removeprefix('sites/')}", key("forger"))
    rewrite(directory, place, lines_of(GOLDEN, place), forger)
    assert "checkpoints" in failing(verify(directory))
    (directory / "record" / place / "vkey").write_text(forger.vkey + "\n")
    assert "another key" in failing(verify(directory))["keys"]


def test_a_checkpoint_of_another_log_or_with_strange_signatures_is_found(directory: Path) -> None:
    signer, lines = Player().signer("aarau"), lines_of(GOLDEN, "sites/aarau")
    path = directory / "record/sites/aarau/checkpoint"
    good = path.read_text()
    root = Tree(leaf_hash(line) for line in lines).root().hex()
    path.write_text(signer.sign(note.Checkpoint("study.example/other", len(lines), root).text()))
    assert "another log" in failing(verify(directory))["checkpoints"]
    path.write_text(good + note.Signer("a.stranger", key("x")).sign("x\n").rpartition("\n\n")[2])
    assert "nobody can check" in failing(verify(directory))["checkpoints"]
    path.write_text(signer.sign("study.example/played/aarau\nmany\nAAAA\n"))
    assert "checkpoints" in failing(verify(directory))


@pytest.mark.parametrize("name", ["model.safetensors", "result.json", "report.html"])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"other")], ids=["deleted", "replaced"])
def test_a_replaced_or_deleted_result_is_found(directory: Path, name: str, spoil: Callable[[Path], None]) -> None:
    spoil(directory / name)
    assert list(failing(verify(directory))) == ["model" if name == "model.safetensors" else "results"]


def test_folders_and_links_in_place_of_files_are_found(directory: Path) -> None:
    for name in FILES:
        path = directory / name
        good = path.read_bytes()
        path.unlink()
        path.mkdir()
        assert verify(directory).exit_code == 1
        path.rmdir()
        (directory.parent / "elsewhere").write_bytes(good)
        path.symlink_to(directory.parent / "elsewhere")
        assert verify(directory).exit_code == 1
        path.unlink()
        path.write_bytes(good)
    assert_clean(verify(directory))


RUBBISH = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"[" * 4000,
    b'{"v":' + b"9" * 4090,
    b'{"v":1,"t":' + b"[" * 1000,
    b"null",
    b"1e999",
    b"NaN",
    b"\n\n\n",
    b"{}\n" * 50,
]


@many
@given(name=st.sampled_from(FILES), rubbish=st.binary(max_size=300))
@example("record/study/entries.jsonl", b"{" * 5000)
@example("record/study/vkey", b"a+00000000+" + b"A" * 44)
@example("record/study/checkpoint", b"a\n" + b"9" * 10_000 + b"\nAAAA\n\n")
def test_rubbish_becomes_a_line_and_never_a_traceback(directory: Path, name: str, rubbish: bytes) -> None:
    path = directory / name
    good = path.read_bytes()
    for content in (rubbish, good + rubbish + b"\n", rubbish + b"\n" + good):
        path.write_bytes(content)
        report = verify(directory)
        assert report.exit_code == 1
        assert all(line.text.isprintable() for line in report.lines)
    path.write_bytes(good)


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_known_traps_in_a_line_are_named_with_their_line(directory: Path, rubbish: bytes) -> None:
    path = directory / "record/study/entries.jsonl"
    lines = lines_of(GOLDEN, "study")
    path.write_bytes(b"\n".join([*lines[:4], rubbish, *lines[5:]]) + b"\n")
    (line,) = [line for line in verify(directory).lines if line.name == "entries"]
    assert line.verdict is Verdict.FAIL and "record/study/entries.jsonl line 5" in line.where


def test_no_record_is_a_fail_and_not_a_traceback(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        (tmp_path / "file").write_text("x")
        report = verify(path)
        assert report.exit_code == 1 and "files" in failing(report) and report.certificate == ""
        assert report.text().splitlines()[-2].startswith("Do not rely on these files")


def test_an_unfinished_study_is_incomplete_and_not_wrong(tmp_path: Path) -> None:
    player = Player(release=False)
    player.agree()
    directory = player.export(tmp_path)
    # nothing was asked yet, so the layout is one file too many; that apart, evidence is missing and nothing contradicts
    shutil.rmtree(directory / "record/layouts")
    report = verify(directory)
    assert failing(report) == {}
    assert {line.name for line in report.lines if line.verdict is Verdict.PASS} >= {"files", "entries", "checkpoints", "keys", "protocol"}
    player.round("moments", 0)
    directory = player.export(tmp_path)
    report = verify(directory)
    assert failing(report) == {} and report.exit_code == 2 and report.certificate
    assert "has not ended" in report.text() and "released nothing yet" in report.text()


def test_a_stopped_study_says_why(tmp_path: Path) -> None:
    player = Player(release=False)
    player.play(tmp_path)
    player.add("study", "stopped", reason="the ethics board asked for it")
    report = verify(player.export(tmp_path))
    assert failing(report) == {} and "the ethics board asked for it" in report.text()


def test_a_line_lists_failures_first_and_counts_the_rest() -> None:
    problems = [Problem("missing", "a", Verdict.INCOMPLETE), Problem("wrong", "b"), Problem("bad", "c"), Problem("worse", "b")]
    line = Line.of("x", problems, "fine")
    assert line == Line("x", Verdict.FAIL, "wrong (b); bad (c); and 2 more.", ("b", "c", "a"))
    assert Line.of("x", problems[:1], "fine").verdict is Verdict.INCOMPLETE
    assert Line.of("x", [], "fine") == Line("x", Verdict.PASS, "fine")


def test_the_worst_line_decides() -> None:
    good, missing, bad = (Line("x", verdict, "") for verdict in (Verdict.PASS, Verdict.INCOMPLETE, Verdict.FAIL))
    assert [Report(lines).exit_code for lines in ((good,), (good, missing), (missing, bad, good))] == [0, 2, 1]
