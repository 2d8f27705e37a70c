"""Take a site's part in a sum of one message: mask and seal once; and, at a helper, agree and reveal.

The gate holds the session; the arithmetic is in `combining.secure.window`. Whatever is not as it must be ends this site's part in the
attempt, with an entry in its log that names the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np

from wardround.combining.secure import window
from wardround.combining.secure.once import OneMessage
from wardround.combining.secure.window import NAME, Window, answer_specs, asked_class
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import bond_of
from wardround.site.egress import logged
from wardround.site.gate import Site
from wardround.site.masking import body_of, masked
from wardround.site.sessions import Said
from wardround.study.arrays import from_bytes
from wardround.study.files import Data
from wardround.study.task import Receipt, Task, Update


def step(site: Site, task: Task) -> Update | None:
    """Take one step; return what is said, or None where the step is the answer, which the worker is to give.

    The same task again gives the same bytes.

    Raises:
        Broken: the step is not what it must be; nothing is said.
    """
    sessions = site.state.sessions
    last = sessions.last(task.phase, Window.from_json)
    if last is not None and last.task == task.digest and last.session.stage == task.stage != "open":
        return last.update
    session = _here(last, task)
    if session is not None and task.stage == "open" and task.digest in session.opened:
        return _again(site, task, session)
    try:
        new, said = _taken(site, task, session)
    except Broken:
        if session is None and _due(session, task):
            sessions.keep(task, _begun_by(site, task).ended(), None)
        raise
    update = None if said is None else logged(site, task, said)
    if update is not None and task.stage == "open":  # what was revealed is large, and made again from the session
        sessions.keep(task, new.having_opened(update), None)
    else:
        sessions.keep(task, new, update)
    return update


def end(site: Site, task: Task) -> None:
    """End this site's part in the attempt of a task in which it found fault; what comes out of order, such as a repeat, changes nothing.

    Only in an attempt that it has begun: a false task of a later round must not be taken for the beginning of that.
    """
    last = site.state.sessions.last(task.phase, Window.from_json)
    if last is not None and last.turn == (task.round, task.attempt) and last.session.stage != "over" and _due(last.session, task):
        site.state.sessions.keep(task, last.session.ended(), None)


def _again(site: Site, task: Task, session: Window) -> Update:
    """Return what was revealed to this very task, whatever was asked since."""
    said = session.opened[task.digest]
    return Update(task.digest, site.name, _revealed(site, task, session), {}, Receipt(**said["receipt"]), said["signature"])


def _here(last: Said[Window] | None, task: Task) -> Window | None:
    """Return the session of this very attempt; None where it begins with this task."""
    turn = (task.round, task.attempt)
    if last is None or last.turn < turn:
        return None
    if last.turn > turn:
        raise Broken.at(task.stage, "this attempt is over; a later one was begun")
    if last.session.bond != bond_of(task):
        raise Broken.at(task.stage, "this attempt was begun before with another task")
    if last.session.stage == "over":
        raise Broken.at(task.stage, "this attempt is over, because of a false step in it")
    return last.session


def _due(session: Window | None, task: Task) -> bool:
    """Say whether a step was this site's to take, if it had been what it must be."""
    match task.stage:
        case "answer":
            return session is None or (not session.seeds and not session.listed)
        case "agree":
            return session is not None and bool(session.channel) and not session.listed
        case "open":
            return session is not None and bool(session.listed)
        case _:
            return False


def _taken(site: Site, task: Task, session: Window | None) -> tuple[Window, Data | None]:
    """Return the session after a step, and what is said."""
    match task.stage:
        case "keys":
            if session is not None:
                raise Broken.at("keys", "this attempt was begun before with another task")
            begun = _begun_by(site, task)
            return window.begin(task, begun.helpers, begun.quorum, site.keys.signing)
        case "answer":
            if session is not None and not _due(session, task):
                raise Broken.at("answer", f"it came after the step {session.stage!r}")
            new, met = window.answer(session or _begun_by(site, task), task.relay, site.keys.signing)
            _hold_to_what_is_known(site, "answer", met)
            _meet(site, met)
            return new, None
        case "agree":
            return _agreed(site, task, _begun(session, task))
        case "open":
            return _opened(site, task, _begun(session, task))
        case "shares" | "close":
            raise Broken.at(task.stage, "a sum of one message has no such step")
        case _:
            assert_never(task.stage)


def _agreed(site: Site, task: Task, session: Window) -> tuple[Window, bytes]:
    """Agree to a total, unless this helper helped to open another one of this round."""
    new, said = window.agree(session, task.relay, site.keys.signing)
    met = window.identities(task.relay)
    _hold_to_what_is_known(site, "agree", met)
    _only_total(site, task, new)
    _meet(site, met)
    return new, said


def _opened(site: Site, task: Task, session: Window) -> tuple[Window, Data]:
    """Reveal the sum of one class, and remember whose total that opens."""
    new, _ = window.opening(session, task.relay, _known(site))
    _only_total(site, task, new)
    site.state.sessions.open(task.phase, task.round, new.group)
    return new, _revealed(site, task, new)


def _revealed(site: Site, task: Task, session: Window) -> Data:
    return body_of(site, session.revealed(asked_class(task.relay), task.body.layout))


def _only_total(site: Site, task: Task, session: Window) -> None:
    """Refuse to open two different totals of one round: their difference would show who is in one only."""
    if site.state.sessions.opened(task.phase, task.round) not in (None, session.group):
        raise Broken.at(task.stage, "another total of this round was opened in an earlier attempt, with other sites in it")


def _begun(session: Window | None, task: Task) -> Window:
    if session is None:
        raise Broken.at(task.stage, "this site has not begun this attempt")
    return session


def _begun_by(site: Site, task: Task) -> Window:
    """Return the session of a site that begins an attempt, by the signed protocol."""
    combiner = site.protocol.combiner
    assert isinstance(combiner, OneMessage)
    return Window(bond_of(task), site.name, combiner.helpers, site.protocol.rounds.quorum, "keys")


def _known(site: Site) -> Mapping[str, str]:
    """Return the identities of the sites that this one has met, and its own."""
    return {**site.state.sessions.met(), site.name: site.keys.public.public_bytes_raw().hex()}


def _hold_to_what_is_known(site: Site, stage: str, identities: Mapping[str, str]) -> None:
    """Refuse another identity for a name that is known."""
    known = _known(site)
    for name, identity in identities.items():
        if known.get(name, identity) != identity:
            raise Broken.at(stage, f"site {name} has another identity than before")


def _meet(site: Site, identities: Mapping[str, str]) -> None:
    site.state.sessions.meet({name: identity for name, identity in identities.items() if name != site.name})


def hidden(site: Site, task: Task, body: Data) -> Data:
    """Return an encoded answer with this site's masks on it, and its parcel; a large one in a file.

    Raises:
        Broken: this site has not come to this step in this attempt.
    """
    session = _begun(_here(site.state.sessions.last(task.phase, Window.from_json), task), task)
    if not session.seeds:
        raise Broken.at("answer", "this site has not begun to answer")
    parcel = {NAME: lambda: np.frombuffer(bytes.fromhex(session.parcel), np.uint8)}
    return body_of(site, masked(from_bytes(body), answer_specs(task.body.layout), session.masks(), parcel, bare=NAME))
