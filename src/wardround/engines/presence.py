"""Know which sites are there: each beats every two seconds, and counts as lost when nothing came for six.

A site that is lost is named at once; whether the round waits for it is the protocol's to say. Two processes that beat as one site are told
apart by a number that each makes when it starts: the one that started last stays, since it may have been started in place of one that
died a moment ago; the other is told to end, if it lives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LEASE = 6.0
"""Seconds without a beat after which a site counts as lost."""

Clock = Callable[[], float]


@dataclass
class _Seen:
    """Hold a site's last beat; without an instance where it was looked for and has not beaten yet."""

    instance: str
    since: int
    number: int
    at: float
    lost: bool = False


class Presence:
    """Hold when each site was heard last; used from two threads.

    Args:
        clock: seconds, only ever growing.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """Begin with nobody seen; who is not heard within a lease from now counts as lost."""
        self._clock, self._began = clock, clock()
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def beat(self, site: str, instance: str, since: int, number: int) -> str:
        """Take in a beat and return what the site is told.

        Args:
            site: its name.
            instance: number that its process made; empty for a look that changes nothing.
            since: when that process started, by its own clock.
            number: of the beat, growing.

        Returns:
            "ok"; "second" where a process that started later is there; "replay" for an old beat.
        """
        with self._lock:
            now, seen = self._clock(), self._seen.get(site)
            if not instance:
                return "ok"
            if seen is not None and seen.instance == instance and number <= seen.number:
                return "replay"
            if seen is not None and seen.instance not in ("", instance) and since <= seen.since and now - seen.at < LEASE:
                return "second"
            self._seen[site] = _Seen(instance, since, number, now, seen is not None and seen.lost)
            return "ok"

    def silent(self, site: str) -> float:
        """Return for how many seconds a site has not been heard."""
        with self._lock:
            seen = self._seen.get(site)
            return self._clock() - (self._began if seen is None else seen.at)

    def here(self, site: str) -> bool:
        """Say whether a site was heard within the lease."""
        with self._lock:
            seen = self._seen.get(site)
            return seen is not None and self._clock() - seen.at < LEASE

    def changes(self, sites: Iterable[str]) -> list[tuple[str, bool]]:
        """Return which sites were lost (False) or came back (True) since the last call."""
        found = []
        for site in sites:
            silent = self.silent(site) >= LEASE
            with self._lock:
                seen = self._seen.setdefault(site, _Seen("", 0, 0, self._began))
                if silent != seen.lost:
                    seen.lost = silent
                    found.append((site, not silent))
        return found
