"""Serve a study to hospitals: keep the hub running, let sites in, run the rounds, and write down what came of it.

Killed at any moment, the same command goes on: the hub keeps what sites sent, the store the last whole round. A round that misses its
quorum is asked again when enough sites are there; nobody has to start anything anew.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wardround import centre
from wardround.coordinator import events
from wardround.coordinator.book import Book
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import Folder
from wardround.coordinator.followed import book_of
from wardround.coordinator.rounds import Step, run_study
from wardround.coordinator.store import Store
from wardround.engines import hub, hubkeys, parts
from wardround.engines.connection import Connection
from wardround.engines.keeper import Keeper
from wardround.engines.messages import Message, update_of
from wardround.engines.nats import Member, Nats
from wardround.engines.presence import LEASE, Presence
from wardround.engines.reception import Reception
from wardround.engines.subjects import Subjects
from wardround.outcome import data_entry, federated_outcome, figures_told, released_phase
from wardround.publish import WRITTEN, keeps, publish
from wardround.record.bundle import LogFiles
from wardround.record.entries import plain
from wardround.record.envelope import APPROVAL
from wardround.record.envelope import open as open_envelope
from wardround.record.log import Log
from wardround.record.note import VerifierKey
from wardround.standing import Watcher
from wardround.study.canonical import canonical
from wardround.study.errors import NeverCloses, QuorumNotMet, StoreError, Unreachable, VerificationError, WardroundError
from wardround.study.files import Data, blocks

STATE = "state.sqlite"
MOST_RECORD = 64 * 2**20
RECORDS_DUE = 30.0
ASK_AGAIN, MOST_PAUSE = 60.0, 900.0
"""Seconds after which sites that are there and refuse are asked again, at first and at most: a site may refuse for a night."""

FAREWELL = 30.0
"""Seconds for which a study that has ended stays, so that its sites can take what it came to."""


class Serving:
    """Serve one study until it ends.

    Args:
        folder: of the coordinator.
        start_with: sites that must have approved before the first round; 0 for all that are invited.
        watch: is told what happens.
    """

    def __init__(self, folder: Folder, start_with: int, watch: events.Watch) -> None:
        """Open the study's store, find or start the hub, and let sites in from now on.

        Raises:
            StoreError: another process serves this folder, or the hub cannot be started.
        """
        self._folder, self._start_with = folder, start_with
        self._protocol, self._subjects = folder.protocol, Subjects(folder.protocol.study)
        # In a sum of one message sites are away most of the time: for so many seconds they are waited for all the same.
        self._visited = self._protocol.rounds.due_seconds if self._protocol.combiner.hides == "window" else 0.0
        self.store = Store(folder.path / STATE)
        self._enrolment, self._desk_enrolment = Enrolment(folder.path / centre.ENROLMENT), Enrolment(folder.path / centre.ENROLMENT)
        self._lock = threading.Lock()
        self._pending: list[Message] = []
        self._records: dict[str, LogFiles | dict[str, Any]] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._declined: set[str] = set()
        self._taken: set[str] = set()
        self.roster: tuple[str, ...] = ()
        self._log = self._open_log()
        self.approved = frozenset(entry["site"] for entry in self._log.entries() if entry["t"] == "approval_seen")
        with hub.alone(folder.hub):
            centre.configure(folder, self._enrolment)
        self.presence = Presence()
        self._watcher = Watcher(folder, self.presence, watch)
        self._keeper = Keeper(folder, self._note)
        try:
            self._open_hub()
        except BaseException:
            self._keeper.close()
            raise

    def _open_hub(self) -> None:
        """Connect to the hub, make its streams, and let sites in from now on."""
        folder, settings = self._folder, self._folder.settings
        self._link = Connection(settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("coordinator")), "coordinator")
        self._open_streams()
        self.engine = Nats(
            self._link,
            self._subjects,
            self._protocol.digest,
            folder.key,
            self._members,
            self._boundary,
            self.presence,
            math.inf if self._visited else self._protocol.rounds.lost_seconds,
            folder.path / "room",
            self._other,
            self._note,
        )
        self._receive_sites()

    def run(self) -> Mapping[str, Any]:
        """Run what is left to run, and return the contents of `result.json`.

        Raises:
            NeverCloses: a round needs a site that has left.
        """
        released = self.store.meta("released")
        if released is None:
            self.gather_approvals()
            book = self.book()
            phases = tuple(one.phase for one in self._protocol.algorithms)
            self._watcher.happened(events.StudyStarted(self._protocol.study, phases, tuple(sorted(self.approved))))
            result = self._study(book)
        else:
            self.roster = tuple(json.loads(self.store.meta("roster") or b"[]"))
            self._note("This study is finished; its sites are given what it came to.")
            result = json.loads((self._folder.path / "result.json").read_bytes())
        files = {name: self._folder.path / name for name in WRITTEN if (self._folder.path / name).is_file()}
        self.engine.end(files, "The study has ended; model, result and report lie in this folder.")
        return dict(result)

    def book(self) -> Book:
        """Return what keeps log and store in step."""
        keys = self._identities()
        return book_of(self._protocol, self._folder.initial, self.store, self._log, self._folder.key, keys, self._watcher.happened)

    def wait_for_sites(self, seconds: float) -> None:
        """Stay until every site of the roster has taken what the study came to, or none of the others is heard any more."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < max(seconds, self._visited):
            missing = [site for site in self.roster if site in self._members() and site not in self._taken]
            if not missing or (waited > max(LEASE, self._visited) and not any(self.presence.here(site) for site in missing)):
                return
            self.engine.listen(0.1)
            self._settle_pending()

    def close(self) -> None:
        """Let go of hub, connection and store; what was not committed is forgotten, and asked again."""
        self._watcher.close()
        self.engine.close()
        self._keeper.close()
        self.store.close()
        self._enrolment.close()
        self._desk_enrolment.close()

    def _open_log(self) -> Log:
        signer = self._folder.signer
        new = self.store.meta("begun") is None
        log = Log(self.store.connection, signer.name, signer, self._protocol.study)
        if new:
            log.append(
                "protocol", protocol=self._protocol.digest, initial=dict(self._protocol.initial), unregistered=[], coordinator=signer.vkey
            )
            self.store.put_meta("begun", b"1")
        elif self.store.meta("released") is None:
            turns = [kept for one in self._protocol.algorithms if (kept := self.store.state(one.phase)) is not None]
            log.append("resumed", phase=turns[0][0].phase if turns else "start", round=turns[0][0].round if turns else 0)
        self.store.commit()
        return log

    def _open_streams(self) -> None:
        taken = [one.slot for one in self._enrolment.sites()]
        store = centre.store_bytes(self._folder.settings)
        hub.lay_out(self._link, hub.streams(self._subjects, taken, store, self._upload_bytes()))
        for slot in taken:
            hub.task_queue(self._link, self._subjects, slot)

    def _upload_bytes(self) -> int:
        """Return how much one site may have on the hub at a time: twice the parameters in 64 bits, and room for counts."""
        return int(self._folder.settings.max_upload * 1e9) or 64 * 2**20 + 4 * len(self._folder.initial_bytes)

    def _receive_sites(self) -> None:
        body = parts.put_data(self._link, self._subjects.parts, self._folder.offered.canonical)
        plans, key, there = (self._folder.offered.digest, self._protocol.digest, body), self._folder.key, self.presence
        hands = (self._prepare, self._follow, self._note)
        reception = Reception(self._protocol.study, *plans, key, self._desk_enrolment, there, *hands)
        self._link.serve(self._subjects.join("*"), reception.join)
        self._link.serve(self._subjects.beat("*"), reception.beat)
        self._watcher.start(lambda: self.approved - self._taken, self._words, lambda: self._keeper.trouble)

    def _follow(self) -> None:
        """Have the hub follow the list of sites; runs in threads of its own."""
        enrolment = Enrolment(self._folder.path / centre.ENROLMENT)
        try:
            centre.apply(self._folder, enrolment)
        finally:
            enrolment.close()

    def _other(self, message: Message) -> None:
        """Take in what is no answer: a site that leaves is cut off at once, the rest waits until no round is under way."""
        if message.kind == "leave":
            done = centre.cut_off(self._folder, message.sender, "left")
            untold = f" The hub could not be told: {done.why} {done.remedy}" if done.hub == "not told" else ""
            self._note(f"{message.sender} has left the study.{untold}")
        else:
            self._pending.append(message)

    def _prepare(self, slot: str) -> None:
        store = centre.store_bytes(self._folder.settings)
        hub.lay_out(self._link, hub.streams(self._subjects, [slot], store, self._upload_bytes())[-1:])
        hub.task_queue(self._link, self._subjects, slot)

    def _words(self) -> dict[str, str]:
        """Return how each site stands, in words."""
        members = self._members()
        words = {site: "approved" if site in self.approved else "joined, not approved yet" for site in members}
        return words | {site: "refused the protocol" for site in self._declined if site in members}

    def _note(self, text: str) -> None:
        self._watcher.happened(events.Note(text))

    def _members(self) -> dict[str, Member]:
        with self._lock:
            sites = self._enrolment.sites()
        return {one.site: Member(one.slot, Ed25519PublicKey.from_public_bytes(one.identity)) for one in sites if one.state == "joined"}

    def _identities(self) -> dict[str, Ed25519PublicKey]:
        with self._lock:
            return {one.site: Ed25519PublicKey.from_public_bytes(one.identity) for one in self._enrolment.sites()}

    def _boundary(self) -> Sequence[str]:
        """Return who is asked in the next round; called when everything before is committed."""
        self.engine.listen(0.0)
        self._settle_pending()
        told = False
        while self._folder.stopped.exists():
            if not told:
                reason = plain(self._folder.stopped.read_text(encoding="utf-8")) or "no reason given"
                self._log.append("stopped", reason=reason)
                self.store.commit()
                self._note(f"Stopped: {reason}. To go on: wardround study resume")
            told = True
            self.engine.listen(0.25)
            self._settle_pending()
        members = self._members()
        return [site for site in self.roster if site in members]

    def gather_approvals(self) -> None:
        """Wait until enough sites have approved; from then on the roster stands."""
        kept = self.store.meta("roster")
        if kept is None:
            self._note("Waiting for sites to join and to approve.")
            while not self._enough():
                self.engine.listen(0.1)
                self._settle_pending()
            kept = json.dumps(sorted(self.approved - self._declined)).encode()
            self.store.put_meta("roster", kept)
            self.store.commit()
        self.roster = tuple(json.loads(kept))

    def _enough(self) -> bool:
        with self._lock:
            invited, sites = self._enrolment.invites(), self._enrolment.sites()
        gone = {one.site for one in sites if one.state != "joined"} | self._declined
        wanted = {one.site for one in invited} - gone
        ready = len(self.approved - gone)
        enough = ready >= self._start_with if self._start_with else bool(wanted) and wanted <= self.approved
        return enough and ready >= self._protocol.rounds.quorum

    def _settle_pending(self) -> None:
        """Act on what sites sent beside answers, one transaction each; nothing that a site says may end the study."""
        while self._pending:
            message = self._pending.pop(0)
            try:
                self._settle(message)
            except (StoreError, Unreachable):
                raise
            except (WardroundError, KeyError, TypeError, ValueError) as error:
                self.store.connection.rollback()
                why = error.message if isinstance(error, WardroundError) else "it is not well formed"
                self._note(f"A message of {message.sender} ({message.kind}) was thrown away: {why}")
            self.store.commit()

    def _settle(self, message: Message) -> None:
        site, content = message.sender, message.content
        if message.protocol != self._protocol.digest:
            raise VerificationError("It is of another plan than the one that is served.", "Send it when that one is served.")
        match message.kind:
            case "approval":
                self._approve(message)
            case "decline":
                self._declined.add(site)
                self._note(f"{site} refused the protocol: {plain(str(content.get('reason', '')))}")
            case "record":
                fetched: list[Data] = [b""]
                if (body := message.body) is not None:
                    self.engine.patiently(lambda: fetched.append(self.engine.fetch(site, body, MOST_RECORD)))
                lines = b"".join(blocks(fetched[-1]))
                handed = LogFiles("", lines, str(content["checkpoint"]).encode(), f"{content['vkey']}\n".encode())
                self._records[site] = handed if body else keeps(content.get("kept"), self._protocol.digest, site, self._identities()[site])
                if self._protocol.tells and content.get("results"):
                    self._told[site] = figures_told(lines, content["results"])
            case "taken":
                self._taken.add(site)
            case "update":
                self._late(message)

    def _approve(self, message: Message) -> None:
        """Note a site's signed approval of this exact protocol."""
        site, content = message.sender, message.content
        vkey = VerifierKey.parse(str(content["vkey"]))
        public = self._members()[site].identity
        statement = canonical({"protocol": self._protocol.digest, "site": site, "role": content["role"]})
        same_key = vkey.public.public_bytes_raw() == public.public_bytes_raw()
        if not same_key or open_envelope(content["envelope"], APPROVAL, public) != statement:
            raise VerificationError("It does not approve this protocol.", "Approve again at the site.")
        self._declined.discard(site)
        if site in self.approved:
            return
        most = self._protocol.bounds.sites
        if self.store.meta("roster") is not None or len(self.approved) >= most:
            why = f"there is room for {most} sites" if len(self.approved) >= most else "the study had begun"
            self._note(f"{site} approved, but {why}; it does not take part.")
            return
        self._log.append("join", site=site, vkey=vkey.text)
        self._log.append("approval_seen", site=site, protocol=self._protocol.digest, entry=content["entry"], head=list(content["head"]))
        self.approved = frozenset({*self.approved, site})
        self._note(f"{site} has approved the protocol ({plain(str(content['role']), 80)}).")

    def _late(self, message: Message) -> None:
        """Record an answer to a round that is over; it is not used."""
        update = update_of(message, b"")
        receipt, turn = update.receipt, message.turn
        known = {entry["entry"] for entry in self._log.entries() if entry["t"] in ("ingress", "late")}
        if not receipt.well_formed or receipt.entry in known:
            return
        where = {name: turn[name] for name in ("phase", "round", "attempt")}
        size = 0 if message.body is None else message.body.size
        self._log.append("late", site=update.site, **where, commit=receipt.commit, bytes=size, entry=receipt.entry, index=receipt.index)
        self._note(f"{update.site} answered {turn['phase']}, round {turn['round'] + 1}, after it had closed; recorded, not used.")

    def _study(self, book: Book) -> dict[str, Any]:
        """Run the rounds, collect the sites' logs, and write results and record."""
        algorithms = self._protocol.algorithms
        steps = [Step(one, self._protocol.combiner) for one in algorithms]
        pause = ASK_AGAIN
        while True:
            try:
                earlier = run_study(self._protocol, steps, self.engine, book, self._folder.initial)
                break
            except NeverCloses:
                raise  # who left is not waited for
            except QuorumNotMet as error:
                pause = self._wait_for_quorum(error, pause)
        self._collect_records()
        named = ("phase", "round", "site", "where", "reason", "remedy")
        refusals = [{key: entry[key] for key in named} for entry in self._log.entries() if entry["t"] == "refusal"]
        handed = {site: one for site, one in self._records.items() if isinstance(one, LogFiles)}
        brought = {site: data_entry(handed[site].entries if site in handed else b"") for site in self.roster}
        seconds = {"rounds": sum(row["seconds"] for row in self.store.history())}
        result = federated_outcome(self._protocol, brought, earlier, self.store.history(), refusals, seconds, self._told)
        kept, phase = {site: one for site, one in self._records.items() if isinstance(one, dict)}, released_phase(self._protocol, earlier)
        publish(self._folder.path, self._protocol, self.store, self._log, handed, phase, result, kept)
        return result

    def _wait_for_quorum(self, error: QuorumNotMet, pause: float) -> float:
        """Wait until enough sites are there to ask again, and `pause` seconds where they are and refuse; return the next such pause."""
        if self._enough_are_here():
            refused = [entry for entry in self._log.entries() if entry["t"] == "refusal"][-len(self.roster) :]
            why = " ".join(f"{site}: {text}." for site, text in sorted({one["site"]: one["reason"].rstrip(".") for one in refused}.items()))
            self._note(f"{error.message} {why} They are asked again in {pause:.0f} s, until you stop this command.")
            until, pause = time.monotonic() + pause, min(2 * pause, MOST_PAUSE)
        else:
            wanted = "its three helpers" if self._visited else f"{self._protocol.rounds.quorum} sites"
            self._note(f"{error.message} It is asked again as soon as {wanted} are there.")
            until, pause = 0.0, ASK_AGAIN
        while not self._enough_are_here() or time.monotonic() < until:
            self.engine.listen(0.5)
        return pause

    def _enough_are_here(self) -> bool:
        """Say whether those are there without whom a round cannot begin: the quorum or, in a sum of one message, its helpers."""
        here, rounds = {site for site in self._boundary() if self.presence.here(site)}, self._protocol.rounds
        return here.issuperset(rounds.helpers) if self._visited else len(here) >= rounds.quorum

    def _collect_records(self) -> None:
        """Wait for the sites' copies of their logs, as far as the sites are there, or will be, and let them leave."""
        until = time.monotonic() + max(RECORDS_DUE, self._visited)
        while time.monotonic() < until:
            missing = [site for site in self._boundary() if site not in self._records]
            if not missing or not (self._visited or any(self.presence.silent(site) < LEASE for site in missing)):
                return
            self.engine.listen(0.1)
