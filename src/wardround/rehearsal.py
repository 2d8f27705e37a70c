"""Rehearse a study before anybody approves it: all its phases, on made-up rows, here or with the hospitals that have joined.

Between hospitals the coordinating centre serves the rehearsal from a folder of its own within the study's, with the same keys, the same
list of sites and the same address, but a hub store of its own: nothing of it is left when the study begins. Each hospital takes part by one
command, which first looks whether it can. What stands in the way of a round on launch day is found here, and named with its site.
"""

from __future__ import annotations

import json
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wardround import centre
from wardround.calibration import made_up
from wardround.coordinator import events
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import INITIAL, OFFERED, PROTOCOL, REHEARSAL, RUN, SETTINGS, Folder
from wardround.coordinator.store import sentences
from wardround.data.site_file import load_site
from wardround.engines import hub, hubkeys
from wardround.engines.messages import Message
from wardround.record.entries import plain
from wardround.serving import Serving
from wardround.simulation import simulate
from wardround.study.errors import NotAdmitted, ProtocolError, QuorumNotMet, StoreError
from wardround.study.protocol import Protocol
from wardround.study.protocol.rehearsed import made_up_rows, rehearsal_of

FAREWELL = 10.0
_LOOK = "Have it run: wardround site rehearse. It names where its way to the hub ends, and what to ask the firewall team for."


@dataclass(frozen=True)
class Fault:
    """Name what stood in the way.

    Attributes:
        site: of whom.
        what: one sentence.
        remedy: what to do.
    """

    site: str
    what: str
    remedy: str


@dataclass
class Rehearsed:
    """Hold what a rehearsal came to.

    Attributes:
        study: name of the study.
        protocol: digest of its plan.
        sites: by name how far each came.
        faults: what stood in the way; none when all is well.
        rounds: one row a round, as in `result.json`.
        seconds: from the first word to the last.
    """

    study: str
    protocol: str
    sites: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Say whether every site took part and nothing stood in the way."""
        return bool(self.rounds) and not self.faults

    def document(self) -> dict[str, Any]:
        """Return it as JSON values; everything in it is about made-up rows."""
        times = [row["seconds"] for row in self.rounds]
        return {
            "study": self.study,
            "protocol_digest": self.protocol,
            "synthetic": True,
            "ok": self.whole,
            "sites": dict(sorted(self.sites.items())),
            "faults": [vars(one) for one in self.faults],
            "rounds": len(times),
            "round_seconds": {"median": statistics.median(times), "slowest": max(times)} if times else None,
            "bytes_up": sum(row["bytes_up"] for row in self.rounds),
            "bytes_down": sum(row["bytes_down"] for row in self.rounds),
            "history": self.rounds,
            "seconds": self.seconds,
        }


def rehearse_here(protocol: Protocol, files: Sequence[Path], watch: events.Watch = events.nobody) -> Rehearsed:
    """Rehearse a study with all sites on this machine; of the site files only the names are read.

    Args:
        protocol: complete.
        files: site files.
        watch: is told what happens.

    Raises:
        ProtocolError: a site file is wrong, or two have one name.
    """
    began, names = time.monotonic(), [load_site(path).name for path in files]
    if len(set(names)) < len(names):
        raise ProtocolError("Two site files have the same name.", "Give every site its own name.")
    made = Rehearsed(protocol.study, protocol.digest, dict.fromkeys(names, "answered"))
    with tempfile.TemporaryDirectory() as place:
        sites = made_up(dict.fromkeys(names, made_up_rows(protocol)))
        try:
            result = simulate(rehearsal_of(protocol), sites, place, watch=watch).result
        except QuorumNotMet as error:
            made.faults.append(Fault("", error.message, error.remedy))
        else:
            made.rounds = list(result["history"])
            _refused(made, result["refusals"])
    made.seconds = time.monotonic() - began
    return made


def _refused(made: Rehearsed, refusals: Sequence[Mapping[str, Any]]) -> None:
    """Note each site's refusals, each reason once."""
    for one in refusals:
        fault = Fault(one["site"], f"{one['phase']}: {one['reason']}".rstrip(".") + ".", one["remedy"])
        if fault not in made.faults:
            made.faults.append(fault)
        made.sites[one["site"]] = "refused, or was away"


