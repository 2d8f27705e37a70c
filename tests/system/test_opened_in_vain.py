"""A total that was asked to be opened and did not come out: the coordinator was killed, or heard too few. The round closes all the same.

Sites that helped to open a total help to open no other one of its round, so nobody may be lost on the way to a new attempt: the very
attempt is finished, with those that are left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_simulate import hospital, study
from tests.engines.losing import Killed, Loss, Lying, Mortal, digests, lose
from tests.support import Small, small
from tests.system.secure_studies import SECOND, SEVEN, TINY, agreed, named, patients
from tests.system.test_bucketed_study import groups
from tests.system.test_bucketed_study import made as in_groups
from wardround import simulate, simulated
from wardround.coordinator import openings
from wardround.engines.inprocess import InProcess
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.site.accept import accept
from wardround.study.canonical import canonical, digest_json
from wardround.study.errors import NeverCloses, QuorumNotMet
from wardround.study.interfaces import Engine
from wardround.study.task import Refusal, Task


class Left(InProcess):
    """Be without the sites that left the study for good."""

    gone: Collection[str] = ()

    def sites(self) -> tuple[str, ...]:
        return tuple(site for site in super().sites() if site not in self.gone)


def without(*gone: str) -> type[InProcess]:
    """Return an engine of the sites that are left."""
    return type("LeftForGood", (Left,), {"gone": gone})


def cut(folder: Path, replies: int, *losses: Loss, remembered: bool = False) -> None:
    """Run a study whose coordinator is killed when so many have helped to open the total of one round; -1: before any is asked."""
    made = small(
        folder, agreed(phases=TINY), patients(), wrap=lambda engine: Mortal(lose(*losses)(engine), SECOND, "open", replies), following=True
    )
    with pytest.raises(Killed):
        made.run()
    if remembered:
        made.store.commit()  # the hospitals' own; here they share the coordinator's disk
    made.store.close()


def again(folder: Path, *gone: str, **more: Any) -> Small:
    """Return the study as it is after a restart, without the sites that left meanwhile."""
    return small(folder, agreed(phases=TINY), patients(), following=True, kind=without(*gone), **more)


def asked(study: Small) -> Mortal:
    """Have what is asked of the engine noted."""
    study.engine = found = Mortal(study.engine, ("", 0), "", 0)
    return found


def attempts(study: Small) -> list[int]:
    return [one.attempt for one in study.book.closings if (one.phase, one.round) == SECOND]


AT = {"before": -1, "unheard": 0, "half heard": 3, "almost": 6}
"""How many have helped to open the total, as far as the coordinator knows, when it is killed."""


@pytest.mark.parametrize(
    ("when", "gone"), [("before", ()), ("unheard", SEVEN[5:]), ("half heard", SEVEN[:2]), ("half heard", SEVEN[5:]), ("almost", SEVEN[:1])]
)
def test_who_leaves_while_the_coordinator_is_dead_does_not_end_the_study(
    when: str, gone: tuple[str, ...], tmp_path: Path, tiny: Mapping[str, str]
) -> None:
    cut(tmp_path, AT[when])
    study = again(tmp_path, *gone)
    watched = asked(study)
    done = digests(study.run())
    assert watched.asked[0] == (*SECOND, 0, "open"), "nothing is asked anew"
    assert attempts(study) == [0]
    closing = next(one for one in study.book.closings if (one.phase, one.round) == SECOND)
    assert closing.survivors == SEVEN, "who has left since is in the total"
    assert not study.refused
    assert gone or done == tiny


def test_a_coordinator_that_is_killed_again_and_again_comes_to_the_same(tmp_path: Path, tiny: Mapping[str, str]) -> None:
    cut(tmp_path, 2)
    for replies in (-1, 1):
        study = again(tmp_path)
        study.engine = Mortal(study.engine, SECOND, "open", replies)
        with pytest.raises(Killed):
            study.run()
        study.store.close()
    study = again(tmp_path)
    assert digests(study.run()) == tiny
    assert attempts(study) == [0]


def test_too_few_are_named_and_the_study_waits_for_any_of_those_in_the_total(tmp_path: Path) -> None:
    """One was away when the total was agreed to and comes back, three when it was opened: of these one has to."""
    lost = [Loss(SEVEN[:1], "agree", SECOND), Loss(SEVEN[1:4], "open", SECOND, attempts=range(9))]
    study = small(tmp_path, agreed(phases=TINY), patients(), wrap=lose(*lost), following=True)
    with pytest.raises(QuorumNotMet, match=r"4 of 5 sites, 2 times: 1 more .* must help to open it; it waits for site1, site2, site3\."):
        study.run()
    assert named(study) == {(*SECOND, site) for site in SEVEN[:4]}
    assert not [one for one in study.book.log.entries() if one["t"] in ("refusal", "round_short")], "the record names who is not in a total"
    study.store.close()
    later = again(tmp_path, "site2", "site3", wrap=lose(Loss(["site0"], "keys", SECOND, attempts=range(9))))
    later.run()
    assert attempts(later) == [0]


def test_where_too_few_are_left_for_good_the_study_says_so_and_with_whom_it_could_go_on(tmp_path: Path, tiny: Mapping[str, str]) -> None:
    """Three helped and three of seven left: nobody can open that total any more, and the three open no other."""
    lost = Loss(SEVEN[3:], "open", SECOND, attempts=range(9))
    study = small(tmp_path, agreed(phases=TINY), patients(), wrap=lose(lost), following=True)
    with pytest.raises(QuorumNotMet):
        study.run()
    study.store.close()
    names = ", ".join(SEVEN)
    for _ in range(2):
        left = again(tmp_path, *SEVEN[4:])
        with pytest.raises(
            NeverCloses, match=f"helped to open a total of {names}, and help to open no other; site4, site5, site6 left the study"
        ):
            left.run()
        left.store.close()
    back = again(tmp_path)
    assert digests(back.run()) == tiny, "with the very same sites the round closes, in a later attempt"
    assert attempts(back) > [0]


def test_sites_that_helped_to_open_one_total_open_no_other_whatever_the_coordinator_forgot(tmp_path: Path) -> None:
    """A coordinator that begins anew, as an older release did, gets nothing by it."""
    cut(tmp_path, 3, remembered=True)
    study = again(tmp_path, "site6")
    study.store.connection.execute("DELETE FROM opening")
    study.store.put_attempt("train", 1)
    with pytest.raises(QuorumNotMet):
        study.run()
    assert {one.reason for one in study.refused} == {
        "secure sum, agree: another total of this round was opened in an earlier attempt, with other sites in it"
    }


@pytest.mark.parametrize("lost", [2, 3])
def test_groups_that_were_not_opened_are_opened_later(lost: int, tmp_path: Path) -> None:
    """Two of five fall silent in all groups but one, and one of that group is gone before the others come back."""
    probe = groups(in_groups(tmp_path / "probe", 15))
    silent = [site for group in probe[1:] for site in group[:lost]]
    turn = ("moments", 0)
    losses = (Loss(silent, "open", turn), Loss(probe[0][:1], "agree", turn, attempts=range(1, 99)))
    study = in_groups(tmp_path / "study", 15, "bucketed", *losses)
    study.run()
    assert [one.attempt for one in study.book.closings if (one.phase, one.round) == turn] == [0]
    assert study.book.closings[0].survivors == study.names


# the record


def failing(folder: Path) -> list[str]:
    """Return the lines of `verify` that fail."""
    return [str(line) for line in verify(folder).lines if line.verdict is Verdict.FAIL]


HOW: list[dict[str, Any]] = [{"combine": "secure"}, {"combine": "one_message", "helpers": ["h0", "h1", "h2"]}]


@pytest.mark.parametrize("how", HOW, ids=["secure", "one message"])
def test_the_record_is_whole(how: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One site is away all round; the coordinator is killed, too few help, it is killed again; then all come back."""
    files = [hospital(tmp_path, number, 70) for number in range(5)]
    plan = study(rounds={"quorum": 3, "attempts": 2, **how})
    lost = [Loss(["h4"], "answer", SECOND, attempts=range(9)), Loss(["h0", "h1"], "open", SECOND, attempts=range(9))]
    replies = iter([0, 99, -1, 99])

    def engine(*given: Any) -> Engine:
        return Mortal(lose(*lost)(InProcess(*given)), SECOND, "open", next(replies))

    monkeypatch.setattr(simulated, "InProcess", engine)
    for stopped in (Killed, QuorumNotMet, Killed):
        with pytest.raises(stopped):
            simulate(plan, files, tmp_path / "out")
    del lost[1:]
    simulate(plan, files, tmp_path / "out")
    assert not failing(tmp_path / "out")
    text = (tmp_path / "out" / "record" / "study" / "entries.jsonl").read_text()
    assert '"t":"round_short"' not in text and '"t":"resumed"' in text


