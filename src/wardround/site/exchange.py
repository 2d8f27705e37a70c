"""Take a site's part in a secure sum: answer each exchange, and mask what leaves.

The gate holds the session; the arithmetic is in `combining.secure`. Whatever is not as it must be ends this site's part in the attempt,
with an entry in its log that names the step.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from wardround.combining.secure.bodies import masked_specs
from wardround.combining.secure.groups import Party
from wardround.combining.secure.masked import Secure
from wardround.combining.secure.seal import NAME, seal
from wardround.combining.secure.session import Session, begin, follow
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import STAGES, bond_of, read_adverts, read_roster
from wardround.site.egress import logged
from wardround.site.gate import Site
from wardround.site.masking import body_of, masked
from wardround.site.sessions import Said
from wardround.study.arrays import from_bytes
from wardround.study.errors import WardroundError
from wardround.study.files import Data
from wardround.study.task import Task, Update
from wardround.study.threshold import threshold


def step(site: Site, task: Task) -> Update | None:
    """Take one step; return what is said, or None where the step is the answer, which the worker is to give.

    The same task again gives the same bytes.

    Raises:
        Broken: the step is not what it must be; nothing is said.
    """
    sessions = site.state.sessions
    last = sessions.last(task.phase, Session.from_json)
    if last is not None and last.task == task.digest and last.session.stage == task.stage:
        return last.update
    if task.stage == "keys":
        _later(last, task)
        behind = Behind() if site.following is None else site.following.behind(task.phase)
        session, said = begin(task, _party(site, task), site.keys.signing, behind)
        sessions.forget(but=task.phase)
    else:
        last = _this(last, task)
        session, said = follow(last.session, task.stage, task.relay, site.keys.signing, sessions.met())
        _once(site, task, session, last)
    update = None if task.stage == "answer" else logged(site, task, said)
    sessions.keep(task, session, update)
    return update


def end(site: Site, task: Task) -> None:
    """End this site's part in the attempt of a task in which it found fault; what comes out of order, such as a repeat, changes nothing.

    The turn tells the attempt, and not what it is bound to: a task that asks something else is bound to something else.
    """
    last = site.state.sessions.last(task.phase, Session.from_json)
    if last is not None and last.turn == (task.round, task.attempt) and (last.session.stage, task.stage) in list(pairwise(STAGES)):
        site.state.sessions.keep(task, replace(last.session, stage="over"), None)


def _party(site: Site, task: Task) -> Party:
    """Return among whom this site masks, by the signed protocol and the list of the study's first round, which `following` has pinned."""
    combiner, quorum = site.protocol.combiner, site.protocol.rounds.quorum
    assert isinstance(combiner, Secure)
    names = read_roster(task)
    try:
        return combiner.party(task, names, threshold(len(site.state.sessions.roster() or names), quorum))
    except WardroundError as error:
        raise Broken.at("keys", error.message) from error


def _later(last: Said[Session] | None, task: Task) -> None:
    """Refuse to begin an attempt again, or one that comes before what was begun."""
    if last is not None and last.turn >= (task.round, task.attempt):
        raise Broken.at("keys", "this attempt was begun before with another task, or a later one was")


def _this(last: Said[Session] | None, task: Task) -> Said[Session]:
    """Return the step before, if it was of this attempt."""
    if last is None or last.turn != (task.round, task.attempt) or last.session.bond != bond_of(task):
        raise Broken.at(task.stage, "this site has not begun this attempt")
    return last


def _once(site: Site, task: Task, session: Session, last: Said[Session]) -> None:
    """Meet the others, and refuse to open two different totals of one round: their difference would show who is in one only."""
    sessions = site.state.sessions
    if task.stage == "shares":
        sessions.meet({name: advert.identity for name, advert in read_adverts(task.stage, task.relay).items()})
    answered = site.state.answered(task.phase)
    if task.stage == "agree" and (answered is None or answered.update.task != last.task):
        raise Broken.at("agree", "this site has not given its sums")
    before = sessions.opened(task.phase, task.round)
    if task.stage in ("agree", "open") and before not in (None, session.survivors):
        raise Broken.at(task.stage, "another total of this round was opened in an earlier attempt, with other sites in it")
    if task.stage == "open":
        sessions.open(task.phase, task.round, session.survivors)


def hidden(site: Site, task: Task, body: Data) -> Data:
    """Return an encoded answer with this site's masks on it; a large one in a file beside it.

    Raises:
        Broken: this site has not come to this step in this attempt.
    """
    session = _this(site.state.sessions.last(task.phase, Session.from_json), task).session
    if session.stage not in ("answer", "agree", "open"):
        raise Broken.at("answer", f"it came after the step {session.stage!r}")
    layout, arrays = task.body.layout, from_bytes(body)
    sealed = {NAME: lambda: seal(session.common(), site.name, layout, arrays)}
    return body_of(site, masked(arrays, masked_specs(layout), session.masks(), sealed))
