"""Do a hospital's part: join with an invite, prepare data, approve the plan, and take part until the study ends.

Each step does one thing and says what is next. Keys are made here and stay here. Preparing reaches the hospital's own systems and never
the coordinator; taking part reaches the coordinator and never the hospital's own systems.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from wardround.engines import hubkeys, parts
from wardround.engines.agent import SKEW, Agent, Say, tell
from wardround.engines.connection import Connection, listens
from wardround.engines.messages import COORDINATOR, Message
from wardround.engines.parts import Body
from wardround.engines.subjects import PARTS, Subjects
from wardround.engines.workers import Job, Pool
from wardround.owncopy import OWN, put_own
from wardround.record.envelope import INVITE
from wardround.record.envelope import open as open_envelope
from wardround.record.note import VerifierKey, fingerprint
from wardround.site import approval, evidence, renewal
from wardround.site.desk import Desk
from wardround.site.folder import MEMBERSHIP, PROTOCOL, Membership, SiteFolder, write_bytes, write_text
from wardround.site.gate import Site, Work
from wardround.site.journal import Journal
from wardround.site.reviewing import asked_so_far, complaints
from wardround.site.rules import FILE, rules_text
from wardround.site.sessions import Sessions
from wardround.study.arrays import Arrays, from_bytes
from wardround.study.canonical import digest
from wardround.study.errors import NotAdmitted, PolicyRefused, StoreError, Unreachable, VerificationError
from wardround.study.files import Data, blocks
from wardround.study.interfaces import Reply
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal

SITE_FILE, LOCK = "site.toml", "lock"
PATIENCE = 10.0
"""Seconds for which a site that was let in tries its own key."""

_AGAIN = "Ask the coordinating centre for a new invite, and compare its fingerprint by telephone."


def read_invite(path: Path, now: float) -> Membership:
    """Read an invite.

    Args:
        path: of the file.
        now: seconds since 1970.

    Raises:
        VerificationError: it was altered, or is not an invite.
        NotAdmitted: it has expired.
        StoreError: it cannot be read.
    """
    try:
        sealed = json.loads(path.read_bytes())
        draft = json.loads(_payload(sealed))
        payload = open_envelope(sealed, INVITE, VerifierKey.parse(draft["coordinator"]).public)
        found = Membership(**json.loads(payload))
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}).", "Name the invite that the coordinating centre gave you.") from error
    except (VerificationError, ValueError, KeyError, TypeError) as error:
        raise VerificationError(f"{path} is not a genuine invite, or it was altered on the way.", _AGAIN) from error
    if found.expires < now:
        raise NotAdmitted("This invite has expired, or this machine's clock is wrong.", _AGAIN)
    return found


def _payload(sealed: dict[str, Any]) -> bytes:
    import base64

    return base64.b64decode(sealed["payload"], validate=True)


def join(path: Path, invite: Path) -> SiteFolder:
    """Make a site's folder, its keys there, and have the site let in; the same command again goes on where it was cut.

    Args:
        path: of the folder.
        invite: the file from the coordinating centre.

    Raises:
        VerificationError: the invite, or what the coordinator sent, is not genuine.
        NotAdmitted: the invite is expired or used.
        Unreachable: the hub does not answer.
        StoreError: the folder belongs to another study.
    """
    member = read_invite(invite, time.time())
    path.mkdir(parents=True, exist_ok=True)
    folder = SiteFolder(path)
    spent = replace(member, admission="")  # the invite's own key is good no longer
    if (path / MEMBERSHIP).exists() and folder.membership != spent:
        raise StoreError(f"{path} belongs to study {folder.membership.study} already.", "Use another folder for another study or invite.")
    with held(path):
        folder.make_keys()
        listens(member.url)
        body = _patiently(lambda: _admitted(folder, member))
        _fetch_protocol(folder, member, body)
        write_text(path / MEMBERSHIP, json.dumps(asdict(spent), indent=1) + "\n")
        if not (path / FILE).exists():
            write_text(path / FILE, rules_text(folder.protocol))
    return folder


def _patiently(what: Callable[[], Body]) -> Body:
    """Try again for a few seconds: while others join, the hub may drop a line that is just being made."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return what()
        except Unreachable:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def _admitted(folder: SiteFolder, member: Membership) -> Body:
    """Show the invite, with the keys that were made here, and return where the protocol lies."""
    identity, key = folder.keys.signing, hubkeys.public(folder.hub_key)
    subject = Subjects(member.study).join(member.slot)
    content = {"invite": member.invite, "slot": member.slot, "identity": folder.keys.public.public_bytes_raw().hex(), "hub_key": key}
    request = Message("join", member.study, "", member.site, COORDINATOR, {}, content).signed(identity)
    link = _either(member, folder.hub_key)
    try:
        reply = link.request(subject, request, 3)
    finally:
        link.close()
    found = Message.unchecked(reply, member.coordinator_key.public)
    if found.kind != "welcome" or found.study != member.study or found.sender != COORDINATOR:
        raise VerificationError("The coordinator's answer is not genuine.", _AGAIN)
    if "error" in found.content:
        raise NotAdmitted(str(found.content["error"]), str(found.content["remedy"]))
    if found.to != member.site or found.content["protocol"] != member.protocol:
        raise VerificationError("The coordinator runs another protocol than its invite names.", _AGAIN)
    if abs(float(found.content["time"]) - time.time()) > SKEW:
        raise PolicyRefused(
            "This machine's clock differs from the coordinator's by more than five minutes.", "Set the clock, then join again."
        )
    return Body.described(found.content["body"])


