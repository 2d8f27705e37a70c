"""`wardround site`, at a hospital that takes part: join, prepare, review, approve, refuse, run, status, log, leave."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.cli.terminal import Terminal
from tests.engines.federated import federated_small, federation, free_port, hospitals
from wardround import centre, hospital
from wardround.coordinator import events
from wardround.owncopy import OWN
from wardround.record.note import fingerprint
from wardround.serving import Serving
from wardround.simulation import load_study
from wardround.site import evidence
from wardround.site.folder import SiteFolder
from wardround.site.journal import Journal
from wardround.site.sessions import Sessions
from wardround.study.task import Task

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "three-hospitals"
ALLOWED = (EXAMPLE / "north" / "policy.toml").read_text()
ROWS = (EXAMPLE / "north" / "site.toml").read_text()


class Centre:
    """A coordinating centre whose hub runs, for all tests of this file."""

    def __init__(self, path: Path) -> None:
        agreed = load_study(EXAMPLE / "study.toml").protocol
        agreed = agreed.changed(bounds={**agreed.bounds.model_dump(), "sites": 60})
        self.folder = centre.init(path, agreed, "centre", "127.0.0.1", free_port(), [], 60)
        self.seen: list[events.Event] = []
        self.serving = Serving(self.folder, 0, self.seen.append)
        self.invited = 0

    def invite(self, path: Path, hours: float = 1, site: str = "") -> Path:
        """Write an invite for a hospital that nobody has heard of yet, or for one of this name."""
        self.invited += 1
        path.write_bytes(centre.invite(self.folder, site or f"hospital{self.invited}", hours))
        return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    made = Centre(tmp_path_factory.mktemp("served") / "centre")
    yield made
    made.serving.close()


@pytest.fixture
def site(wardround: Terminal, served: Centre, tmp_path: Path) -> Path:
    """Return the folder of a hospital that has joined, whose rules allow the study."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "policy.toml").write_text(ALLOWED)
    (folder / "site.toml").write_text(ROWS)
    assert wardround("site", "join", served.invite(tmp_path / "invite"), "--dir", folder).code == 0
    return folder


@pytest.fixture
def approved(wardround: Terminal, site: Path) -> Path:
    """Return the folder of a hospital that has approved."""
    assert wardround("site", "prepare", "--dir", site).code == 0
    assert wardround("site", "approve", "--yes", "--as", "officer", "--dir", site).code == 0
    return site


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def types(folder: Path) -> list[str]:
    return [entry["t"] for entry in hospital.entries(SiteFolder(folder))]


def test_a_check_before_approving_shows_what_would_leave_and_changes_nothing(wardround: Terminal, site: Path) -> None:
    before = files(site)
    said = wardround("site", "check", site)
    assert said.code == 0, said.err
    assert "What leaves each hospital" in said.out and "can take part" in said.out
    assert files(site) == before
    (site / "policy.toml").write_text(ALLOWED.replace('may_leave = ["sums"', 'may_leave = ["record"'))
    said = wardround("site", "check", site)
    assert said.code == 1 and "Rule may_leave forbids it" in said.out


