"""Hold a hospital's folder: its membership, keys, rules, snapshot and memory. Keys are made here and never leave.

DIR/site.toml              where the rows are, and what they mean; for people to edit
DIR/policy.toml            what this hospital allows; for people to edit
DIR/membership.json        of which study, and how the coordinator is reached and known
DIR/protocol.json          the plan, as the coordinator sent it and the membership names it by digest
DIR/keys/                  identity, private stream and hub key, for this user only
DIR/snapshots/             what the worker will see
DIR/prepared.json          which snapshot is the current one
DIR/pending.json           which one takes its place at the next round
DIR/changes.json           which rows were not as in the snapshot when the hospital last looked
DIR/withdrawn              pseudonyms of the patients who withdrew
DIR/parts                  pseudonyms of all patients so far, each with its part (training, validation, test)
DIR/loading                held while snapshots are laid ready, taken into use and removed
DIR/pseudonyms.safetensors by which keyed hash the hospital's ledger knows each patient, where it keeps one
DIR/noted.json             how many answers of this study that ledger had noted
DIR/site.sqlite            egress log, memory and journal
DIR/evidence/              what the coordinator signed, where a step of the secure sum was broken
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from wardround.record.log import Log
from wardround.record.note import Signer, VerifierKey, fingerprint
from wardround.site.following import Following
from wardround.site.gate import Brought, Site
from wardround.site.keys import SiteKeys
from wardround.site.policy import HospitalPolicy, Policy
from wardround.site.rules import FILE, Rules, read_rules
from wardround.site.state import SiteState
from wardround.site.states import States
from wardround.site.telling import Telling
from wardround.study.canonical import digest
from wardround.study.errors import StoreError, VerificationError
from wardround.study.protocol import Protocol

MEMBERSHIP, PROTOCOL, PREPARED, STATE = "membership.json", "protocol.json", "prepared.json", "site.sqlite"
LOADING, WITHDRAWN = "loading", "withdrawn"


@dataclass(frozen=True)
class Membership:
    """Hold what the invite said.

    Attributes:
        study: name of the study.
        site: name of this site in it.
        slot: its place on the hub.
        url: of the hub.
        authority: certificate by which the hub is known, PEM text.
        coordinator: the coordinator's key, as one line `name+hash+key`.
        protocol: digest of the plan.
        invite: number of the invite.
        expires: of the invite, seconds since 1970.
        admission: raw key for the hub that only serves to join, as hex.
    """

    study: str
    site: str
    slot: str
    url: str
    authority: str
    coordinator: str
    protocol: str
    invite: str
    expires: int
    admission: str = field(repr=False)

    @property
    def coordinator_key(self) -> VerifierKey:
        """Return the coordinator's key."""
        return VerifierKey.parse(self.coordinator)


