"""A site signs one exact protocol for one exact snapshot; anything else is no approval."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import protocol, small
from wardround.record.commitment import check as check_commitment
from wardround.record.envelope import APPROVAL
from wardround.record.envelope import open as open_envelope
from wardround.site.approval import approval, approve, leave, refuse, refused
from wardround.site.gate import Brought, Site
from wardround.site.journal import Journal
from wardround.study.errors import PolicyRefused

BROUGHT = Brought("sha256:" + "1" * 64, 60, 36, "table")


@pytest.fixture
def made(tmp_path: Path) -> tuple[Site, Journal]:
    study = small(tmp_path)
    return study.places["site0"].site, Journal(study.store.connection)


def test_nothing_is_approved_to_begin_with(made: tuple[Site, Journal]) -> None:
    site, journal = made
    assert refused(journal) is None
    with pytest.raises(PolicyRefused, match="has not approved") as error:
        approval(journal, site.protocol.digest, BROUGHT)
    assert "wardround site approve" in error.value.remedy


def test_what_is_approved_is_signed_logged_and_kept(made: tuple[Site, Journal]) -> None:
    site, journal = made
    approve(site, journal, BROUGHT, "data-protection officer")
    found = approval(journal, site.protocol.digest, BROUGHT)
    stated = json.loads(open_envelope(found["envelope"], APPROVAL, site.keys.public))
    assert stated == {"protocol": site.protocol.digest, "site": "site0", "role": "data-protection officer"}
    entries = list(site.log.entries())
    assert [entry["t"] for entry in entries] == ["snapshot", "approval"]
    assert entries[1]["envelope"] == found["envelope"]
    assert found["head"] == [2, site.log.head[1]]
    assert entries[0]["patients"] == "50-99", "a band, not the number"
    assert BROUGHT.snapshot not in json.dumps(entries), "the snapshot is named by a salted commitment only"


def test_a_snapshot_has_one_commitment_in_a_study_which_the_site_can_open_and_another_in_the_next(made: tuple[Site, Journal]) -> None:
    site, journal = made
    approve(site, journal, BROUGHT, "officer")
    approve(site, journal, BROUGHT, "officer")
    commits = [entry["snapshot"] for entry in site.log.entries() if entry["t"] == "snapshot"]
    other = protocol(study="other")
    assert commits == [site.data] * 2 and replace(site, protocol=other).data != site.data
    salt = site.keys.private.child("snapshot", site.protocol.digest, site.state.snapshot).key
    check_commitment(site.data, salt, site.state.snapshot.encode())


def test_another_protocol_is_not_approved(made: tuple[Site, Journal]) -> None:
    site, journal = made
    approve(site, journal, BROUGHT, "officer")
    with pytest.raises(PolicyRefused, match="another one than this site approved"):
        approval(journal, protocol(rounds={"quorum": 3}).digest, BROUGHT)


def test_a_snapshot_that_was_changed_since_is_not_approved(made: tuple[Site, Journal]) -> None:
    site, journal = made
    approve(site, journal, BROUGHT, "officer")
    with pytest.raises(PolicyRefused, match="snapshot was changed after the approval"):
        approval(journal, site.protocol.digest, replace(BROUGHT, snapshot="sha256:" + "2" * 64))


def test_a_refusal_takes_the_approval_back_and_an_approval_the_refusal(made: tuple[Site, Journal]) -> None:
    site, journal = made
    approve(site, journal, BROUGHT, "officer")
    refuse(journal, site.log, site.name, site.protocol.digest, "not\nnow")
    assert refused(journal) == "not\nnow"
    last = list(site.log.entries())[-1]
    assert (last["t"], last["site"], last["protocol"], last["reason"]) == ("declined", "site0", site.protocol.digest, "not now")
    with pytest.raises(PolicyRefused, match="has not approved"):
        approval(journal, site.protocol.digest, BROUGHT)
    approve(site, journal, BROUGHT, "officer")
    assert refused(journal) is None
    assert approval(journal, site.protocol.digest, BROUGHT)["role"] == "officer"


def test_leaving_is_logged_and_ends_the_approval(made: tuple[Site, Journal]) -> None:
    site, journal = made
    approve(site, journal, BROUGHT, "officer")
    leave(journal, site.log, site.name, site.protocol.digest)
    assert refused(journal) == "this site has left the study"
    assert [entry["t"] for entry in site.log.entries()] == ["snapshot", "approval", "left"]
    with pytest.raises(PolicyRefused, match="has not approved"):
        approval(journal, site.protocol.digest, BROUGHT)