def test_joining_makes_keys_and_both_files_for_people(wardround: Terminal, served: Centre, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    said = wardround("site", "join", served.invite(tmp_path / "invite", site="fresh"), "--dir", folder)
    assert said.code == 0, said.err
    assert fingerprint(served.folder.signer.vkey) in said.out and "wardround site review" in said.out
    assert f"Fingerprint of this hospital, for those who ask: {SiteFolder(folder).fingerprint}" in said.out
    assert {path.name for path in folder.iterdir()} == {"site.toml", "policy.toml", "membership.json", "protocol.json", "keys", "lock"}
    assert 'name = "fresh"' in (folder / "site.toml").read_text() and "creatinine" in (folder / "site.toml").read_text()
    assert all(line.startswith("#") or not line for line in (folder / "policy.toml").read_text().splitlines())
    assert SiteFolder(folder).protocol.digest == served.folder.protocol.digest
    assert SiteFolder(folder).membership.admission == "", "the invite's own key is not kept"


def test_joining_leaves_files_for_people_as_they_are(site: Path) -> None:
    assert ((site / "policy.toml").read_text(), (site / "site.toml").read_text()) == (ALLOWED, ROWS)


def test_the_same_join_again_goes_on(wardround: Terminal, site: Path, tmp_path: Path) -> None:
    before = files(site)
    assert wardround("site", "join", tmp_path / "invite", "--dir", site).code == 0
    assert files(site) == before


def test_an_invite_that_was_used_is_good_no_longer(wardround: Terminal, site: Path, tmp_path: Path) -> None:
    said = wardround("site", "join", tmp_path / "invite", "--dir", tmp_path / "other")
    assert said.code == 1 and "used already" in said.err
    assert not (tmp_path / "other" / "membership.json").exists()


def test_an_invite_that_has_expired_is_refused_at_once(wardround: Terminal, served: Centre, tmp_path: Path) -> None:
    said = wardround("site", "join", served.invite(tmp_path / "invite", hours=-1), "--dir", tmp_path / "site")
    assert said.code == 1 and "has expired" in said.err and "new invite" in said.err
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("how", ["altered", "not JSON", "not an invite", "a list", "forged"])
def test_an_invite_that_is_not_genuine_is_refused_at_once(wardround: Terminal, served: Centre, tmp_path: Path, how: str) -> None:
    path = served.invite(tmp_path / "invite")
    sealed = json.loads(path.read_bytes())
    match how:
        case "altered":
            sealed["payload"] = sealed["payload"].replace("A", "B", 1)
            path.write_text(json.dumps(sealed))
        case "forged":
            sealed["signatures"][0]["sig"] = "A" * 86 + "=="
            path.write_text(json.dumps(sealed))
        case "a list":
            path.write_text("[]")
        case "not an invite":
            path.write_text('{"payload": "e30="}')
        case "not JSON":
            path.write_bytes(b"\xff")
    said = wardround("site", "join", path, "--dir", tmp_path / "site")
    assert said.code == 1 and "not a genuine invite" in said.err and "fingerprint by telephone" in said.err
    assert not (tmp_path / "site").exists()


def test_a_folder_belongs_to_one_invite(wardround: Terminal, served: Centre, site: Path, tmp_path: Path) -> None:
    before = files(site)
    said = wardround("site", "join", served.invite(tmp_path / "second"), "--dir", site)
    assert said.code == 2 and "belongs to study three-hospitals already" in said.err
    assert files(site) == before


def test_a_hub_that_is_not_there_is_said_and_nothing_is_lost(wardround: Terminal, tmp_path: Path) -> None:
    made = centre.init(tmp_path / "centre", load_study(EXAMPLE / "study.toml").protocol, "centre", "127.0.0.1", free_port(), [], 2)
    (tmp_path / "invite").write_bytes(centre.invite(made, "north", 1))
    said = wardround("site", "join", tmp_path / "invite", "--dir", tmp_path / "site")
    assert said.code == 2 and "Nothing answers at tls://127.0.0.1" in said.err and "wardround doctor" in said.err
    keys = files(tmp_path / "site" / "keys")
    assert set(keys) == {"identity", "hub"}
    assert wardround("site", "join", tmp_path / "invite", "--dir", tmp_path / "site").code == 2
    assert files(tmp_path / "site" / "keys") == keys


@pytest.mark.parametrize("command", ["prepare", "review", "approve", "refuse", "run", "leave", "status", "log"])
def test_a_folder_that_has_joined_nothing_is_named_and_left_alone(wardround: Terminal, tmp_path: Path, command: str) -> None:
    said = wardround("site", command, "--dir", tmp_path, *(["--yes"] if command == "approve" else []))
    assert said.code == 2, said
    if command != "approve":  # its loader is a process of its own, which speaks for itself
        assert "joined no study yet" in said.err and "wardround site join" in said.err
    assert list(tmp_path.iterdir()) == []


def test_preparing_writes_a_snapshot_and_tells_bands_only(wardround: Terminal, site: Path) -> None:
    said = wardround("site", "prepare", "--dir", site)
    assert said.code == 0 and SiteFolder(site).brought.snapshot in said.out
    assert "of 200-499 patients" in said.out
    assert SiteFolder(site).snapshot.is_dir() and not (site / "site.sqlite").exists()


def test_rows_that_do_not_fit_are_not_prepared(wardround: Terminal, site: Path) -> None:
    (site / "site.toml").write_text('name = "north"\n[source]\nkind = "table"\npath = "nowhere.csv"\n')
    said = wardround("site", "prepare", "--dir", site)
    assert said.code == 2 and "nowhere.csv" in said.err
    assert not (site / "prepared.json").exists()


def test_the_review_says_that_the_rules_allow_it(wardround: Terminal, site: Path) -> None:
    said = wardround("site", "review", "--dir", site)
    assert said.code == 0
    assert "No differential privacy" in said.out and "They allow all of this" in said.out
    assert f"Protocol {SiteFolder(site).protocol.digest}" in said.out
    found = wardround("site", "review", "--dir", site, "--json").document
    assert found["forbidden"] == [] and found["digest"] == SiteFolder(site).protocol.digest
    assert found["study"] == "three-hospitals" and len(found["summary"]) > 3


def test_rules_as_they_are_written_at_first_forbid_everything(wardround: Terminal, served: Centre, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    wardround("site", "join", served.invite(tmp_path / "invite"), "--dir", folder)
    (folder / "site.toml").write_text(ROWS)
    (sentence,) = wardround("site", "review", "--dir", folder, "--json").document["forbidden"]
    for rule in ("purposes", "models", "sources", "min_patients", "rounds", "hours", "may_leave", "release"):
        assert rule in sentence
    assert "nothing is allowed" in sentence and sentence.split(". ")[0] in wardround("site", "review", "--dir", folder).out
    assert wardround("site", "prepare", "--dir", folder).code == 0
    said = wardround("site", "approve", "--yes", "--dir", folder)
    assert said.code == 2 and "nothing is allowed" in said.err
    assert types(folder) == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('models = ["mlp"]', "models"),
        ('purposes = ["find sepsis"]', "purposes"),
        ('sources = ["table"]', "sources"),
        ("min_patients = 5000", "min_patients"),
        ("rounds = 2", "rounds"),
        ('may_leave = ["record"]', "may_leave"),
        ("sites = []", "sites"),
    ],
)
def test_a_rule_that_forbids_is_named_in_review_and_stops_approval(wardround: Terminal, site: Path, line: str, rule: str) -> None:
    text = "\n".join(line if one.startswith(f"{rule} ") else one for one in ALLOWED.splitlines())
    (site / "policy.toml").write_text(text)
    wardround("site", "prepare", "--dir", site)
    (sentence,) = wardround("site", "review", "--dir", site, "--json").document["forbidden"]
    assert sentence.startswith(f"Rule {rule} forbids it: ")
    assert sentence in wardround("site", "review", "--dir", site).out
    said = wardround("site", "approve", "--yes", "--dir", site)
    assert said.code == 1 and f"policy.toml, rule {rule}:" in said.err and "wardround site refuse" in said.err
    assert types(site) == []


