"""Say how a served study stands: what the serving process last wrote down, beside the list of hospitals."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from wardround import centre
from wardround.coordinator import events
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import Folder
from wardround.coordinator.store import sentences
from wardround.engines.keeper import reason
from wardround.engines.presence import LEASE, Presence
from wardround.record.note import fingerprint
from wardround.site.folder import write_text
from wardround.study.errors import StoreError

FILE = "status.json"
EVERY, STALE = 2.0, 8.0
"""Seconds between two writings, and after which what was written says that nobody serves any more."""


class Watcher:
    """Name sites that are lost and those that come back, and write down every other second how the study stands.

    Args:
        folder: of the coordinator.
        presence: who is there.
        tell: is told what happens.
    """

    def __init__(self, folder: Folder, presence: Presence, tell: events.Watch) -> None:
        """Take note of what happens from now on."""
        self._folder, self._presence, self._tell = folder, presence, tell
        self._text = ""
        self._end = threading.Event()

    def start(self, expected: Callable[[], Iterable[str]], words: Callable[[], Mapping[str, str]], trouble: Callable[[], str]) -> None:
        """Begin to look.

        Args:
            expected: gives the sites that should be there.
            words: gives how each site stands.
            trouble: gives why the hub does not run; empty while it does.
        """
        threading.Thread(target=self._look, args=(expected, words, trouble), daemon=True).start()

    def happened(self, event: events.Event) -> None:
        """Pass on what happened, and keep in words how the study stands."""
        match event:
            case events.RoundOpened():
                self._text = f"{event.phase}, round {event.round + 1}"
            case events.PhaseDone():
                self._text = f"{event.phase} is done"
            case events.Note():
                self._text = event.text
        self._tell(event)

    def close(self) -> None:
        """Look no more."""
        self._end.set()

    def _look(self, expected: Callable[[], Iterable[str]], words: Callable[[], Mapping[str, str]], trouble: Callable[[], str]) -> None:
        """Look four times a second; what goes wrong is said once, and stands in what is written for as long as it lasts."""
        written, wrong = 0.0, ""
        while not self._end.wait(0.25):
            try:
                for site, back in self._presence.changes(expected()):
                    self.happened(events.Back(site) if back else events.Lost(site, LEASE))
                if time.monotonic() - written > EVERY:
                    written = time.monotonic()
                    sites = {site: text if self._presence.here(site) else f"{text}; silent" for site, text in words().items()}
                    self._write(trouble(), sites)
                    wrong = ""
            except Exception as error:  # an edge: nobody else would hear of it
                before, wrong = wrong, f"How the sites stand is not known: {reason(error)}"
                if wrong != before:
                    self._tell(events.Note(wrong))
                with suppress(StoreError):
                    self._write(wrong, {})

    def _write(self, trouble: str, sites: Mapping[str, str]) -> None:
        text = " ".join(part for part in (trouble, self._text) if part)
        with sentences():
            write_text(self._folder.path / FILE, json.dumps({"text": text, "sites": sites, "at": time.time()}) + "\n")


def standing(folder: Folder) -> dict[str, Any]:
    """Return study, state, text and one row a hospital.

    Raises:
        StoreError: this is no coordinator's folder.
    """
    protocol = folder.protocol
    try:
        last: dict[str, Any] = json.loads((folder.path / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        last = {}
    fresh = time.time() - float(last.get("at", 0)) < STALE
    enrolment = Enrolment(folder.path / centre.ENROLMENT)
    try:
        rows = list(_rows(enrolment, last.get("sites", {}) if fresh else {}))
    finally:
        enrolment.close()
    finished = (folder.path / "result.json").exists()
    text = "finished" if finished else str(last.get("text", "")) if fresh else "not served now; run: wardround coordinator serve"
    if folder.stopped.exists():
        text = f"stopped; {text}"
    return {"study": protocol.study, "protocol_digest": protocol.digest, "serving": fresh, "text": text, "sites": rows}


def _rows(enrolment: Enrolment, live: dict[str, str]) -> list[dict[str, str]]:
    sites = {one.site: live.get(one.site, "joined") if one.state == "joined" else one.state for one in enrolment.sites()}
    keys = {one.site: fingerprint(one.identity.hex()) for one in enrolment.sites()}
    for one in enrolment.invites():
        if one.site not in sites:
            sites[one.site] = "invited" if one.expires > time.time() else "invited, but the invite has expired"
    return [{"site": site, "state": state, "fingerprint": keys.get(site, "")} for site, state in sorted(sites.items())]
