"""A hospital's folder: keys are made there and stay, and what was damaged is named with a remedy."""

from __future__ import annotations

import json
import stat
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.site.test_rules import rules
from tests.support import protocol
from wardround.record.note import Signer
from wardround.site.folder import MEMBERSHIP, PREPARED, PROTOCOL, STATE, Membership, SiteFolder, write_bytes, write_text
from wardround.site.gate import Brought
from wardround.study.errors import StoreError, VerificationError

AGREED = protocol()
CENTRE = Signer("centre/small", Ed25519PrivateKey.from_private_bytes(bytes(32)))
MEMBER = Membership("small", "north", "slot001", "tls://hub.example:4222", "PEM", CENTRE.vkey, AGREED.digest, "i1", 5, "")
BROUGHT = Brought("sha256:" + "1" * 64, 60, 36, "table")


@pytest.fixture
def folder(tmp_path: Path) -> SiteFolder:
    made = SiteFolder(tmp_path)
    write_text(tmp_path / MEMBERSHIP, json.dumps(asdict(MEMBER)))
    write_bytes(tmp_path / PROTOCOL, AGREED.canonical)
    made.make_keys()
    made.bring(BROUGHT)
    return made


def test_what_was_written_is_read(folder: SiteFolder) -> None:
    assert folder.membership == MEMBER and folder.brought == BROUGHT
    assert folder.protocol.digest == AGREED.digest
    assert folder.membership.coordinator_key.public == CENTRE.key.public_key()
    assert folder.snapshot == folder.path / "snapshots" / ("1" * 64)


def test_keys_are_made_once_and_for_this_user_only(folder: SiteFolder) -> None:
    before = {path.name: path.read_bytes() for path in (folder.path / "keys").iterdir()}
    folder.make_keys()
    assert {path.name: path.read_bytes() for path in (folder.path / "keys").iterdir()} == before
    assert set(before) == {"identity", "hub"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.path / "keys").iterdir()} == {0o600}
    assert stat.S_IMODE((folder.path / "keys").stat().st_mode) == 0o700


def test_each_folder_has_keys_of_its_own(folder: SiteFolder, tmp_path: Path) -> None:
    other = SiteFolder(tmp_path / "other")
    other.path.mkdir()
    other.make_keys()
    secrets = {
        folder.keys.to_bytes()[:32],
        folder.keys.to_bytes()[32:],
        folder.hub_key,
        other.keys.to_bytes()[:32],
        other.keys.to_bytes()[32:],
    }
    assert len(secrets | {other.hub_key}) == 6, "signing key, private stream and hub key, all different"


def test_a_key_that_is_missing_is_made_and_the_others_stay(folder: SiteFolder) -> None:
    identity = (folder.path / "keys" / "identity").read_bytes()
    (folder.path / "keys" / "hub").unlink()
    with pytest.raises(StoreError, match="keys are not there"):
        SiteFolder(folder.path).hub_key  # noqa: B018
    folder.make_keys()
    assert (folder.path / "keys" / "identity").read_bytes() == identity
    assert len(SiteFolder(folder.path).hub_key) == 32


def test_secrets_do_not_show_when_the_membership_is_printed() -> None:
    assert "abcdef" not in repr(replace(MEMBER, admission="abcdef"))


def test_an_empty_folder_says_what_comes_first(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="joined no study yet") as error:
        SiteFolder(tmp_path).membership  # noqa: B018
    assert "wardround site join" in error.value.remedy
    with pytest.raises(StoreError, match="no snapshot was prepared yet") as error:
        SiteFolder(tmp_path).brought  # noqa: B018
    assert "wardround site prepare" in error.value.remedy


def test_a_folder_that_joined_nothing_gets_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="joined no study yet"):
        SiteFolder(tmp_path).database()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"study": "small"}', json.dumps({**asdict(MEMBER), "more": 1})])
def test_a_damaged_membership_is_named(folder: SiteFolder, text: str) -> None:
    (folder.path / MEMBERSHIP).write_text(text)
    with pytest.raises(StoreError, match=r"membership\.json is damaged"):
        SiteFolder(folder.path).membership  # noqa: B018


@pytest.mark.parametrize("text", ["", "[]", '{"snapshot": "x"}'])
def test_a_damaged_note_of_the_snapshot_is_named(folder: SiteFolder, text: str) -> None:
    (folder.path / PREPARED).write_text(text)
    with pytest.raises(StoreError, match=r"prepared\.json is damaged"):
        SiteFolder(folder.path).brought  # noqa: B018


def test_another_plan_than_the_invite_s_is_refused(folder: SiteFolder) -> None:
    (folder.path / PROTOCOL).write_bytes(protocol(rounds={"quorum": 3}).canonical)
    with pytest.raises(VerificationError, match="not the protocol of the invite"):
        SiteFolder(folder.path).protocol  # noqa: B018
    (folder.path / PROTOCOL).unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        SiteFolder(folder.path).protocol  # noqa: B018


def test_a_new_snapshot_takes_the_place_of_the_old_one(folder: SiteFolder) -> None:
    newer = replace(BROUGHT, snapshot="sha256:" + "2" * 64)
    folder.bring(newer)
    assert folder.brought == newer
    assert folder.snapshot.name == "2" * 64


def test_files_are_written_whole_and_for_this_user_only(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one")
    write_bytes(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_log_names_site_and_study_and_the_gate_shares_it(folder: SiteFolder) -> None:
    connection = folder.database()
    gate = folder.gate(connection, frozenset({AGREED.digest}), rules())
    assert gate.log.signer.name == "north.centre/small"
    assert (gate.name, gate.examples, gate.policy.approved) == ("north", 36, frozenset({AGREED.digest}))
    assert folder.gate(connection, frozenset({AGREED.digest}), None).policy.approved == frozenset(), "without rules nothing is allowed"
    gate.join(BROUGHT, "officer")
    connection.commit()
    assert [entry["t"] for entry in folder.log(connection).entries()] == ["snapshot", "approval"]
    connection.close()
    assert stat.S_IMODE((folder.path / STATE).stat().st_mode) == 0o600


def test_the_log_is_there_before_any_snapshot(folder: SiteFolder) -> None:
    (folder.path / PREPARED).unlink()
    connection = folder.database()
    assert list(folder.log(connection).entries()) == []
    connection.close()