def test_approving_asks_first_and_no_is_no(wardround: Terminal, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wardround("site", "prepare", "--dir", site)
    for answer, code, logged in (("n\n", 1, []), ("y\n", 0, ["snapshot", "approval"])):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        said = wardround("site", "approve", "--as", "data-protection officer", "--dir", site)
        assert said.code == code and "Approve this protocol for this hospital?" in said.out
        assert "No differential privacy" in said.out, "what is signed is shown before"
        assert types(site) == logged
        assert ("Nothing was signed" in said.out) is (code == 1)
    assert "Next: wardround site run" in said.out
    entry = next(one for one in hospital.entries(SiteFolder(site)) if one["t"] == "approval")
    assert (entry["protocol"], entry["role"]) == (SiteFolder(site).protocol.digest, "data-protection officer")


def test_approving_prepares_first_in_a_process_of_its_own(wardround: Terminal, site: Path) -> None:
    said = wardround("site", "approve", "--yes", "--dir", site)
    assert said.code == 0 and (site / "prepared.json").exists()
    assert wardround("site", "status", "--dir", site, "--json").document["text"] == "approved (not stated)"


def test_status_and_log_before_and_after_approval(wardround: Terminal, site: Path) -> None:
    first = wardround("site", "status", "--dir", site, "--json").document
    assert "no snapshot was prepared yet" in first["text"]
    assert (first["log"], first["held"], first["running"]) == ({}, [], False)
    assert wardround("site", "log", "--dir", site).out == ""
    wardround("site", "prepare", "--dir", site)
    assert "has not approved" in wardround("site", "status", "--dir", site).out
    wardround("site", "approve", "--yes", "--as", "officer", "--dir", site)
    found = wardround("site", "status", "--dir", site, "--json").document
    assert (found["study"], found["text"], found["log"]) == ("three-hospitals", "approved (officer)", {"approval": 1, "snapshot": 1})
    lines = wardround("site", "status", "--dir", site).out.splitlines()
    assert lines[0] == f"{found['site']} in study three-hospitals: approved (officer)"
    printed = wardround("site", "log", "--dir", site).out.splitlines()
    assert len(printed) == 2 and "brought a snapshot of 200-499 patients" in printed[0] and "(officer)" in printed[1]
    machine = [json.loads(line) for line in wardround("site", "log", "--dir", site, "--json").out.splitlines()]
    assert [entry["t"] for entry in machine] == ["snapshot", "approval"] and [entry["seq"] for entry in machine] == [0, 1]


def test_a_changed_snapshot_is_not_the_approved_one(wardround: Terminal, approved: Path) -> None:
    (approved / "site.toml").write_text(ROWS.replace("seed = 1", "seed = 99"))
    assert wardround("site", "prepare", "--dir", approved).code == 0
    assert "changed after the approval" in wardround("site", "status", "--dir", approved).out
    said = wardround("site", "run", "--dir", approved)
    assert said.code == 1 and "changed after the approval" in said.err and "wardround site approve" in said.err


def test_a_snapshot_that_was_altered_on_disk_is_refused(wardround: Terminal, approved: Path) -> None:
    path = SiteFolder(approved).snapshot / "columns.safetensors"
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    said = wardround("site", "run", "--dir", approved)
    assert said.code == 1 and "the snapshot was changed" in said.err


def test_nothing_runs_without_approval(wardround: Terminal, site: Path) -> None:
    wardround("site", "prepare", "--dir", site)
    said = wardround("site", "run", "--dir", site)
    assert said.code == 1 and "has not approved the protocol" in said.err and "wardround site review" in said.err


def test_two_processes_do_not_take_part_from_one_folder(wardround: Terminal, approved: Path) -> None:
    with hospital.held(approved):
        said = wardround("site", "run", "--dir", approved)
        assert said.code == 2 and "Another process takes part as this site here" in said.err
        assert wardround("site", "status", "--dir", approved, "--json").document["running"] is True


def test_refusing_is_told_and_holds(wardround: Terminal, approved: Path) -> None:
    said = wardround("site", "refuse", "--reason", "not this year", "--dir", approved)
    assert said.code == 0 and "The coordinating centre is told" in said.out
    assert wardround("site", "status", "--dir", approved, "--json").document["text"] == "refused (not this year)"
    assert types(approved) == ["snapshot", "approval", "declined"]
    assert ": not this year" in wardround("site", "log", "--dir", approved).out.splitlines()[-1]
    said = wardround("site", "run", "--dir", approved)
    assert said.code == 1 and "refused the protocol (not this year)" in said.err and "wardround site approve" in said.err
    assert wardround("site", "approve", "--yes", "--dir", approved).code == 0
    assert wardround("site", "status", "--dir", approved, "--json").document["text"] == "approved (not stated)"


def test_refusing_while_the_site_runs_lets_nothing_more_out(tmp_path: Path) -> None:
    with federation(tmp_path, data=hospitals(3)) as made:
        study = federated_small(made)
        refusing = made.gates["site0"].folder
        assert hospital.refuse(refusing, "no more")
        study.run()
        assert {(one.site, one.where) for one in study.refused} == {("site0", "accept")}
        assert "egress" not in types(refusing.path) and "egress" in types(made.gates["site1"].folder.path)


def test_a_site_can_refuse_without_touching_its_data(wardround: Terminal, site: Path) -> None:
    assert wardround("site", "refuse", "--dir", site).code == 0
    assert "refused (no reason given)" in wardround("site", "status", "--dir", site).out
    assert not (site / "snapshots").exists() and types(site) == ["declined"]


def test_a_refusal_that_cannot_be_told_holds_all_the_same(wardround: Terminal, served: Centre, approved: Path) -> None:
    member = json.loads((approved / "membership.json").read_text())
    (approved / "membership.json").write_text(json.dumps({**member, "url": f"tls://127.0.0.1:{free_port()}"}))
    for command, text in (("refuse", "Refused."), ("leave", "Left.")):
        said = wardround("site", command, "--dir", approved)
        assert said.code == 0 and text in said.out and "could not be told" in said.out
    assert "refused (this site has left the study)" in wardround("site", "status", "--dir", approved).out


def test_a_site_that_was_cut_off_ends_with_a_sentence(wardround: Terminal, served: Centre, approved: Path) -> None:
    name = SiteFolder(approved).membership.site
    assert wardround("coordinator", "revoke", served.folder.path, name).code == 0
    said = wardround("site", "run", "--dir", approved)
    assert said.code == 1 and "does not admit this key" in said.err and "revoked" in said.err
    said = wardround("site", "refuse", "--dir", approved)
    assert said.code == 0 and "could not be told" in said.out


def test_leaving_cuts_the_site_off_when_the_coordinator_reads_it(wardround: Terminal, served: Centre, approved: Path) -> None:
    name = SiteFolder(approved).membership.site
    said = wardround("site", "leave", "--dir", approved)
    assert said.code == 0 and "Left. The coordinating centre is told." in said.out
    assert types(approved)[-1] == "left" and "left the study" in wardround("site", "log", "--dir", approved).out
    until = time.monotonic() + 10
    while standing(wardround, served)[name] != "left" and time.monotonic() < until:
        served.serving.engine.listen(0.1)
        served.serving.engine.sites()
    assert standing(wardround, served)[name] == "left"
    said = wardround("site", "run", "--dir", approved)
    assert said.code == 1 and "this site has left the study" in said.err


def standing(wardround: Terminal, served: Centre) -> dict[str, str]:
    found = wardround("coordinator", "status", served.folder.path, "--json").document
    return {one["site"]: one["state"] for one in found["sites"]}


def test_a_held_answer_is_shown_in_numbers_and_decided_on_by_its_code(wardround: Terminal, approved: Path) -> None:
    task = Task("three-hospitals", "", "train", 0, 0, "answer", "north", 60, "sha256:" + "1" * 64, "")
    with closing(SiteFolder(approved).database()) as connection:
        journal = Journal(connection)
        journal.hold(task, {"w": np.array([-0.5, 2.0])}, None)
        connection.commit()
    (held,) = wardround("site", "status", "--dir", approved, "--json").document["held"]
    assert held["turn"] == "train, round 1" and re.fullmatch("[0-9a-f]{12}", held["code"])
    assert held["terms"] == [{"name": "w", "shape": [2], "low": -0.5, "high": 2.0}]
    shown = wardround("site", "status", "--dir", approved).out
    assert "from -0.5 to 2" in shown and f"waits for a look: train, round 1, code {held['code']}" in shown
    said = wardround("site", "approve", "--held", "000000000000", "--dir", approved)
    assert said.code == 2 and "No answer waits under the code" in said.err and "wardround site status" in said.err
    assert wardround("site", "status", "--dir", approved, "--json").document["held"] == [held]
    said = wardround("site", "approve", "--held", held["code"], "--dir", approved)
    assert (said.code, said.out) == (0, "The answer to train, round 1 is let out.\n")
    assert wardround("site", "refuse", "--held", held["code"], "--dir", approved).code == 2, "it is decided on"
    assert wardround("site", "status", "--dir", approved, "--json").document["held"] == []


def test_what_came_after_the_last_look_does_not_go_with_it(wardround: Terminal, approved: Path) -> None:
    first = Task("three-hospitals", "", "train", 0, 0, "answer", "north", 60, "sha256:" + "1" * 64, "")
    with closing(SiteFolder(approved).database()) as connection:
        journal = Journal(connection)
        journal.hold(first, {"w": np.array([-0.5, 2.0])}, None)
        connection.commit()
        (seen,) = wardround("site", "status", "--dir", approved, "--json").document["held"]
        second = replace(first, round=1)
        journal.renew(second)
        journal.hold(second, {"w": np.array([-0.5, 2.0])}, None)
        connection.commit()
    assert wardround("site", "approve", "--held", seen["code"], "--dir", approved).code == 2
    (held,) = wardround("site", "status", "--dir", approved, "--json").document["held"]
    assert held["turn"] == "train, round 2" and held["code"] != seen["code"]
    said = wardround("site", "refuse", "--held", held["code"], "--dir", approved)
    assert (said.code, said.out) == (0, "The answer to train, round 2 is refused.\n")


def test_what_went_wrong_here_is_told_here_in_full(wardround: Terminal, approved: Path) -> None:
    with closing(SiteFolder(approved).database()) as connection:
        Journal(connection).note("train, round 1: DataError: the scores are not finite")
        connection.commit()
    (failure,) = wardround("site", "status", "--dir", approved, "--json").document["failures"]
    assert failure["text"] == "train, round 1: DataError: the scores are not finite"
    assert failure["text"] in wardround("site", "status", "--dir", approved).out
    assert "DataError" not in wardround("site", "log", "--dir", approved, "--json").out


def test_a_study_that_has_ended_ends_at_once(wardround: Terminal, approved: Path) -> None:
    with closing(SiteFolder(approved).database()) as connection:
        Journal(connection).put_meta("ended", b"{}")
        connection.commit()
    said = wardround("site", "run", "--dir", approved)
    assert said.code == 0 and "The study has ended" in said.out
    assert wardround("site", "status", "--dir", approved, "--json").document["text"] == "the study has ended"


def test_own_figures_are_pointed_to_and_what_left_of_them_is_in_the_log(wardround: Terminal, approved: Path) -> None:
    assert "own figures" not in wardround("site", "status", "--dir", approved).out
    folder, nothing = SiteFolder(approved), f"sha256:{'0' * 64}"
    with closing(folder.database()) as connection:
        Journal(connection).put_meta(OWN, b"1")
        about = {"protocol": nothing, "to": "coordinator", "kind": "results", "commit": nothing, "bytes": 812}
        folder.log(connection).append("results", site=folder.membership.site, **about)
        connection.commit()
    said = wardround("site", "status", "--dir", approved).out
    assert f"own figures, beside the totals: {approved / 'result.json'}, {approved / 'report.html'}" in " ".join(said.split())
    assert "sent this hospital's own test figures, 812 bytes, to the coordinator" in wardround("site", "log", "--dir", approved).out


def test_errors_are_documents_for_machines(wardround: Terminal, tmp_path: Path) -> None:
    for command in ("review", "status", "log"):
        found = wardround("site", command, "--dir", tmp_path, "--json").document["error"]
        assert found["kind"] == "StoreError" and "wardround site join" in found["remedy"]


def test_whom_a_hospital_met_is_shown_with_what_to_read_out_by_telephone(wardround: Terminal, approved: Path) -> None:
    made = SiteFolder(approved)
    nobody = wardround("site", "status", "--dir", approved, "--json").document
    assert (nobody["others"], nobody["evidence"], nobody["fingerprint"]) == ([], [], made.fingerprint)
    own = made.keys.public.public_bytes_raw().hex()
    with closing(made.database()) as connection:
        Sessions(connection, (made.membership.protocol, made.membership.site, "")).meet({made.membership.site: own, "south": "ab" * 32})
        connection.commit()
    evidence.keep(approved, "sha256:" + "1" * 64, b"{}", None, b"{}")
    found = wardround("site", "status", "--dir", approved, "--json").document
    assert found["others"] == [{"site": "south", "fingerprint": fingerprint("ab" * 32)}]
    assert found["evidence"] == [str(approved / "evidence" / ("1" * 64 + ".json"))]
    said = wardround("site", "status", "--dir", approved).out
    assert f"fingerprint of this hospital: {made.fingerprint}" in said
    assert f"met south, fingerprint {fingerprint('ab' * 32)}, to be compared by telephone" in said
    assert "a step of the secure sum was refused" in said and found["evidence"][0] in said
