"""Whole studies with the secure sum over a real hub: gates that stop at an exchange and come back, a coordinator that is stopped in one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.engines.federated import Federation, federation, hospitals, open_protocol
from tests.engines.losing import GIVEN, Killed, Loss, Turn, lose
from tests.engines.test_nats import entries, wrong
from tests.support import small
from wardround import hospital, serving
from wardround.combining.secure.words import STAGES
from wardround.coordinator import events
from wardround.serving import Serving
from wardround.study.errors import NeverCloses
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal, Task, Update

TURNS: list[Turn] = [("moments", 0), ("train", 0), ("train", 1), ("train", 2), ("local", 0)]
"""One round for each exchange."""

LOST_AFTER = 4.5
"""Seconds; a protocol allows six and more, and this test has five of them to wait."""


def agreed(combine: str) -> Protocol:
    return open_protocol(rounds={"quorum": 3, "due_seconds": 60, "combine": combine})


def in_process(folder: Path, *losses: Loss) -> str:
    """Return the model that the same hospitals make on one machine with the plain sum, when some are lost."""
    folder.mkdir()
    return small(folder, agreed("plain"), hospitals(5), wrap=lose(*losses)).run()["train"].digest


class Stopping:
    """Stop a gate just before an exchange, and start it again before the next round.

    Args:
        made: the federation.
        losses: one site each, in one round each.
    """

    def __init__(self, made: Federation, losses: Sequence[Loss]) -> None:
        self._made, self._losses, self._send = made, losses, made.serving.engine.send
        self._away: list[str] = []

    def send(self, tasks: Sequence[Task]) -> None:
        first = tasks[0]
        if first.stage in ("keys", "close"):
            self._back()
        for loss in self._losses:
            if (loss.turn, loss.stage) == ((first.phase, first.round), first.stage) and first.attempt == 0:
                for site in loss.sites:
                    self._made.gates[site].stop()
                    self._away.append(site)
        self._send(tasks)

    def _back(self) -> None:
        presence, until = self._made.serving.presence, time.monotonic() + 20
        for site in self._away:
            self._made.gates[site].start()
            while presence.silent(site) > 1 and time.monotonic() < until:
                time.sleep(0.05)
            assert presence.silent(site) <= 1
        self._away.clear()


def test_a_gate_that_stops_at_an_exchange_is_named_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [Loss([f"site{number}"], stage, turn) for number, (stage, turn) in enumerate(zip(STAGES, TURNS, strict=True))]
    with federation(tmp_path, agreed("secure"), hospitals(5)) as made:
        engine = made.serving.engine
        monkeypatch.setattr(engine, "_lost_after", LOST_AFTER)
        monkeypatch.setattr(engine, "send", Stopping(made, losses).send)
        result = made.serving.run()
        made.serving.wait_for_sites(10)
        assert result["model_digest"] == in_process(tmp_path / "plain", *(loss.plain for loss in losses))
        lost = {(*loss.turn, site) for loss in losses if loss.turn and loss.stage in GIVEN for site in loss.sites}
        assert {(one["phase"], one["round"], one["site"]) for one in entries(made, "refusal")} == lost
        assert not entries(made, "round_short")
        assert not wrong(made.centre.path)
        assert not any(gate.failed for gate in made.gates.values())
        last = {one["site"] for one in entries(made, "ingress") if one["phase"] == "test" and one["stage"] == "open"}
        assert last == set(made.gates), "whoever was away has followed what it missed"


class Stopped:
    """End the coordinator at one exchange of one round, when two of its replies are in.

    Args:
        made: the federation.
        turn: of the round.
        stage: of the exchange.
    """

    def __init__(self, made: Federation, turn: Turn, stage: str) -> None:
        engine = made.serving.engine
        self._send, self._receive, self._at, self._here = engine.send, engine.receive, (turn, stage), False

    def send(self, tasks: Sequence[Task]) -> None:
        self._here = ((tasks[0].phase, tasks[0].round), tasks[0].stage) == self._at
        self._send(tasks)

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        for number, reply in enumerate(self._receive(due)):
            if self._here and number == 2:
                raise Killed
            yield reply


def test_a_coordinator_that_is_stopped_between_exchanges_comes_to_the_same_model(tmp_path: Path) -> None:
    with federation(tmp_path, agreed("secure"), hospitals(5)) as made:
        for stage, turn in zip(STAGES, TURNS, strict=True):
            stopped, engine = Stopped(made, turn, stage), made.serving.engine
            engine.send, engine.receive = stopped.send, stopped.receive  # type: ignore[method-assign]
            with pytest.raises(Killed):
                made.serving.run()
            made.serving.close()
            made.serving = Serving(made.centre, 0, made.seen.append)
        result = made.serving.run()
        made.serving.wait_for_sites(10)
        assert result["model_digest"] == in_process(tmp_path / "plain")
        assert not [event for event in made.seen if isinstance(event, events.Refused)]
        closed = {(one["phase"], one["round"]): one["attempt"] for one in entries(made, "round_close")}
        again = {turn: int(stage != "open") for stage, turn in zip(STAGES, TURNS, strict=True)}
        assert closed == {**again, ("train", 3): 0, ("test", 0): 0}, "only a total that was being opened is taken up again"
        assert not wrong(made.centre.path)
        assert not any(gate.failed for gate in made.gates.values())


def within(made: Federation, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the coordinator that serves fail, not wait, when a time is over; on a busy machine what was late is asked again at once."""
    engine, until = made.serving.engine, time.monotonic() + seconds
    listen = engine.listen

    def limited(span: float) -> None:
        assert time.monotonic() < until, (
            [one for one in made.seen if isinstance(one, events.Note)],
            [gate.failed for gate in made.gates.values()],
        )
        listen(span)

    monkeypatch.setattr(engine, "listen", limited)
    monkeypatch.setattr(serving, "ASK_AGAIN", 0.0)


