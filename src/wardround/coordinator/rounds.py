"""Run a study: phase after phase, round after round. The loop that everything else serves, on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from wardround.coordinator.book import Book
from wardround.study.arrays import Arrays
from wardround.study.canonical import digest_json
from wardround.study.errors import NeverCloses, QuorumNotMet
from wardround.study.interfaces import Algorithm, Combiner, Engine
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Ask, Done, Refusal, RoundClosed, Short, State, Task


@dataclass(frozen=True)
class Step:
    """Pair what is computed in a phase with how its answers are added."""

    algorithm: Algorithm
    combiner: Combiner


def run_study(protocol: Protocol, steps: Sequence[Step], engine: Engine, book: Book, initial: Arrays) -> dict[str, Done]:
    """Run every phase that is not done yet and return what each came to.

    Args:
        protocol: the signed plan.
        steps: its phases, in order.
        engine: reaches the sites.
        book: log and store of the study.
        initial: the parameters that stand in the protocol by digest.

    Raises:
        QuorumNotMet: too few sites answered a round, however often it was asked; the same command goes on later.
    """
    earlier = {"initial": Done("initial", 0, initial)}
    for step in steps:
        name = step.algorithm.phase
        done = book.store.done(name)
        if done is None:
            kept = book.store.state(name)
            public = Stream.public(protocol.evaluation.seed).child("phase", name)
            begun = kept[0] if kept else step.algorithm.begin(protocol, earlier, public)
            begun = book.finished(begun) if isinstance(begun, Done) else book.store.put_state(begun, kept[1] if kept else 0)
            done = run_phase(step, protocol, engine, book, begun, kept[1] if kept else 0)
        earlier[name] = done
    last = closing_tasks(protocol, engine, book)
    engine.send(last)
    book.ending(last)
    book.store.commit()
    return earlier


def run_phase(step: Step, protocol: Protocol, engine: Engine, book: Book, state: State | Done, attempt: int = 0) -> Done:
    """Ask, add, advance, until the phase is done; who is absent is named, and too few answers are asked again."""
    tries = 0
    while not isinstance(state, Done):
        ask = step.algorithm.ask(state)
        tasks = book.opened(state, plan(protocol, engine, book, state, attempt, ask))
        total, refusals = step.combiner.collect(engine, tasks, book.door, protocol.rounds.quorum, protocol.rounds.due_seconds)
        if isinstance(total, Short):
            attempt, tries = book.short(state, attempt, total, refusals), tries + 1
            state = asked_again(step, protocol, book, state, tries, total, hopeless=len(tasks) == sum(map(final, refusals)))
            continue
        new = step.algorithm.advance(state, total)
        state, attempt, tries = book.closed(state, attempt, new, total, refusals), 0, 0
        del total, new  # or they would be in memory together with the next round's
    return state


def final(refusal: Refusal) -> bool:
    """Return whether a site would refuse the same state again."""
    return refusal.where in ("answer", "release") and not refusal.again


def asked_again(step: Step, protocol: Protocol, book: Book, state: State, tries: int, short: Short, hopeless: bool) -> State | Done:
    """Return the state to be asked again; or what the phase came to, where every site would refuse it again.

    Raises:
        NeverCloses: it can never close.
        QuorumNotMet: it was asked often enough; who was absent and why stands in the record.
    """
    done = step.algorithm.cut_short(state) if hopeless else None
    if done is not None:
        return book.finished(done)
    give_up(protocol, state, tries, short)
    return state


def plan(protocol: Protocol, engine: Engine, book: Book, state: State, attempt: int, ask: Ask) -> list[Task]:
    """Return one task a site; each carries every closing that the site has not seen yet.

    Raises:
        QuorumNotMet: there is no site.
    """
    sites, head = engine.sites(), book.log.head
    about = (protocol.rounds.due_seconds, ask.digest, digest_json(list(sites)), head)
    turn, layout = (protocol.study, protocol.digest, state.phase, state.round, attempt), ask.layout_digest
    return [Task(*turn, "answer", site, *about, unseen(book, site), ask, b"", layout, book.supplies(site)) for site in sites] or _nobody()


def _nobody() -> NoReturn:
    raise QuorumNotMet("No site takes part in this study any more.", "Ask the sites to come back, and run the same command.")


def unseen(book: Book, site: str) -> tuple[RoundClosed, ...]:
    """Return the closings since a site's last answer."""
    return tuple(book.closings[book.delivered.get(site, 0) :])


def closing_tasks(protocol: Protocol, engine: Engine, book: Book) -> list[Task]:
    """Return the tasks that end a study: they bring the last closings and ask nothing."""
    sites = engine.sites()
    roster, nothing = digest_json(list(sites)), digest_json(None)
    last = book.closings[-1] if book.closings else None
    phase, round_ = (last.phase, last.round) if last else ("", 0)
    head = book.log.head
    turn, about = (protocol.study, protocol.digest, phase, round_, 0), (0.0, nothing, roster, head)
    return [Task(*turn, "close", site, *about, unseen(book, site), supplies=book.supplies(site)) for site in sites]


def give_up(protocol: Protocol, state: State, tries: int, short: Short) -> None:
    """End the study when a round has been asked often enough, or need not be asked again.

    Raises:
        NeverCloses: it can never close.
        QuorumNotMet: it was asked often enough; who was absent and why stands in the record.
    """
    if short.never:
        raise NeverCloses(f"Round {state.round + 1} of {state.phase}: {short.why.rstrip('.')}.", "Begin a new study without who left.")
    if tries == (times := protocol.rounds.attempts):
        why = f": {short.why.rstrip('.')}." if short.why else "."
        message = f"Round {state.round + 1} of {state.phase} had {short.sites} of {short.quorum} sites, {times} times{why}"
        raise QuorumNotMet(message, "See to the sites named above, then run the same command: the study goes on from this round.")