def _either(member: Membership, own: bytes) -> Connection:
    """Return a connection with the invite's key, or, where the site was let in before, with its own."""
    try:
        return Connection(member.url, member.authority, hubkeys.seed(bytes.fromhex(member.admission)), member.slot, stay=False)
    except NotAdmitted:
        with suppress(NotAdmitted):
            return Connection(member.url, member.authority, hubkeys.seed(own), member.slot, stay=False)
        raise NotAdmitted(
            "This invite was used already, or a newer one took its place.", f"If it was not you, say so at once. {_AGAIN}"
        ) from None


def _fetch_protocol(folder: SiteFolder, member: Membership, body: Body) -> None:
    """Fetch the plan with the site's own key, which the hub knows a moment after the welcome."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            Connection(member.url, member.authority, hubkeys.seed(folder.hub_key), member.slot, stay=False).close()
            break
        except (NotAdmitted, Unreachable):  # it may drop the line while it learns of the key
            if time.monotonic() > until:
                raise Unreachable("The hub does not know this site's key yet.", "Try the same command again in a minute.") from None
            time.sleep(0.1)
    link = Connection(member.url, member.authority, hubkeys.seed(folder.hub_key), member.slot)
    try:
        data = b"".join(blocks(parts.get(link, PARTS, Subjects(member.study).parts, body, folder.room)))
    finally:
        link.close()
    if digest(data) != member.protocol:
        raise VerificationError("The protocol on the hub is not the one that the invite names.", _AGAIN)
    if Protocol.model_validate(json.loads(data)).rehearsal:
        raise PolicyRefused("The invite is to a rehearsal, which nobody joins.", "Ask the coordinating centre for one to the study itself.")
    write_bytes(folder.path / PROTOCOL, data)


@contextmanager
def held(path: Path) -> Iterator[IO[str]]:
    """Hold a site's folder alone.

    Raises:
        StoreError: another process works there.
    """
    handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError("Another process takes part as this site here.", "Wait for it to end, or stop it.") from None
        yield file


def approve(folder: SiteFolder, role: str) -> None:
    """Sign this exact protocol for this snapshot.

    Raises:
        StoreError: no snapshot was prepared.
        PolicyRefused: the hospital's own rules forbid the study; names the rule. Or the plan is a rehearsal's, which nobody approves.
    """
    if folder.protocol.rehearsal:
        raise PolicyRefused("This plan is a rehearsal's, and nobody approves one.", "Ask the coordinating centre for the study's own plan.")
    sign(folder, role)


def sign(folder: SiteFolder, role: str) -> None:
    """Sign what `approve` lets through, or the plan of a rehearsal, in its own folder; raises as that does."""
    brought = folder.brought
    for rule, why in complaints(folder, time.time()):
        raise PolicyRefused(f"{FILE}, rule {rule}: {why}.", "Change the rule if the hospital allows it, or refuse: wardround site refuse.")
    with closing(folder.database()) as connection:
        approval.approve(folder.gate(connection, frozenset(), None), Journal(connection), brought, role)
        connection.commit()


def refuse(folder: SiteFolder, reason: str) -> bool:
    """Refuse the protocol, and tell the coordinator; return whether it could be told."""
    with closing(folder.database()) as connection:
        connection.execute("BEGIN IMMEDIATE")  # while the site runs, its gate writes into the same log
        approval.refuse(Journal(connection), folder.log(connection), folder.membership.site, folder.membership.protocol, reason)
        connection.commit()
    return _told(folder, "decline", {"reason": reason})


def leave(folder: SiteFolder) -> bool:
    """Leave the study: nothing is answered from now on; return whether the coordinator could be told."""
    with closing(folder.database()) as connection:
        connection.execute("BEGIN IMMEDIATE")
        approval.leave(Journal(connection), folder.log(connection), folder.membership.site, folder.membership.protocol)
        connection.commit()
    return _told(folder, "leave", {})


def _told(folder: SiteFolder, kind: str, content: dict[str, Any]) -> bool:
    try:
        tell(folder, kind, content)
    except (Unreachable, NotAdmitted):
        return False
    return True


def decide(folder: SiteFolder, decision: str, code: str) -> str:
    """Let a held answer out ("release") or not ("refuse"); return of which phase and round it is.

    Args:
        folder: of the hospital.
        decision: of a person.
        code: that stood beside the answer when the person looked at it.

    Raises:
        StoreError: no answer waits under this code.
    """
    with closing(folder.database()) as connection:
        turn = Journal(connection).decide(decision, code)
        connection.commit()
    if turn is None:
        raise StoreError(f"No answer waits under the code {code!r}.", "Look at what waits, with its code: wardround site status.")
    return turn


def entries(folder: SiteFolder) -> list[dict[str, Any]]:
    """Return the entries of the site's log."""
    with closing(folder.database()) as connection:
        return list(folder.log(connection).entries())