def stopped_while_opening(made: Federation, turn: Turn) -> None:
    """Have the coordinator killed when it has heard two of five of the total that is being opened, and start it again."""
    stopped, engine = Stopped(made, turn, "open"), made.serving.engine
    engine.send, engine.receive = stopped.send, stopped.receive  # type: ignore[method-assign]
    with pytest.raises(Killed):
        made.serving.run()
    made.serving.close()
    made.serving = Serving(made.centre, 0, made.seen.append)


@pytest.mark.parametrize("combine", ["secure", "one_message"])
def test_a_hospital_that_leaves_while_a_total_is_being_opened_does_not_end_the_study(
    combine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator is killed when it has heard two of five; one of the five leaves before it comes back."""
    turn, helpers = ("moments", 0), {"helpers": ["site0", "site1", "site2"]} if combine == "one_message" else {}
    plan = open_protocol(rounds={"quorum": 3, "due_seconds": 30, "combine": combine, **helpers})
    with federation(tmp_path, plan, hospitals(5)) as made:
        within(made, 120, monkeypatch)
        stopped_while_opening(made, turn)
        within(made, 120, monkeypatch)
        gone = "site4"
        made.gates[gone].stop()
        assert hospital.leave(made.gates[gone].folder)
        made.serving.run()
        made.serving.wait_for_sites(10)
        ends = {(one["phase"], one["round"]): one["attempt"] for one in entries(made, "round_close")}
        assert ends[turn] == 0, "the very attempt is finished; later rounds may be late on a busy machine, where gates load torch first"
        closing = next(one for one in made.serving.store.closings() if (one.phase, one.round) == turn)
        assert gone in closing.survivors
        assert "rounds" not in wrong(made.centre.path), "of the one that left there is no log to hold against the coordinator's"


@pytest.mark.slow
def test_a_round_that_can_never_close_ends_the_study_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of five leave just when a total is to be opened: two can open neither that one nor another, and nobody waits."""
    with federation(tmp_path, open_protocol(rounds={"quorum": 3, "due_seconds": 30, "combine": "secure"}), hospitals(5)) as made:
        within(made, 120, monkeypatch)
        engine, gone = made.serving.engine, [made.gates[site] for site in ("site2", "site3", "site4")]
        send = engine.send

        def leaving(tasks: Sequence[Task]) -> None:
            if tasks[0].stage == "open":
                for gate in gone:
                    gate.ask_to_stop()
                for gate in gone:
                    gate.stop()
                    assert hospital.leave(gate.folder)
            send(tasks)

        monkeypatch.setattr(engine, "send", leaving)
        with pytest.raises(NeverCloses, match="site2, site3, site4 left the study, so this round can never close"):
            made.serving.run()
