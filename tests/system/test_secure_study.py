"""Whole studies with the secure sum through true gates: the same models as with the plain sum, whoever is lost and whenever it ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.test_simulate import hospital, study
from tests.engines.losing import GIVEN, Killed, Loss, Mortal, digests, lose
from tests.support import Small, small
from tests.system.secure_studies import SECOND, SEVEN, TINY, agreed, named, patients, ran, shorts
from wardround import simulate, simulated
from wardround.combining.secure.words import STAGES
from wardround.coordinator.rounds import Step, run_phase
from wardround.engines.inprocess import InProcess
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.study.errors import QuorumNotMet
from wardround.study.streams import Stream
from wardround.study.task import State
from wardround.study.threshold import threshold


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return what seven sites come to with the plain sum."""
    return ran(tmp_path_factory.mktemp("calm") / "plain", "plain")[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_phase_comes_to_the_same_with_and_without(workers: int, tmp_path: Path, calm: Mapping[str, str]) -> None:
    made = small(tmp_path, agreed(), patients(), workers=workers, following=True)
    done = made.run()
    made.engine.close()
    assert digests(done) == calm
    assert not made.refused
    for name, place in made.places.items():
        following = place.site.following
        assert following is not None
        ends = {one.phase: following.states.done(number, one.phase) for number, one in enumerate(made.protocol.algorithms)}
        assert {phase: end.digest for phase, end in ends.items() if end is not None} == {
            phase: calm[phase] for phase, end in ends.items() if end is not None
        }, f"{name} itself comes to what the coordinator says"
        assert ends["train"] is not None


@pytest.mark.parametrize("heard", [False, True], ids=["task lost", "reply lost"])
@pytest.mark.parametrize("stage", STAGES)
def test_as_many_as_may_be_absent_are_named_and_the_round_closes(stage: str, heard: bool, tmp_path: Path) -> None:
    loss = Loss(SEVEN[2:4], stage, SECOND, heard)
    assert len(SEVEN) - len(loss.sites) == threshold(len(SEVEN), 3)
    done, made = ran(tmp_path / "secure", "secure", loss, phases=TINY)
    assert done == ran(tmp_path / "plain", "plain", loss.plain, phases=TINY)[0]
    assert not shorts(made)
    lost = {(*SECOND, site) for site in loss.sites}
    assert named(made) == (lost if stage in GIVEN else set()), "who is lost after its sums are given is in the total"
    closing = next(one for one in made.book.closings if (one.phase, one.round) == SECOND)
    assert set(closing.survivors) == set(SEVEN) - (set(loss.sites) if stage in GIVEN else set())


@pytest.mark.parametrize("heard", [False, True], ids=["task lost", "reply lost"])
@pytest.mark.parametrize("stage", STAGES)
def test_one_more_absent_opens_nothing_and_asking_again_makes_it_good(
    stage: str, heard: bool, tmp_path: Path, tiny: Mapping[str, str]
) -> None:
    """With a new attempt; but for a total that some have helped to open: it is asked for again."""
    done, made = ran(tmp_path / "secure", "secure", Loss(SEVEN[1:4], stage, SECOND, heard), phases=TINY)
    assert done == tiny
    assert shorts(made) == [SECOND]
    assert [one.attempt for one in made.book.closings if (one.phase, one.round) == SECOND] == [0 if stage == "open" else 1]


def test_a_round_that_stays_short_leaves_the_state_as_it_was(tmp_path: Path, calm: Mapping[str, str]) -> None:
    plan, data = agreed(), patients()
    forever = Loss(SEVEN[:3], "answer", SECOND, attempts=range(10))
    made = small(tmp_path, plan, data, wrap=lose(forever), following=True)
    with pytest.raises(QuorumNotMet, match=r"^Round 2 of train had 4 of 5 sites, 2 times"):
        made.run()
    state, attempt = made.store.state("train") or (None, 0)
    assert state is not None and state.round == 1 and attempt == 2
    closings = [(one.phase, one.round) for one in made.book.closings]
    assert closings == [("moments", 0), ("train", 0)]
    made.store.close()
    back = small(tmp_path, plan, data, following=True)
    assert digests(back.run()) == calm
    assert not back.refused


@st.composite
def losses(draw: st.DrawFn, fewest: int, most: int) -> tuple[int, list[Loss]]:
    """Draw how many sites there are, and up to as many losses in each round as still leave a total."""
    sites = draw(st.integers(fewest, most))
    names = [f"site{number}" for number in range(sites)]
    found = []
    for turn in (("moments", 0), ("train", 0), ("train", 1)):
        gone = draw(st.permutations(names))[: draw(st.integers(0, sites - threshold(sites, 3)))]
        stages = [draw(st.sampled_from(STAGES)) for _ in gone]
        heard = draw(st.booleans())
        found += [Loss([site], stage, turn, heard) for site, stage in zip(gone, stages, strict=True)]
    return sites, found


def first_phase(folder: Path, combine: str, sites: int, lost: Collection[Loss]) -> tuple[str, Small]:
    """Run the first phase, which is one round, with so many sites; return what it came to."""
    folder.mkdir()
    made = small(folder, agreed(combine, sites), patients(sites), wrap=lose(*lost), following=combine != "plain")
    algorithm = made.protocol.algorithms[0]
    begun = algorithm.begin(made.protocol, {}, Stream.public(made.protocol.evaluation.seed).child("phase", algorithm.phase))
    assert isinstance(begun, State)
    state = made.store.put_state(begun)
    return run_phase(Step(algorithm, made.combiner), made.protocol, made.engine, made.book, state).digest, made


@settings(max_examples=10)
@given(losses(3, 10))
def test_whoever_is_lost_whenever_the_total_is_the_plain_one(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[int, list[Loss]]
) -> None:
    sites, lost = drawn
    folder = tmp_path_factory.mktemp("drawn")
    secure, made = ran(folder / "secure", "secure", *lost, sites=sites, phases=TINY)
    assert secure == ran(folder / "plain", "plain", *(loss.plain for loss in lost), sites=sites, phases=TINY)[0]
    assert not shorts(made)
    assert named(made) == {(*loss.turn, site) for loss in lost if loss.stage in GIVEN and loss.turn for site in loss.sites}


def test_so_it_is_with_fifty_sites(tmp_path: Path) -> None:
    names = [f"site{number}" for number in range(50)]
    groups = {"keys": names[:4], "shares": names[4:7], "answer": names[7:12], "agree": names[12:14], "open": names[14:16]}
    assert len(names) - 16 == threshold(50, 3), "one more would be too many"
    lost = [Loss(sites, stage, ("moments", 0), heard=stage != "answer") for stage, sites in groups.items()]
    secure, made = first_phase(tmp_path / "secure", "secure", 50, lost)
    assert secure == first_phase(tmp_path / "plain", "plain", 50, [loss.plain for loss in lost])[0]
    assert made.book.closings[0].survivors == tuple(sorted(names[12:]))
    assert named(made) == {("moments", 0, site) for site in names[:12]}


# the coordinator ends, and goes on


@pytest.mark.parametrize("replies", [-1, 3], ids=["before", "half heard"])
@pytest.mark.parametrize("stage", STAGES[:-1])
def test_a_coordinator_that_was_killed_between_exchanges_goes_on_with_another_attempt(
    stage: str, replies: int, tmp_path: Path, tiny: Mapping[str, str]
) -> None:
    plan, data = agreed(phases=TINY), patients()
    made = small(tmp_path, plan, data, following=True)
    made.engine = Mortal(made.engine, SECOND, stage, replies)
    with pytest.raises(Killed):
        made.run()
    made.store.close()
    again = small(tmp_path, plan, data, following=True)
    watched = Mortal(again.engine, ("", 0), "", 0)
    again.engine = watched
    assert digests(again.run()) == tiny
    assert not again.refused
    assert watched.asked[:5] == [(*SECOND, 1, one) for one in STAGES], "nothing of the attempt that was cut is taken up again"
    assert [one.attempt for one in again.book.closings if (one.phase, one.round) == SECOND] == [1]


# away, and back


@pytest.mark.parametrize(
    "turns", [[("train", 0), ("train", 1)], [("train", 2), ("local", 0)], [("moments", 0), ("train", 0)]], ids=["rounds", "border", "start"]
)
def test_a_site_that_was_away_comes_back_and_follows(turns: list[tuple[str, int]], tmp_path: Path) -> None:
    lost = [Loss(["site5"], "keys", turn) for turn in turns]
    done, made = ran(tmp_path / "secure", "secure", *lost)
    assert done == ran(tmp_path / "plain", "plain", *(one.plain for one in lost))[0]
    away = {(*turn, "site5") for turn in turns}
    alone = {("test", 0, "site5")} if ("local", 0) in turns else set()  # it has no model of its own to judge
    assert away <= named(made) <= away | alone
    after = [one for one in made.book.closings if (one.phase, one.round) not in [*turns, ("test", 0)]]
    assert all("site5" in one.survivors for one in after)


# the record


def verified(folder: Path) -> list[str]:
    """Return the lines of `verify` that fail."""
    return [str(line) for line in verify(folder).lines if line.verdict is Verdict.FAIL]


def test_the_record_of_a_study_with_losses_and_kills_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [hospital(tmp_path, number, 70) for number in range(5)]
    plan = study(rounds={"quorum": 3, "combine": "secure"})
    undisturbed = simulate(plan, files, tmp_path / "calm").result["model_digest"]
    lost = [Loss(["h2", "h3"], "answer", ("train", 0)), Loss(["h1"], "open", ("train", 1)), Loss(["h4"], "keys", ("local", 0))]
    first = True

    def engine(*given: Any) -> Any:
        return Mortal(lose(*lost)(InProcess(*given)), SECOND, "agree", 2 if first else 99)

    monkeypatch.setattr(simulated, "InProcess", engine)
    with pytest.raises(Killed):
        simulate(plan, files, tmp_path / "out")
    first = False
    found = simulate(plan, files, tmp_path / "out")
    assert found.result["model_digest"] == undisturbed, "every round closed with everybody in the end"
    assert not verified(tmp_path / "out")
    text = (tmp_path / "out" / "record" / "study" / "entries.jsonl").read_text()
    assert '"t":"resumed"' in text and '"masked_sums"' in text and '"kind":"sums"' not in text