def status(folder: SiteFolder) -> dict[str, Any]:
    """Return how a site stands: `text`, counts by kind of entry in its log, answers that wait for a person's look, what went wrong last.

    Once the study has ended, `own`: the files with this hospital's own figures. Of a secure sum also the other sites it has met, with
    their fingerprints, and files with evidence of a step that was broken.
    """
    with closing(folder.database()) as connection:
        journal = Journal(connection)
        counts = Counter(entry["t"] for entry in folder.log(connection).entries())
        held = [{"code": one.code, "turn": one.turn, "terms": _terms(one.sums)} for one in journal.held() if one.decision == "waiting"]
        met = Sessions(connection, (folder.membership.protocol, folder.membership.site, "")).met()
        notes = [{"time": int(when), "text": text} for when, text in journal.notes()[:5]]
        reason = approval.refused(journal)
        try:
            role = approval.approval(journal, folder.membership.protocol, folder.brought)["role"]
            text = f"approved ({role})"
        except (PolicyRefused, StoreError) as error:
            text = f"refused ({reason})" if reason else error.message
        if not reason and (stands := renewal.held(journal)) is not None:
            text = stands.here
        if journal.meta("ended"):
            text = "the study has ended"
        own = [str(folder.path / name) for name in ("result.json", "report.html")] if journal.meta(OWN) else []
    member = folder.membership
    facts = {"site": member.site, "study": member.study, "protocol_digest": member.protocol, "text": text}
    others = [{"site": name, "fingerprint": fingerprint(key)} for name, key in met.items() if name != member.site]
    secure = {"fingerprint": folder.fingerprint, "others": others, "evidence": [str(path) for path in evidence.kept(folder.path)]}
    return {
        **facts,
        **secure,
        "running": running(folder.path),
        "log": dict(sorted(counts.items())),
        "held": held,
        "own": own,
        "asked": asked_so_far(folder, time.time()),
        "failures": notes,
    }


