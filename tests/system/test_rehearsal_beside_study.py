"""A rehearsal leaves the study alone: neither its decisions, nor its tasks, its private numbers or its logs."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.engines.federated import Federation, federation, open_protocol
from tests.support import rows
from tests.system.test_rehearsal import _task
from wardround import hospital, rehearsal, rehearsing
from wardround.cli import rehearse
from wardround.cli.doctor import Found
from wardround.coordinator.folder import Folder
from wardround.engines.messages import task_message
from wardround.engines.subjects import TASKS
from wardround.site.accept import accept
from wardround.site.folder import SiteFolder
from wardround.site.gate import Work
from wardround.study import errors
from wardround.study.errors import PolicyRefused, ProtocolError, StoreError, WardroundError
from wardround.study.protocol.rehearsed import rehearsal_of


def settle(made: Federation, seconds: float, enough: str = "") -> None:
    """Have the coordinator take in what comes, until one more site has approved or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (enough and enough in made.serving.approved - made.serving._declined):
        made.serving.engine.listen(0.1)
        made.serving._settle_pending()


def test_what_keeps_a_hospital_from_a_rehearsal_is_no_word_about_the_study(tmp_path: Path) -> None:
    """The very command, given while the study is served and the hospital takes part."""
    with federation(tmp_path, open_protocol(rounds={"quorum": 1}), {"site0": rows(0)}) as made:
        settle(made, 20, "site0")
        gate = made.gates["site0"]
        with pytest.raises(StoreError, match="Another process takes part as this site here"):
            rehearsing.take_part(SiteFolder(gate.folder.path), print)
        with pytest.raises(StoreError, match="A process takes part as this hospital here"):
            rehearse.site_rehearse(gate.folder.path, None)
        rehearse._tell(SiteFolder(gate.folder.path), "disk: no room.", "Make room.")
        settle(made, 1.5)
        assert made.serving._words() == {"site0": "approved"} and not gate.failed
        made.serving.gather_approvals()
        assert made.serving.roster == ("site0",)


def test_who_refused_and_approves_after_all_takes_part(tmp_path: Path) -> None:
    with federation(tmp_path, open_protocol(rounds={"quorum": 1}), {"site0": rows(0)}) as made:
        settle(made, 20, "site0")
        gate = made.gates["site0"]
        gate.stop()
        assert hospital.refuse(gate.folder, "not now")
        settle(made, 1)
        assert made.serving._words() == {"site0": "refused the protocol"}
        hospital.approve(gate.folder, "tester")
        gate.start()
        settle(made, 20, "site0")
        assert made.serving._words() == {"site0": "approved"}


def test_a_rehearsal_ends_where_the_study_is_served_and_takes_no_task_of_it(tmp_path: Path) -> None:
    with federation(tmp_path, open_protocol(rounds={"quorum": 1}), {"site0": rows(0)}, run=False) as made:
        folder, serving = made.gates["site0"].folder, made.serving
        member, task = serving._members()["site0"], _task(made.gates["site0"].folder)
        serving.engine._put_task(member.slot, task_message(task, serving.engine._store(task)).signed(made.centre.key))
        with pytest.raises(PolicyRefused, match="serves the study itself, not its rehearsal"):
            rehearsing.take_part(SiteFolder(folder.path), print)
        assert not serving.presence.here("site0"), "who rehearses does not count as there"
        queue = serving._link.api(f"$JS.API.CONSUMER.INFO.{TASKS}.{member.slot}")
        assert queue["num_pending"] + queue["num_ack_pending"] == 1, "the task waits for the study's own process"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Serve a study, have one hospital join it, and end."""
    with federation(tmp_path_factory.mktemp("beside"), open_protocol(rounds={"quorum": 1}), {"site0": rows(0)}, run=False) as found:
        pass
    return found


def _work(folder: SiteFolder) -> Work:
    """Return the work in the plan's first task, as the gate hands it to the worker."""
    with closing(folder.database()) as connection:
        found = accept(folder.gate(connection, frozenset({folder.protocol.digest}), folder.rules), _task(folder))
    assert isinstance(found, Work)
    return found


def test_a_rehearsal_uses_none_of_the_studys_private_numbers(made: Federation) -> None:
    folder = SiteFolder(made.gates["site0"].folder.path)
    rehearsed = _work(rehearsing.set_up(folder))
    study = _work(folder)
    assert rehearsed.task.ask == study.task.ask, "the very same is asked, so that only the plan tells them apart"
    assert rehearsed.rng.key != study.rng.key


def _log_of(folder: SiteFolder) -> str:
    with closing(folder.database()) as connection:
        return folder.log(connection).origin


def test_no_two_logs_have_one_name(made: Federation) -> None:
    folder = SiteFolder(made.gates["site0"].folder.path)
    names = [_log_of(folder), *(_log_of(rehearsing.set_up(folder)) for _ in range(2))]
    centre = Folder(made.centre.path)
    names += [centre.signer.name, *(rehearsal._laid_out(centre).signer.name for _ in range(2))]
    assert len(set(names)) == len(names)


def test_nobody_joins_or_approves_a_rehearsal(made: Federation, tmp_path: Path) -> None:
    agreed = open_protocol(rounds={"quorum": 1})
    with pytest.raises(PolicyRefused, match="nobody approves one"):
        hospital.approve(rehearsing.set_up(SiteFolder(made.gates["site0"].folder.path)), "somebody")
    with pytest.raises(ProtocolError, match="is a rehearsal already"):
        rehearsal_of(rehearsal_of(agreed))
    refused = pytest.raises(PolicyRefused, match="to a rehearsal, which nobody joins")
    with refused, federation(tmp_path, rehearsal_of(agreed), {"site0": rows(0)}, run=False):
        pass


def test_the_coordinating_centre_is_told_no_local_path() -> None:
    kinds = {one.__name__ for one in vars(errors).values() if isinstance(one, type) and issubclass(one, WardroundError)}
    assert kinds - {"WardroundError", "QuorumNotMet", "NeverCloses"} == set(rehearse._SENTENCES)
    assert "/srv" not in "".join(rehearse._outside(Found("folder", "missing", "/srv/x/keys: not there", "Look into /srv/x.")))
    assert rehearse._outside(Found("disk", "missing", "no room", "Make room.")) == ("disk: no room.", "Make room.")