# sums of one message


def windowed(folder: Path, **more: Any) -> Small:
    """Return a study in sums of one message among five sites."""
    plan = agreed("one_message", 5, phases=TINY, rounds={"helpers": ["site0", "site1", "site2"]})
    return small(folder, plan, dict(list(patients().items())[:5]), following=True, **more)


def test_a_helper_that_says_nonsense_once_stops_no_round(tmp_path: Path) -> None:
    """Another helper is away just then and comes back; each is asked again only for what it holds."""
    made = windowed(tmp_path, wrap=lose(Loss(["site1"], "open", SECOND)))
    made.engine = Lying(made.engine, "site0", made.places["site0"].site.keys.signing, SECOND, "open", lambda body: b"{")
    made.run()
    assert attempts(made) == [0]
    assert {one.site for one in made.refused} == {"site0", "site1"}, "no honest helper is asked for what it does not hold"


@pytest.mark.parametrize("combine", ["secure", "one message"])
def test_nothing_of_a_closed_round_is_left_on_the_disk(combine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long phase would fill it."""
    monkeypatch.setattr(openings, "LARGE", 0)
    left: list[list[str]] = []

    class Looking(Mortal):
        def send(self, tasks: Sequence[Task]) -> None:
            if tasks[0].stage == "keys" and tasks[0].round:
                left.append([path.name for path in tmp_path.rglob("opening.*")])
            super().send(tasks)

    def looking(engine: Engine) -> Engine:
        return Looking(engine, ("", 0), "", 0)

    made = windowed(tmp_path, wrap=looking) if combine == "one message" else again(tmp_path, wrap=looking)
    made.run()
    assert left and not any(left)


def test_the_list_of_a_task_that_was_refused_binds_nobody(tmp_path: Path) -> None:
    asked: list[Task] = []

    class Noting(Mortal):
        def send(self, tasks: Sequence[Task]) -> None:
            asked.extend(tasks)
            super().send(tasks)

    made = again(tmp_path, wrap=lambda engine: Noting(engine, ("moments", 0), "keys", -1))
    with pytest.raises(Killed):
        made.run()
    task, site, names = asked[0], made.places[asked[0].site].site, SEVEN[:3]
    other = replace(task, roster=digest_json(names), relay=canonical({"roster": names}), ask="sha256:" + "0" * 64)
    assert isinstance(accept(site, other), Refusal)
    assert not site.state.sessions.roster()
    assert not isinstance(accept(site, task), Refusal)
