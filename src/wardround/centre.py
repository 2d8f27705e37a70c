"""Set up a coordinating centre: its folder, its keys and certificates, invites, and cutting a site off.

Everything here works while the study runs and while it does not; what changes the hub's configuration is written first and then told to the
running server, if there is one.
"""

from __future__ import annotations

import datetime
import json
import secrets
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.coordinator import certificates
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import INITIAL, PROTOCOL, REHEARSAL, SETTINGS, Folder, Settings, everywhere, settings_text, write_secret
from wardround.coordinator.store import sentences
from wardround.engines import hub, hubkeys, hubreload
from wardround.engines.connection import listens
from wardround.engines.subjects import Subjects, slot_name
from wardround.record.entries import SITE
from wardround.record.envelope import INVITE, seal
from wardround.study.arrays import to_bytes
from wardround.study.canonical import canonical
from wardround.study.errors import MissingExtra, ProtocolError, StoreError, Unreachable, WardroundError
from wardround.study.protocol import Protocol

ENROLMENT = "enrolment.sqlite"


def init(path: Path, protocol: Protocol, name: str, address: str, port: int, names: Sequence[str], slots: int) -> Folder:
    """Make a coordinator's folder for one study; needs torch once, for the initial parameters.

    Args:
        path: of the folder; empty or not there.
        protocol: complete, without initial parameters.
        name: of the coordinating centre, one word.
        address: on which the hub listens.
        port: of the hub.
        names: by which sites call the hub; the address if there are none.
        slots: most sites that can be invited.

    Raises:
        StoreError: the folder is in use, or cannot be written.
        ProtocolError: an address that would listen everywhere, or a name that cannot be one.
    """
    from wardround.learning.finished import digests
    from wardround.learning.network import initial_parameters

    if everywhere(address):
        raise ProtocolError("The hub would listen on all interfaces.", "Name the one address at which hospitals reach this machine.")
    names = list(names) or [address]
    values = {"name": name, "address": address, "port": port, "names": names, "slots": slots}
    try:
        Settings.model_validate(values)
    except ValueError as error:
        raise ProtocolError("Name, address, port, names or slots are not possible.", f"See --help. ({_first(error)})") from error
    with sentences():
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise StoreError(f"{path} is not empty.", "Choose an empty folder; what lies there is left as it is.")
        path.chmod(0o700)
        initial = initial_parameters(protocol)
        protocol = protocol.changed(initial=digests(protocol, initial))
        (path / INITIAL).write_bytes(to_bytes(initial))
        (path / PROTOCOL).write_bytes(protocol.canonical)
        _keys(path, names)
        (path / SETTINGS).write_text(settings_text(values), encoding="utf-8")  # last: a folder with settings is whole
    folder = Folder(path)
    enrolment = Enrolment(path / ENROLMENT)
    try:
        enrolment.add_slots([slot_name(number) for number in range(1, slots + 1)], [_nobodys_key() for _ in range(slots)])
        configure(folder, enrolment)
    finally:
        enrolment.close()
    return folder


def _keys(path: Path, names: Sequence[str]) -> None:
    (path / "keys").mkdir(mode=0o700)
    (path / "hub").mkdir(mode=0o700)
    write_secret(path / "keys" / "identity", Ed25519PrivateKey.generate().private_bytes_raw().hex().encode())
    for owner in ("coordinator", "admin"):
        write_secret(path / "keys" / owner, secrets.token_bytes(32).hex().encode())
    made = certificates.make([*dict.fromkeys([*names, "127.0.0.1", "localhost"])], datetime.datetime.now(datetime.UTC))
    (path / "hub" / "ca.pem").write_bytes(made.authority)
    (path / "hub" / "server.pem").write_bytes(made.hub)
    write_secret(path / "hub" / "server.key", made.key)


def plan(folder: Folder, enrolment: Enrolment) -> hub.HubPlan:
    """Return what the hub's configuration says now."""
    keys = [hubkeys.public(folder.hub_key(owner)) for owner in ("coordinator", "admin")]
    slots = [hub.Slot(name, key, _right(allowed)) for name, key, allowed in enrolment.slots()]
    settings = folder.settings
    return hub.HubPlan(settings.listen, Subjects(folder.protocol.study), keys[0], keys[1], slots, store_bytes(settings))


def store_bytes(settings: Settings) -> int:
    """Return how many bytes the hub's streams may take."""
    return int(settings.max_store * 1e9)