def _terms(sums: Data) -> list[dict[str, Any]]:
    arrays, found = from_bytes(sums), []
    for name in sorted(arrays):
        one = arrays[name]
        found.append({"name": name, "shape": list(one.shape), "low": float(one.min(initial=0)), "high": float(one.max(initial=0))})
    return found


def running(path: Path) -> bool:
    """Say whether a process takes part as this site from its folder."""
    try:
        with held(path):
            return False
    except StoreError:
        return True


def run(folder: SiteFolder, say: Say) -> None:
    """Take part until the study ends, with a worker process that answers.

    Raises:
        PolicyRefused: nothing was approved, something changed since, or the hospital's rules are not there.
        NotAdmitted: the coordinating centre cut this site off.
    """
    pool = Pool(1, folder.protocol)
    try:
        take_part(folder, say, lambda work, mine: _answered(pool, folder.snapshot, work, mine))
    finally:
        pool.close()


def take_part(
    folder: SiteFolder, say: Say, worker: Callable[[Work, Mapping[str, Arrays]], Reply], until: threading.Event | None = None
) -> None:
    """Take part until the study ends or `until` is set.

    Args:
        folder: of the hospital.
        say: tells the person at the terminal.
        worker: answers accepted work, with what the site kept of each phase.
        until: ends it early.

    Raises:
        PolicyRefused: nothing was approved, something changed since, or the hospital's rules are not there.
        NotAdmitted: the coordinating centre cut this site off.
    """
    from wardround.data.snapshot import check_snapshot

    with held(folder.path), closing(folder.database()) as connection:
        journal = Journal(connection, folder.room)
        connection.commit()
        if (reason := approval.refused(journal)) is not None:
            raise PolicyRefused(f"This site refused the protocol ({reason}).", "To take part after all: wardround site approve.")
        if journal.meta("ended") is not None:
            say("The study has ended; model, result and report lie in this folder.")
            put_own(folder, connection, journal, say)
            return
        renewal.finish(folder, journal)
        approval.approval(journal, folder.membership.protocol, folder.brought)
        check_snapshot(folder.snapshot)
        rules = folder.rules
        gate = folder.gate(connection, frozenset({folder.protocol.digest}), rules)
        newer = renewal.Renewal(folder, connection, journal, rules)
        desk = Desk(gate, journal, connection, newer.same(lambda work: worker(work, known(desk.site))), rules, renewal=newer)
        agent = Agent(folder, connection, journal, desk, say)
        try:
            agent.run(until or threading.Event())
        finally:
            agent.close()
        if journal.meta("ended") is not None:
            put_own(folder, connection, journal, say)


def known(site: Site) -> Mapping[str, Arrays]:
    """Return what the worker knows beside what is asked: what the site kept of each phase, and what its other studies were told."""
    return site.policy.beside(site.state.mine())


def _answered(pool: Pool, snapshot: Path, work: Work, mine: Mapping[str, Arrays]) -> Reply:
    task = work.task
    for _, reply in pool.run([Job(task.site, snapshot, task.phase, task.body, mine, work.rng)], task.due):
        return reply
    remedy = "The protocol sets the time; a faster machine helps."
    return Refusal("", task.site, "answer", f"the worker was not done within {task.due:g} s", remedy, again=True)
