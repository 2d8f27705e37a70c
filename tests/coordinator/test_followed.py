"""The list of the study's first round: noted before anybody hears of it, and the same in every task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import Small, protocol, rows, small
from wardround.combining.secure.wording import Broken
from wardround.coordinator.rounds import plan
from wardround.engines.inprocess import InProcess
from wardround.study.canonical import canonical, digest_json
from wardround.study.errors import QuorumNotMet, WardroundError
from wardround.study.streams import Stream
from wardround.study.task import Done, Refusal, RoundClosed, Short, State, Task


def study(folder: Path, combine: str, sites: int) -> Small:
    agreed = protocol(bounds={"sites": max(sites, 15), "examples": 500}, rounds={"quorum": 3, "combine": combine})
    return small(folder, agreed, {f"site{number:02d}": rows(number, 30) for number in range(sites)}, following=agreed.hides)


def asked(made: Small, sites: Sequence[str] = (), attempt: int = 0) -> Sequence[Task]:
    """Open a round in which some sites are asked, and return the tasks."""
    phase = made.protocol.algorithms[0]
    earlier = {"initial": Done("initial", 0, {})}
    state = phase.begin(made.protocol, earlier, Stream.public(1))
    assert isinstance(state, State)
    made.store.put_state(state)
    tasks = plan(made.protocol, made.engine, made.book, state, attempt, phase.ask(state))
    return made.book.opened(state, [task for task in tasks if not sites or task.site in sites])


@pytest.mark.parametrize("combine", ["secure", "bucketed"])
def test_the_first_list_outlives_the_coordinator(combine: str, tmp_path: Path) -> None:
    made = study(tmp_path, combine, 16)
    asked(made)
    names = list(made.names)
    made.store.close()
    again = study(tmp_path, combine, 17)
    tasks = asked(again, [*names[2:], "site16"], attempt=1)
    assert [task.site for task in tasks] == names[2:], "who was not asked first is not asked later"
    assert {task.roster for task in tasks} == {digest_json(names)}
    assert {task.relay for task in tasks} == {canonical({"roster": names})}


@pytest.mark.parametrize("combine", ["secure", "bucketed"])
def test_where_groups_vouch_the_last_closing_goes_to_everybody(combine: str, tmp_path: Path) -> None:
    made = study(tmp_path, combine, 16)
    assert not any(task.closed for task in asked(made))
    last = RoundClosed("moments", 0, 0, (), digest_json(1), digest_json(2), "", made.names)
    made.book.closings.append(last)
    made.store.put_supply(last.total, {})
    made.book.delivered["site03"] = 1
    found = {task.site: task.closed for task in asked(made, attempt=1)}
    assert found.pop("site03") == ((last,) if combine == "bucketed" else ())
    assert all(closed == (last,) for closed in found.values())


def test_too_few_for_groups_are_not_noted(tmp_path: Path) -> None:
    made = study(tmp_path, "bucketed", 14)
    with pytest.raises(WardroundError, match=r"^14 sites are too few for groups of 5"):
        asked(made)
    assert made.store.meta("first_round") is None
    assert not [one for one in made.book.log.entries() if one["t"] == "round_open"]


def test_plain_sums_need_no_list(tmp_path: Path) -> None:
    made = study(tmp_path, "plain", 4)
    assert not any(task.relay for task in asked(made))
    assert made.store.meta("first_round") is None


class Other(InProcess):
    """Be of other sites than those that are there."""

    def sites(self) -> tuple[str, ...]:
        return ("north", "south")


@pytest.mark.parametrize("combine", ["secure", "bucketed"])
def test_where_none_of_the_first_sites_is_left_nobody_else_is_asked(combine: str, tmp_path: Path) -> None:
    made = study(tmp_path, combine, 16)
    asked(made)
    made.engine = Other(made.protocol, made.places)
    with pytest.raises(QuorumNotMet, match=r"^None of the sites of the study's first round takes part any more"):
        asked(made, attempt=1)
    assert len([one for one in made.book.log.entries() if one["t"] == "round_open"]) == 1


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_where_no_site_is_left_the_study_says_so(combine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = study(tmp_path, combine, 4)
    monkeypatch.setattr(InProcess, "sites", lambda self: ())
    with pytest.raises(QuorumNotMet, match=r"^No site takes part in this study any more\."):
        made.run()


def false_shares(of: str, found_by: Sequence[str]) -> list[Refusal]:
    reason = Broken.at("answer", f"the shares of site {of} are not those that it committed to").message
    return [Refusal("", site, "accept", reason, "") for site in found_by]


@pytest.mark.parametrize(("accusers", "out"), [(2, False), (3, True), (6, True)])
def test_who_is_accused_by_more_than_can_all_be_lying_is_not_asked_again_in_this_round(accusers: int, out: bool, tmp_path: Path) -> None:
    """Of seven two may be hostile; the accused may be honest and they may lie."""
    made = study(tmp_path, "secure", 7)
    tasks = asked(made)
    kept = made.store.state("moments")
    assert kept is not None
    accused = made.names[-1]
    made.book.short(kept[0], 0, Short(7 - accusers, 5), false_shares(accused, made.names[:accusers]))
    assert [task.site for task in asked(made, attempt=1)] == [name for name in made.names if not (out and name == accused)]
    refusals = {one["site"]: one["reason"] for one in made.book.log.entries() if one["t"] == "refusal"}
    assert refusals.get(accused) == (f"{accusers} sites found its shares false" if out else None)
    short = next(one for one in made.book.log.entries() if one["t"] == "round_short")
    assert short["sites"] + len(refusals) == len(tasks)


def test_nobody_is_left_out_where_too_few_would_be_left(tmp_path: Path) -> None:
    made = study(tmp_path, "secure", 3)
    asked(made)
    kept = made.store.state("moments")
    assert kept is not None
    made.book.short(kept[0], 0, Short(2, 3), false_shares("site02", ["site00"]))
    assert [task.site for task in asked(made, attempt=1)] == list(made.names)