def configure(folder: Folder, enrolment: Enrolment) -> bool:
    """Write the hub's configuration as the list of sites has it now, and say whether that changed it; the NATS server here tries it first.

    Raises:
        StoreError: the server or the disk refuses.
    """
    server: Path | None = None
    with suppress(MissingExtra):  # where the hub runs elsewhere, or is installed later
        server = hub.binary(folder.settings.binary)
    return hub.write_config(folder.hub, plan(folder, enrolment), server)


def apply(folder: Folder, enrolment: Enrolment) -> tuple[str, ...]:
    """Have the hub follow the list of sites: write its configuration and tell each running server; return their names.

    Raises:
        Unreachable: no hub runs; it follows when it starts.
        StoreError: a server does not follow; names it.
    """
    with sentences(), hub.alone(folder.hub):
        changed, rehearsal = configure(folder, enrolment), Folder(folder.path / REHEARSAL)
        if rehearsal.hub.exists():  # then its hub may run in place of the study's
            with hub.alone(rehearsal.hub):
                changed &= configure(rehearsal, enrolment)
        return hubreload.reload(folder.settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("admin")), changed)


def invite(folder: Folder, site: str, hours: float) -> bytes:
    """Return an invite for one site: a file to be handed over on a way that others cannot read.

    Args:
        folder: of the coordinator.
        site: its name in the study.
        hours: for how long it is good.

    Raises:
        ProtocolError: the name cannot be a site's.
        StoreError: the site has joined already, or there is no place left.
    """
    if not SITE.fits(site) or site == "coordinator":
        raise ProtocolError(f"{site!r} cannot be a site's name.", f"Use {SITE.says}.")
    protocol, raw, now = folder.protocol.digest, secrets.token_bytes(32), time.time()
    number, expires = secrets.token_hex(16), int(now + hours * 3600)
    enrolment = Enrolment(folder.path / ENROLMENT)
    try:
        slot = enrolment.invite(number, site, hubkeys.public(raw), expires, now)
        _tell(folder, enrolment)
    finally:
        enrolment.close()
    content = {
        "study": folder.protocol.study,
        "site": site,
        "slot": slot,
        "url": folder.settings.site_url,
        "authority": folder.authority,
        "coordinator": folder.signer.vkey,
        "protocol": protocol,
        "invite": number,
        "expires": expires,
        "admission": raw.hex(),
    }
    return json.dumps(seal(INVITE, canonical(content), folder.key), indent=1).encode() + b"\n"


@dataclass(frozen=True)
class CutOff:
    """Say what cutting a site off came to.

    Attributes:
        site: its name.
        state: "revoked" or "left"; so it stands in the list from now on, whatever the hub does.
        hub: "told"; "not running", so nobody is connected and it reads the list when it starts; "not told", so the line may still be up.
        servers: names of the hub's servers that read the new list.
        why: the hub was not told.
        remedy: what to do about it.
    """

    site: str
    state: str
    hub: Literal["told", "not running", "not told"]
    servers: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""


def cut_off(folder: Folder, site: str, state: str) -> CutOff:
    """Cut a site off, at once; the study goes on without it.

    Raises:
        StoreError: this is no coordinator's folder, no such site has joined, or the list cannot be written.
    """
    folder.insist()
    with closing(Enrolment(folder.path / ENROLMENT)) as enrolment:
        with enrolment.change():
            enrolment.cut_off(site, state, _nobodys_key())
        try:
            return CutOff(site, state, "told", apply(folder, enrolment))
        except WardroundError as error:
            return _untold(folder, site, state, error)


def _untold(folder: Folder, site: str, state: str, error: WardroundError) -> CutOff:
    if isinstance(error, StoreError):
        return CutOff(site, state, "not told", (), error.message, error.remedy)
    if isinstance(error, Unreachable) and not folder.settings.url and not _listens(folder.settings.own_url):
        return CutOff(site, state, "not running")
    by_hand = (
        f"On each of the hub's servers: run it on {folder.hub / 'nats.conf'}, or on a copy as of now; then: nats-server --signal reload"
    )
    return CutOff(
        site, state, "not told", (), error.message, f"See that the hub runs, and give the same command again. Or by hand. {by_hand}"
    )


def _listens(url: str) -> bool:
    try:
        listens(url)
    except Unreachable:
        return False
    return True


def _tell(folder: Folder, enrolment: Enrolment) -> None:
    try:
        apply(folder, enrolment)
    except Unreachable:
        return  # the configuration is written; the hub reads it when it starts


def _right(text: str) -> hub.Right:
    return "site" if text == "site" else "join" if text == "join" else "nothing"


def _nobodys_key() -> str:
    return hubkeys.public(secrets.token_bytes(32))


def _first(error: ValueError) -> str:
    return str(error).splitlines()[1] if "\n" in str(error) else str(error)
