"""Whole studies with totals of random groups: what a hostile site can do in one, and who is left out when a group is not opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.engines.losing import Loss, digests, lose
from tests.support import PHASES, Small, protocol, rows, small
from wardround.combining.fixedpoint import decoded, unpack
from wardround.combining.gather import gather
from wardround.combining.secure.groups import combined, groups_of
from wardround.combining.secure.masked import Bucketed, first_roster, grouped_sums
from wardround.combining.secure.vouching import opened_groups
from wardround.combining.secure.words import STAGES
from wardround.coordinator import events
from wardround.engines.inprocess import InProcess
from wardround.site.gate import Work
from wardround.study.arrays import Arrays
from wardround.study.canonical import digest_json
from wardround.study.dataset import Dataset
from wardround.study.errors import QuorumNotMet, WardroundError
from wardround.study.interfaces import Admit, Collected, Combiner, Engine, Reply
from wardround.study.protocol import Protocol
from wardround.study.task import Answer, Refusal, Task, Total

FIRST, SECOND = ("train", 0), ("train", 1)
TINY = [PHASES[0], {**PHASES[1], "rounds": 2, "batch_size": 64}]


def agreed(combine: str, sites: int) -> Protocol:
    return protocol(phases=TINY, bounds={"sites": sites, "examples": 500}, rounds={"quorum": 3, "attempts": 2, "combine": combine})


def patients(count: int) -> dict[str, Dataset]:
    return {f"site{number:02d}": rows(number, 40 + number) for number in range(count)}


def made(
    folder: Path, sites: int, combine: str = "bucketed", *losses: Loss, combiner: Combiner | None = None, hostile: bool = False
) -> Small:
    """Return a study that can be run."""
    folder.mkdir(exist_ok=True)
    kind = Hostile if hostile else InProcess
    plan = agreed(combine, max(sites, 15))
    return small(folder, plan, patients(sites), wrap=lose(*losses), following=plan.hides, combiner=combiner, kind=kind)


def groups(study: Small) -> tuple[tuple[str, ...], ...]:
    return groups_of(study.protocol.digest, study.names)


def named(study: Small) -> dict[tuple[str, int, str], str]:
    """Return why whose part in which round did not happen."""
    return {(one.phase, one.round, one.site): one.reason for one in study.seen if isinstance(one, events.Refused)}


def shorts(study: Small) -> list[tuple[str, int]]:
    opened = [(one.phase, one.round) for one in study.seen if isinstance(one, events.RoundOpened)]
    return sorted({turn for turn in opened if opened.count(turn) > 1})


@dataclass(frozen=True)
class Bare(Combiner):
    """Do with answers that everybody can read what `Bucketed` does with masked ones.

    Attributes:
        protocol: digest of the one whose groups are meant.
    """

    protocol: str

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        refusals: list[Refusal] = []
        layout = tasks[0].body.layout
        found = {update.site: integers for update, integers in gather(engine, tasks, admit, unpack, due, refusals)}
        totals = []
        for group in groups_of(self.protocol, sorted(task.site for task in tasks)):
            totals.append({term.name: np.asarray(np.sum([found[site][term.name] for site in group], axis=0)) for term in layout})
        sums = combined(layout, [decoded(layout, total) for total in totals])
        return Total(layout, {}, sums, len(found)), tuple(refusals)


def test_the_model_is_the_one_that_the_rule_makes_of_plain_groups(tmp_path: Path) -> None:
    study = made(tmp_path / "bucketed", 17)
    done = digests(study.run())
    assert not study.refused
    assert done == digests(made(tmp_path / "plain", 17, "plain", combiner=Bare(study.protocol.digest)).run())
    assert done != digests(made(tmp_path / "secure", 17, "secure").run())


class Hostile(InProcess):
    """Let one site claim the most examples there may be, and push every parameter as far up as it may."""

    def _here(self, work: Sequence[Work]) -> Iterator[tuple[int, Reply]]:
        for number, reply in super()._here(work):
            if work[number].task.site == "site03" and work[number].task.phase == "train" and not isinstance(reply, Refusal):
                reply = Answer(self._pushed(work[number], reply[0].sums)), reply[1]
            yield number, reply

    def _pushed(self, work: Work, sums: Arrays) -> Arrays:
        counts = {term.per for term in work.task.body.layout}
        ends = {term.name: np.full(term.shape, term.limit) for term in work.task.body.layout if term.per or term.name in counts}
        return {**sums, **ends}


def model(study: Small) -> np.ndarray:
    found: Mapping[str, np.ndarray] = study.run()["train"].model or {}
    return np.concatenate([np.asarray(found[name], np.float64).reshape(-1) for name in sorted(found) if found[name].dtype.kind == "f"])


def test_a_hostile_site_moves_the_model_far_less_than_in_one_sum(tmp_path: Path) -> None:
    moved = {}
    for combine in ("secure", "bucketed"):
        calm, bent = made(tmp_path / f"{combine} calm", 15, combine), made(tmp_path / f"{combine} bent", 15, combine, hostile=True)
        moved[combine] = float(np.linalg.norm(model(bent) - model(calm)))
        assert not bent.refused, "masks hide it: nobody can tell that it is hostile"
    assert moved["secure"] > 10 * moved["bucketed"] > 0, moved


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_group_that_falls_below_its_threshold_is_left_out_by_name_and_comes_back(stage: str, tmp_path: Path) -> None:
    who = groups(made(tmp_path, 20))[2]
    study = made(tmp_path / "lost", 20, "bucketed", Loss(who[:2], stage, SECOND))
    study.run()
    found = named(study)
    assert {one for one in found if one[:2] == SECOND} == {(*SECOND, site) for site in who}
    assert len(found) == len(who), "whoever had no part in the last total is in the next one again"
    assert all(found[(*SECOND, site)].startswith("its group was not opened: 3 sites were left") for site in who[2:])
    assert not shorts(study)
    closing = next(one for one in study.book.closings if (one.phase, one.round) == SECOND)
    assert closing.survivors == tuple(sorted(set(study.names) - set(who)))
    assert closing.attempt == 0


def test_with_too_few_groups_nothing_closes_and_the_next_attempt_makes_it_good(tmp_path: Path) -> None:
    calm = made(tmp_path / "calm", 16)
    done = digests(calm.run())
    study = made(tmp_path / "lost", 16, "bucketed", Loss(groups(calm)[0][:3], "answer", SECOND))
    assert digests(study.run()) == done
    assert shorts(study) == [SECOND]
    assert [one.attempt for one in study.book.closings if (one.phase, one.round) == SECOND] == [1]
    assert {site for (_, _, site) in named(study)} == set(groups(calm)[0]), "no other group was opened, and nobody else is named"
    opened = [entry for entry in study.book.log.entries() if entry["t"] == "ingress" and entry["stage"] == "open"]
    assert not [entry for entry in opened if (entry["phase"], entry["round"], entry["attempt"]) == (*SECOND, 0)]


@pytest.mark.parametrize(("away", "short"), [(2, False), (3, True)])
def test_a_round_waits_for_those_who_can_vouch_for_each_group(away: int, short: bool, tmp_path: Path) -> None:
    """Without two of five their group is left out; without three nobody can vouch for its last total, and nobody is asked in vain."""
    calm = made(tmp_path / "calm", 25)
    who = groups(calm)[1][:away]
    study = made(tmp_path / "lost", 25, "bucketed", Loss(who, "keys", SECOND))
    study.run()
    assert shorts(study) == ([SECOND] if short else [])
    entries = list(study.book.log.entries())
    asked = [one for one in entries if one["t"] == "ingress" and (one["phase"], one["round"], one["attempt"]) == (*SECOND, 0)]
    assert ({one["stage"] for one in asked} == {"keys"}) == short
    assert not [one for one in entries if one["t"] == "refusal" and one["site"] not in who and one["reason"].startswith("secure sum")]


def test_who_is_missing_for_a_groups_word_is_said(tmp_path: Path) -> None:
    calm = made(tmp_path / "calm", 20)
    group = groups(calm)[1]
    study = made(tmp_path / "lost", 20, "bucketed", Loss(group[:3], "keys", SECOND, attempts=range(9)))
    with pytest.raises(QuorumNotMet, match=r"2 of the 5 sites in the last total of one group \(.*\) say that they checked it") as found:
        study.run()
    assert all(site in found.value.message for site in group)
    assert {site for _, _, site in named(study)} == set(group), "the two that are left cannot open their group"


class Fewer(InProcess):
    """Have some sites leave the study after its first phase."""

    def sites(self) -> tuple[str, ...]:
        return tuple(site for site in super().sites() if site not in self.left)

    def send(self, tasks: Sequence[Task]) -> None:
        if (tasks[0].phase, tasks[0].round) == FIRST:
            self.left = ("site07", "site12")
        super().send(tasks)

    left: tuple[str, ...] = ()


@pytest.mark.parametrize("combine", ["bucketed", "secure"])
def test_who_leaves_changes_neither_the_division_nor_the_threshold(combine: str, tmp_path: Path) -> None:
    """Gates count the sites of the first round, and so does the coordinator: it asks nothing that they refuse."""
    plan = agreed(combine, 17)
    study = small(tmp_path, plan, patients(17), kind=Fewer, following=True)
    done = digests(study.run())
    assert not study.refused
    closing = next(one for one in study.book.closings if (one.phase, one.round) == SECOND)
    assert set(closing.survivors) == set(study.names) - {"site07", "site12"}
    rosters = {entry["roster"] for entry in study.book.log.entries() if entry["t"] == "round_open"}
    assert rosters == {digest_json(list(study.names))}
    (tmp_path / "lost").mkdir()
    away = lose(Loss(["site07", "site12"], "keys", SECOND))
    assert done == digests(small(tmp_path / "lost", plan, patients(17), wrap=away, following=True).run())


def test_fourteen_sites_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match=r"^14 sites are too few for groups of 5") as found:
        made(tmp_path, 14).run()
    assert "secure" in found.value.remedy


def test_a_list_that_is_too_short_is_not_the_first(tmp_path: Path) -> None:
    """Else the study could never begin, since the first list stands for ever."""
    short = small(tmp_path, agreed("bucketed", 15), patients(14), following=True)
    with pytest.raises(WardroundError, match=r"^14 sites are too few"):
        short.run()
    short.store.close()
    (study := small(tmp_path, agreed("bucketed", 15), patients(15), following=True)).run()
    assert not study.refused


@dataclass(frozen=True)
class Forging(Bucketed):
    """Publish one group's total with one number altered."""

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        total, refusals = super().collect(engine, tasks, admit, quorum, due)
        if (tasks[0].phase, tasks[0].round) == FIRST and isinstance(total, Total):
            name = next(one for one in total.integers if one.startswith("1/update/"))
            altered = np.array(total.integers[name])
            altered.reshape(-1)[:1] += 1
            integers, parties = {**total.integers, name: altered}, self.divided(tasks[0].protocol, first_roster(tasks))
            sums = grouped_sums(total.layout, integers, opened_groups(parties, total.proof[0]))
            total = replace(total, integers=integers, sums=sums)
        return total, refusals


def test_every_site_of_a_group_refuses_a_forged_total_of_it(tmp_path: Path) -> None:
    study = made(tmp_path, 15, combiner=Forging())
    with pytest.raises(QuorumNotMet):
        study.run()
    forged = {site for (_, _, site), why in named(study).items() if "is not what the sites' sums came to" in why}
    assert forged == set(groups(study)[1])
    assert {(one.phase, one.round) for one in study.book.closings} == {("moments", 0), FIRST}, "the study ends there"
