"""Keep the list of who may take part: slots on the hub, invites, and the sites that used them.

An invite is good once and until it expires. Whoever uses it brings a signing key, which from then on *is* the site, and a key for the hub,
bound to the first by a signature. The list has a database of its own, so that inviting and revoking work while the study runs; each change
is one short transaction, and what the hub is told follows from the list as a whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardround.coordinator.store import sentences
from wardround.study.errors import NotAdmitted, StoreError

_TABLES = (
    "CREATE TABLE IF NOT EXISTS slots (slot TEXT PRIMARY KEY, key TEXT NOT NULL, allowed TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS invites (id TEXT PRIMARY KEY, site TEXT NOT NULL, slot TEXT NOT NULL, expires INTEGER NOT NULL,
        used_by TEXT)""",
    """CREATE TABLE IF NOT EXISTS sites (site TEXT PRIMARY KEY, slot TEXT NOT NULL, identity BLOB NOT NULL, key TEXT NOT NULL,
        state TEXT NOT NULL) WITHOUT ROWID""",
)


@dataclass(frozen=True)
class Enrolled:
    """Hold a site that has joined.

    Attributes:
        site: its name.
        slot: its place on the hub.
        identity: its public signing key, 32 bytes.
        key: its public key for the hub.
        state: "joined", "revoked" or "left".
    """

    site: str
    slot: str
    identity: bytes
    key: str
    state: str


@dataclass(frozen=True)
class Invited:
    """Hold an invite: its number, for whom, where, until when (seconds since 1970), and whether it was used."""

    id: str
    site: str
    slot: str
    expires: int
    used: bool


class Enrolment:
    """Hold slots, invites and sites of one coordinator.

    Args:
        path: of the database; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        """Open the list."""
        self.path = path
        with sentences():
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *_TABLES):
                self._db.execute(statement)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the list alone for one change; undo it if it fails.

        Raises:
            StoreError: the disk refused, or another holds the list for too long; nothing was changed.
        """
        with sentences():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have undone it already
                    self._db.execute("ROLLBACK")
                raise

    def add_slots(self, names: Sequence[str], keys: Sequence[str]) -> None:
        """Make places, each with a key that nobody holds."""
        with self.change():
            rows = [(name, key, "nothing") for name, key in zip(names, keys, strict=True)]
            self._db.executemany("INSERT INTO slots VALUES (?, ?, ?)", rows)

    def slots(self) -> list[tuple[str, str, str]]:
        """Return each slot's name, key and right."""
        return [(slot, key, allowed) for slot, key, allowed in self._rows("SELECT slot, key, allowed FROM slots ORDER BY slot")]

    def sites(self) -> list[Enrolled]:
        """Return every site that has joined, by name."""
        return [Enrolled(*row) for row in self._rows("SELECT site, slot, identity, key, state FROM sites ORDER BY site")]

    def site(self, name: str) -> Enrolled | None:
        """Return a site that has joined, or None."""
        return next((one for one in self.sites() if one.site == name), None)

    def invites(self) -> list[Invited]:
        """Return every invite."""
        rows = self._rows("SELECT id, site, slot, expires, used_by FROM invites ORDER BY site, expires")
        return [Invited(number, site, slot, expires, used is not None) for number, site, slot, expires, used in rows]

    def _rows(self, query: str) -> list[Any]:
        with sentences():
            return self._db.execute(query).fetchall()

    def invite(self, number: str, site: str, key: str, expires: int, now: float) -> str:
        """Note an invite and return the slot it is for; an earlier one for this site, if not used, is good no longer.

        Args:
            number: of the invite.
            site: its name.
            key: public key for the hub that the invite carries.
            expires: seconds since 1970.
            now: the same.

        Raises:
            StoreError: the site is in already, or no slot is free.
        """
        with self.change():
            known = self.site(site)
            if known is not None:
                raise StoreError(f"{site} has joined already ({known.state}).", "A site that shall join again needs another name.")
            earlier = [one for one in self.invites() if one.site == site]
            self._db.execute("DELETE FROM invites WHERE site = ? AND used_by IS NULL", (site,))
            overdue = {one.slot for one in self.invites() if not one.used and one.expires < now}
            taken = {one.slot for one in self.invites()} - overdue | {one.slot for one in self.sites()}
            free = [slot for slot, _, _ in self.slots() if slot not in taken]
            slot = earlier[-1].slot if earlier else next(iter(free), None)
            if slot is None:
                raise StoreError("There is no place left for another site.", "Revoke a site, or begin with more slots.")
            self._db.execute("DELETE FROM invites WHERE slot = ? AND used_by IS NULL", (slot,))
            self._db.execute("INSERT INTO invites VALUES (?, ?, ?, ?, NULL)", (number, site, slot, expires))
            self._db.execute("UPDATE slots SET key = ?, allowed = 'join' WHERE slot = ?", (key, slot))
        return slot

    def admit(self, number: str, site: str, slot: str, identity: bytes, key: str, now: float) -> bool:
        """Let a site in that shows an invite; return False where these very keys were let in before.

        Raises:
            NotAdmitted: the invite is unknown, expired, for another site, or was used with other keys.
        """
        again = "Ask the coordinating centre for a new invite."
        found = next((one for one in self.invites() if one.id == number), None)
        if found is None or (found.site, found.slot) != (site, slot):
            raise NotAdmitted("This invite is not known here, or a newer one took its place.", again)
        known = self.site(site)
        if found.used:
            if known is not None and (known.identity, known.key, known.state) == (identity, key, "joined"):
                return False
            raise NotAdmitted("This invite was used already; an invite is good once.", f"If it was not you, say so at once. {again}")
        if found.expires < now:
            raise NotAdmitted("This invite has expired.", again)
        if key in {taken for _, taken, _ in self.slots()}:
            raise NotAdmitted("This key for the hub is in use already.", "Join again with keys of its own.")
        self._db.execute("UPDATE invites SET used_by = ? WHERE id = ?", (identity.hex(), number))
        self._db.execute("REPLACE INTO sites VALUES (?, ?, ?, ?, 'joined')", (site, slot, identity, key))
        self._db.execute("UPDATE slots SET key = ?, allowed = 'site' WHERE slot = ?", (key, slot))
        return True

    def cut_off(self, site: str, state: str, key: str) -> Enrolled:
        """Take a site's place on the hub away, and an invite that it may hold; also of one that was only invited.

        Args:
            site: its name.
            state: "revoked" or "left".
            key: that nobody holds, for the slot.

        Raises:
            StoreError: no such site has joined or is invited.
        """
        slots = {one.slot for one in self.invites() if one.site == site and not one.used}
        known = self.site(site) or next((Enrolled(site, slot, b"", "", state) for slot in slots), None)
        if known is None:
            raise StoreError(f"No site {site} has joined or is invited.", "See the names: wardround coordinator status.")
        self._db.execute("DELETE FROM invites WHERE site = ? AND used_by IS NULL", (site,))
        self._db.execute("UPDATE sites SET state = ? WHERE site = ?", (state, site))
        self._db.execute("UPDATE slots SET key = ?, allowed = 'nothing' WHERE slot = ?", (key, known.slot))
        return known