@dataclass(frozen=True)
class SiteFolder:
    """Hold a hospital's folder."""

    path: Path

    @cached_property
    def membership(self) -> Membership:
        """Return of which study this site is a member.

        Raises:
            StoreError: it has not joined one.
        """
        try:
            return Membership(**json.loads((self.path / MEMBERSHIP).read_text(encoding="utf-8")))
        except OSError as error:
            raise StoreError(
                f"{self.path}: this site has joined no study yet.", "Join with the invite: wardround site join INVITE."
            ) from error
        except (ValueError, TypeError) as error:
            raise self._damaged(MEMBERSHIP) from error

    @cached_property
    def protocol(self) -> Protocol:
        """Return the plan.

        Raises:
            VerificationError: the file is not the plan that the membership names.
        """
        member, data = self.membership, self._read(PROTOCOL)
        if digest(data) != member.protocol:
            raise VerificationError(f"{self.path / PROTOCOL} is not the protocol of the invite.", "Join again with the invite.")
        return Protocol.model_validate(json.loads(data))

    @cached_property
    def keys(self) -> SiteKeys:
        """Return the site's keys."""
        return SiteKeys.from_bytes(self._secret("identity"))

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the site's public signing key."""
        return fingerprint(self.keys.public.public_bytes_raw().hex())

    @cached_property
    def hub_key(self) -> bytes:
        """Return the raw key for the hub."""
        return self._secret("hub")

    @property
    def brought(self) -> Brought:
        """Return which snapshot the site brings.

        Raises:
            StoreError: none was prepared.
        """
        try:
            return Brought(**json.loads((self.path / PREPARED).read_text(encoding="utf-8")))
        except OSError as error:
            raise StoreError(f"{self.path}: no snapshot was prepared yet.", "Run: wardround site prepare.") from error
        except (ValueError, TypeError) as error:
            raise self._damaged(PREPARED) from error

    @property
    def snapshots(self) -> Path:
        """Return where snapshots lie."""
        return self.path / "snapshots"

    @property
    def room(self) -> Path:
        """Return where parameters and answers lie that are too large for memory, while they are needed."""
        return self.path.resolve() / "room"

    @property
    def snapshot(self) -> Path:
        """Return the folder of the snapshot that the site brings."""
        return self.snapshots / self.brought.snapshot.removeprefix("sha256:")

    @property
    def rules(self) -> Rules:
        """Return the hospital's rules."""
        return read_rules(self.path / FILE)

    def bring(self, brought: Brought) -> None:
        """Note which snapshot the site brings from now on."""
        write_text(self.path / PREPARED, json.dumps(asdict(brought), indent=1) + "\n")

    def make_keys(self) -> None:
        """Make the site's keys, unless they are there."""
        folder = self.path / "keys"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in (("identity", SiteKeys.new().to_bytes()), ("hub", secrets.token_bytes(32))):
            try:
                handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            with os.fdopen(handle, "w") as file:
                file.write(data.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())

    def database(self) -> sqlite3.Connection:
        """Open the site's database: log, memory and journal; what a transaction holds is durable when it is committed.

        Raises:
            StoreError: this site has joined no study.
        """
        self.membership  # noqa: B018  a folder that has joined nothing gets no database
        path = self.path / STATE
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def log(self, connection: sqlite3.Connection) -> Log:
        """Return the site's log over an open database."""
        member = self.membership
        signer = Signer(f"{member.site}.{member.coordinator_key.name}", self.keys.signing)
        return Log(connection, signer.name, signer, member.study)

    def gate(self, connection: sqlite3.Connection, approved: frozenset[str], rules: Rules | None) -> Site:
        """Return the site's gate over an open database."""
        member, brought = self.membership, self.brought
        state = SiteState(connection, member.protocol, member.site, brought.snapshot)
        policy = Policy()  # approves of nothing, for a look at log and memory
        if rules is not None:
            telling = Telling(self.protocol, rules.statistics, self.path, self.snapshot)
            policy = HospitalPolicy(approved, rules=rules, source=brought.source, patients=brought.patients, telling=telling)
        log, coordinator = self.log(connection), member.coordinator_key.public
        following = Following(self.protocol, state.sessions, States(self.path / "following")) if self.protocol.follows else None
        keys = self.keys
        if self.protocol.rehearsal:  # the study may ask the very same, and its private numbers must not have been used before
            keys = replace(keys, private=keys.private.child("rehearsal", member.protocol))
        return Site(member.site, self.protocol, keys, policy, state, log, coordinator, brought.examples, self.room, following)

    def _secret(self, name: str) -> bytes:
        try:
            return bytes.fromhex((self.path / "keys" / name).read_text(encoding="ascii").strip())
        except OSError as error:
            raise StoreError(f"{self.path}: the site's keys are not there ({error.strerror}).", "Put them back, or join anew.") from error

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise StoreError(f"{self.path / name} cannot be read ({error.strerror}).", "Join again with the invite.") from error

    def _damaged(self, name: str) -> StoreError:
        return StoreError(f"{self.path / name} is damaged.", "Put it back from a copy, or make it anew.")


@contextmanager
def loading(path: Path, wait: bool = True) -> Iterator[None]:
    """Let nobody else lay a snapshot ready, take one into use or remove one.

    Args:
        path: of the hospital's folder.
        wait: until nobody else does; else say so at once.

    Raises:
        StoreError: somebody does, and `wait` is False.
    """
    handle = os.open(path / LOADING, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise StoreError("This hospital's rows are being made ready.", "It goes on by itself in a moment.") from error
        yield
    finally:
        os.close(handle)


def gone(path: Path) -> set[str]:
    """Return the pseudonyms of the patients who withdrew from this study here, in hex; they stay out for good."""
    place = path / WITHDRAWN
    return set(place.read_text(encoding="ascii").split()) if place.exists() else set()


def remove_snapshots(snapshots: Path, but: Set[str]) -> None:
    """Remove every snapshot but those with these digests, with all that lies beside it: patients who withdrew are in older ones."""
    names = {digest.removeprefix("sha256:") for digest in but}
    for path in snapshots.glob("*"):
        if path.name.partition(".")[0] in names or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; only this user may read it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; only this user may read it."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
