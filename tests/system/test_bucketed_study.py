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
from wardround.combining.secure.masked import Bucketed
from wardround.combining.secure.words import STAGES
from wardround.coordinator import events
from wardround.engines.inprocess import InProcess
from wardround.site.gate import Work
from wardround.study.arrays import Arrays
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


def groups(study: Small, turn: tuple[str, int]) -> tuple[tuple[str, ...], ...]:
    return groups_of(study.protocol.digest, *turn, study.names)


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
        layout, first = tasks[0].body.layout, tasks[0]
        found = {update.site: integers for update, integers in gather(engine, tasks, admit, unpack, due, refusals)}
        totals = []
        for group in groups_of(self.protocol, first.phase, first.round, sorted(task.site for task in tasks)):
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
    who = groups(made(tmp_path, 20), SECOND)[2]
    study = made(tmp_path / "lost", 20, "bucketed", Loss(who[:2], stage, SECOND))
    study.run()
    found = named(study)
    assert {one for one in found if one[:2] == SECOND} == {(*SECOND, site) for site in who}
    later = {why for one, why in found.items() if one[:2] != SECOND}  # by chance most of a new group may have to wait for the others' word
    assert all(why.startswith(("it had no part in the last total", "its group was not opened")) for why in later)
    assert all(found[(*SECOND, site)].startswith("its group was not opened: 3 sites were left") for site in who[2:])
    assert not shorts(study)
    closing = next(one for one in study.book.closings if (one.phase, one.round) == SECOND)
    assert closing.survivors == tuple(sorted(set(study.names) - set(who)))
    assert closing.attempt == 0


def test_with_too_few_groups_nothing_closes_and_the_next_attempt_makes_it_good(tmp_path: Path) -> None:
    calm = made(tmp_path / "calm", 16)
    done = digests(calm.run())
    study = made(tmp_path / "lost", 16, "bucketed", Loss(groups(calm, SECOND)[0][:3], "answer", SECOND))
    assert digests(study.run()) == done
    assert shorts(study) == [SECOND]
    assert [one.attempt for one in study.book.closings if (one.phase, one.round) == SECOND] == [1]


def test_fourteen_sites_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match=r"^14 sites are too few for groups of 5") as found:
        made(tmp_path, 14).run()
    assert "secure" in found.value.remedy


@dataclass(frozen=True)
class Forging(Bucketed):
    """Publish one group's total with one number altered."""

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        total, refusals = super().collect(engine, tasks, admit, quorum, due)
        if (tasks[0].phase, tasks[0].round) == FIRST and isinstance(total, Total):
            name = next(one for one in total.integers if one.startswith("1/update/"))
            altered = np.array(total.integers[name])
            altered.reshape(-1)[:1] += 1
            integers = {**total.integers, name: altered}
            total = replace(total, integers=integers, sums=self.sums(total.layout, integers, total.sites))
        return total, refusals


def test_every_site_of_a_group_refuses_a_forged_total_of_it(tmp_path: Path) -> None:
    study = made(tmp_path, 15, combiner=Forging())
    with pytest.raises(QuorumNotMet):
        study.run()
    forged = {site for (_, _, site), why in named(study).items() if "is not what the sites' sums came to" in why}
    assert forged == set(groups(study, FIRST)[1])
    assert {(one.phase, one.round) for one in study.book.closings} == {("moments", 0), FIRST}, "the study ends there"