def rehearse_between(folder: Folder, wait: float, watch: events.Watch = events.nobody) -> Rehearsed:
    """Serve the rehearsal of a study to the hospitals that have joined or join now.

    Args:
        folder: of the coordinator; the study itself must not be served at the same time.
        wait: seconds for which sites are waited for.
        watch: is told what happens.

    Raises:
        StoreError: the study is served now, has ended, or its hub is run by others; or the hub cannot be started.
    """
    began, study = time.monotonic(), folder.protocol
    _free(folder)
    made = Rehearsed(study.study, study.digest)
    serving = Rehearsing(_laid_out(folder), wait, made, watch)
    try:
        serving.run()
        serving.wait_for_sites(FAREWELL)
    except QuorumNotMet as error:
        made.faults.append(Fault("", error.message, "Mend what is named of the sites, then rehearse again."))
    finally:
        made.rounds = serving.store.history()
        serving.tell()
        serving.close()
        shutil.rmtree(folder.path / REHEARSAL / "hub", ignore_errors=True)
    made.seconds = time.monotonic() - began
    with sentences():
        (folder.path / "rehearsal.json").write_text(json.dumps(made.document(), indent=1) + "\n", encoding="utf-8")
    return made


def _free(folder: Folder) -> None:
    """Refuse where the study itself is under way.

    Raises:
        StoreError: it is, or its hub is run by others.
    """
    settings = folder.settings
    if settings.url:
        remedy = "Rehearse with a folder whose coordinator.toml names no url, on another port; or use wardround doctor."
        raise StoreError("The hub is run by others, and a rehearsal must not write into its streams.", remedy)
    try:
        runs = hub.reachable(settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("admin")))
    except NotAdmitted:
        raise StoreError("Another study's hub runs at this address.", "End it, or write another port into coordinator.toml.") from None
    if runs:
        raise StoreError("The study is being served, or its hub still runs.", "Stop 'wardround coordinator serve' first, then rehearse.")


def _laid_out(folder: Folder) -> Folder:
    """Return the rehearsal's folder, made anew: links to what it shares with the study's, and a hub store and a state of its own."""
    place = folder.path / REHEARSAL
    with sentences():
        shutil.rmtree(place, ignore_errors=True)
        (place / "hub").mkdir(parents=True, mode=0o700)
        for name in (SETTINGS, "keys", centre.ENROLMENT, INITIAL):
            (place / name).symlink_to(Path("..") / name)
        for name in ("ca.pem", "server.pem", "server.key"):
            (place / "hub" / name).symlink_to(Path("..") / ".." / "hub" / name)
        (place / PROTOCOL).write_bytes(rehearsal_of(folder.protocol).canonical)
        (place / OFFERED).write_bytes(folder.protocol.canonical)
        (place / RUN).write_text(secrets.token_hex(8), encoding="ascii")
    return Folder(place)


class Rehearsing(Serving):
    """Serve a rehearsal: wait for sites only so long, and ask nothing twice.

    Args:
        folder: of the rehearsal.
        wait: seconds for which sites are waited for.
        made: is filled in.
        watch: is told what happens.
    """

    def __init__(self, folder: Folder, wait: float, made: Rehearsed, watch: events.Watch) -> None:
        """Begin to serve."""
        self._made, self._until = made, time.monotonic() + wait
        self._all: set[str] = set()
        super().__init__(folder, 0, watch)

    def tell(self) -> None:
        """Fill in how far each site came, and what stood in its way."""
        with closing(Enrolment(self._folder.path / centre.ENROLMENT)) as enrolment:
            joined = {one.site for one in enrolment.sites() if one.state == "joined"}
            invited = {one.site for one in enrolment.invites()} - {one.site for one in enrolment.sites()}
        for site in sorted(invited):
            self._found(site, "invited, has not joined", "It has not joined: its network turns it away, or nobody used its invite.", _LOOK)
        for site in sorted(joined - self.approved - self._declined):
            self._found(site, "not heard", "Nothing is heard of it: its network turns it away, or nobody rehearses there.", _LOOK)
        for site in sorted(self.approved & joined):
            self._made.sites.setdefault(site, "answered" if self._made.rounds else "was there")
        _refused(self._made, [entry for entry in self._log.entries() if entry["t"] == "refusal"])

    def _found(self, site: str, state: str, what: str, remedy: str) -> None:
        self._made.sites[site] = state
        self._made.faults.append(Fault(site, what, remedy))

    def _settle(self, message: Message) -> None:
        """Note what a site found out about itself before it said that it cannot take part."""
        if message.kind == "decline":
            what, remedy = (plain(str(message.content.get(name, ""))) for name in ("reason", "remedy"))
            self._found(message.sender, "cannot take part", what or "It cannot take part.", remedy or _LOOK)
        super()._settle(message)

    def _enough(self) -> bool:
        """Say whether to begin: when all are there, or enough of them and the others were waited for.

        Raises:
            QuorumNotMet: too few came in time.
        """
        if super()._enough():
            return True
        if time.monotonic() < self._until:
            return False
        ready, quorum = len(self.approved - self._declined), self._protocol.rounds.quorum
        if ready < quorum:
            raise QuorumNotMet(f"{ready} of {quorum} sites came to the rehearsal in time.", "Rehearse again when the others can.")
        return True

    def _wait_for_quorum(self, error: QuorumNotMet, pause: float) -> float:
        """End: a rehearsal is given again, not waited for."""
        raise error
