"""Look at the way from a hospital to the coordinating centre's hub, one step after the other, and say what to do where it ends.

The steps are those that a connection takes: the name, the port, TLS, the key; then the two clocks. The first that fails is named with what
to do, such as the words for a firewall team; what comes after it cannot be tested. Each step has a few seconds and no more. At the
coordinating centre the same command looks whether a hub can run there. Looking uses no invite up and turns no process of the
site away.
"""

from __future__ import annotations

import queue
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from wardround.cli.doctor import LEAST_DISK, LEAST_MEMORY, Found, free_memory
from wardround.coordinator.folder import INITIAL, SETTINGS, Folder, Settings
from wardround.data.rowstore import MEMORY
from wardround.engines import hub, hubkeys
from wardround.engines.agent import SKEW, connect
from wardround.engines.connection import Connection, tls_context
from wardround.engines.messages import COORDINATOR, Message
from wardround.engines.subjects import Subjects
from wardround.hospital import read_invite
from wardround.record.entries import plain
from wardround.site.folder import MEMBERSHIP, SiteFolder
from wardround.study.dataset import row_bytes
from wardround.study.errors import MissingExtra, NotAdmitted, WardroundError

LIMIT = 3.0
"""Seconds that one step may wait for the other side."""

NOTICED = 30.0
"""Seconds by which clocks may differ before a word is said."""

HUB_MEMORY = 2**29
"""Bytes of memory that hub and coordinator take beside the models."""

_ANOTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_NOT_NOW = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_MOST_GREETING = 2**16
Probe = Callable[[], Found]


class Place(NamedTuple):
    """Hold where a hub is, and the certificate authority (PEM text) by which it is known."""

    host: str
    port: int
    authority: str

    @classmethod
    def of(cls, url: str, authority: str) -> Place:
        """Return the place in a hub's address."""
        parts = urlsplit(url)
        return cls(str(parts.hostname), parts.port or 4222, authority)

    @property
    def asked(self) -> str:
        """Return what to ask a firewall team for."""
        return (
            f"outbound TCP from this machine to {self.host} port {self.port}, TLS 1.3, no inbound rule, long-lived connection, "
            "no TLS inspection"
        )


def network(folder: Path, invite: Path | None) -> Iterator[Found]:
    """Yield what was found on the way to the hub: for an invite, in a hospital's folder, or in a coordinator's; elsewhere nothing.

    Args:
        folder: that may be a hospital's or a coordinator's.
        invite: a hospital's invite, not used yet.
    """
    try:
        if invite is not None:
            yield from _invited(invite)
        elif (folder / MEMBERSHIP).exists():
            yield from _member(SiteFolder(folder))
        elif (folder / SETTINGS).exists():
            yield from _centre(Folder(folder))
    except WardroundError as error:
        yield Found("folder" if invite is None else "invite", "missing", error.message, error.remedy)


def _invited(invite: Path) -> Iterator[Found]:
    member, now = read_invite(invite, 0), time.time()
    if member.expires < now:
        text = "it has expired, or this machine's clock is wrong"
        yield Found("invite", "missing", text, "Ask the coordinating centre for a new invite.")
    else:
        yield Found("invite", "ok", f"for {member.site}, genuine, good for {(member.expires - now) / 3600:.0f} hours more")
    place, seed = Place.of(member.url, member.authority), hubkeys.seed(bytes.fromhex(member.admission))
    used = "Ask the coordinating centre for a new invite, unless it was you who used it."
    yield from _in_turn({**_way(place), "key": partial(_key, member.url, member.authority, seed, member.slot, used)})
    yield Found("hub clock", "warning", "not compared before this hospital has joined", "wardround site join compares it.")


def _member(folder: SiteFolder) -> Iterator[Found]:
    member, seed = folder.membership, hubkeys.seed(folder.hub_key)
    cut = "Ask the coordinating centre whether this site was revoked or has left; if not, join again."
    probes: dict[str, Probe] = {
        **_way(Place.of(member.url, member.authority)),
        "key": partial(_key, member.url, member.authority, seed, member.slot, cut),
        "hub clock": partial(_clock, folder),
    }
    yield from _in_turn(probes)
    protocol = folder.protocol
    rows = protocol.bounds.examples * row_bytes(protocol.contract)
    held = rows if protocol.contract.image is None else min(rows, MEMORY)
    yield _room(folder.path, LEAST_DISK + 2 * rows, LEAST_MEMORY + 4 * held, "Make room, or use a larger machine.")


def _centre(folder: Folder) -> Iterator[Found]:
    settings = folder.settings
    if settings.url:
        seed = hubkeys.seed(folder.hub_key("coordinator"))
        known = "Have the NATS server there read the nats.conf of this folder's hub."
        key = partial(_key, settings.url, folder.authority, seed, "coordinator", known)
        yield from _in_turn({**_way(Place.of(settings.url, folder.authority)), "key": key})
    else:
        yield _server(settings)
        yield from _in_turn({"address": partial(_address, settings), "port": partial(_free, folder, settings)})
    kept = sum(file.stat().st_size for file in (folder.hub / "jetstream").rglob("*") if file.is_file())
    disk = max(LEAST_DISK, int(settings.max_store * 1e9) - kept)
    memory = HUB_MEMORY + 3 * (folder.path / INITIAL).stat().st_size
    yield _room(folder.path, disk, memory, "Make room, or lower max_store in coordinator.toml to what the hub may keep.")


def _in_turn(probes: Mapping[str, Probe]) -> Iterator[Found]:
    """Yield what each probe found, up to the first that fails, and then the names of those that could not be tried."""
    rest = list(probes)
    for name, probe in probes.items():
        found = probe()
        rest.remove(name)
        yield found
        if found.verdict == "missing" and rest:
            yield Found("the rest", "warning", f"not tested: {', '.join(rest)}", f"Mend {name} first, then run this again.")
            return


def _way(place: Place) -> dict[str, Probe]:
    """Return the steps that need nothing but the hub's address and certificate."""
    return {"name": partial(_name, place), "port": partial(_port, place), "tls": partial(_tls, place)}


def _name(place: Place) -> Found:
    remedy = f"Ask the network team to let this machine resolve {place.host}, or the coordinating centre for an address in place of a name."
    try:
        found = _addresses(place)
    except TimeoutError:
        return Found("name", "missing", f"no name server answers within {LIMIT:.0f} s for {place.host}", remedy)
    except OSError:
        return Found("name", "missing", f"{place.host} is not known to this machine's name servers", remedy)
    return Found("name", "ok", f"{place.host} needs no name server" if place.host in found else f"{place.host} is {', '.join(found)}")


def _addresses(place: Place) -> list[str]:
    """Return the addresses of a name; in a thread, because looking up a name has no time limit of its own.

    Raises:
        OSError: the name is not known; TimeoutError where nobody answers in time.
    """
    results: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
            results.put([str(address[0]) for *_, address in found])
        except OSError as error:
            results.put(error)
        except UnicodeError:
            results.put(OSError("not a name"))

    threading.Thread(target=look_up, daemon=True).start()
    try:
        result = results.get(timeout=LIMIT)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, OSError):
        raise result
    return list(dict.fromkeys(result))


def _line(place: Place) -> socket.socket:
    """Return a connection to the first address that takes one; all of them together have the time limit.

    Raises:
        OSError: none does; of the last address.
    """
    until, last = time.monotonic() + LIMIT, OSError("no address")
    for address in _addresses(place):
        left = until - time.monotonic()
        if left <= 0:
            break
        try:
            line = socket.create_connection((address, place.port), left)
            line.settimeout(LIMIT)
            return line
        except OSError as error:
            last = error
    raise last


def _port(place: Place) -> Found:
    where = f"{place.host} port {place.port}"
    remedy = f"Ask the firewall team for: {place.asked}."
    try:
        _line(place).close()
    except ConnectionRefusedError:
        text = f"{where} refuses the connection: no hub runs there now, or a firewall turns it away"
        return Found("port", "missing", text, f"First ask the coordinating centre whether its hub runs now. {remedy}")
    except TimeoutError:
        return Found("port", "missing", f"{where} does not answer within {LIMIT:.0f} s: a firewall drops what is sent there", remedy)
    except OSError as error:
        return Found("port", "missing", f"{where} cannot be reached ({error.strerror or type(error).__name__})", remedy)
    return Found("port", "ok", f"{where} takes connections")


def _tls(place: Place) -> Found:
    remedy = f"Ask the firewall team for: {place.asked}."
    try:
        with _line(place) as line:
            greeted = _greeted(line)
            with tls_context(place.authority).wrap_socket(line, server_hostname=place.host) as secured:
                version = secured.version()
    except ssl.SSLCertVerificationError as error:
        return _other_certificate(place, error.verify_code)
    except TimeoutError:
        text = f"the connection opens, and then nothing is said for {LIMIT:.0f} s: something on the way holds it up, or the hub hangs"
        return Found("tls", "missing", text, f"{remedy} If that is so already, ask the coordinating centre whether its hub works.")
    except OSError as error:
        reason = (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or type(error).__name__
        return Found("tls", "missing", f"the TLS 1.3 handshake is broken off ({reason}), as by an inspecting firewall", remedy)
    if not greeted:
        return Found("tls", "missing", "what answers speaks TLS with the right certificate, and is no hub", "Ask the coordinating centre.")
    return Found("tls", "ok", f"{version}, with the certificate that the coordinating centre gave")


def _greeted(line: socket.socket) -> bool:
    """Wait for the line with which a hub greets before TLS begins, and say whether it came."""
    until, said = time.monotonic() + LIMIT, b""
    while not said.endswith(b"\r\n") and len(said) < _MOST_GREETING and time.monotonic() < until:
        try:
            more = line.recv(4096)
        except TimeoutError:
            break
        if not more:
            break
        said += more
    return said.startswith(b"INFO ") and said.endswith(b"\r\n")


def _other_certificate(place: Place, code: int) -> Found:
    if code in _ANOTHER_NAME:
        text = f"the hub's certificate is not for {place.host}"
        return Found("tls", "missing", text, "Ask the coordinating centre for an invite with a name that its hub's certificate holds.")
    if code in _NOT_NOW:
        text = "the hub's certificate is not good today"
        return Found(
            "tls", "missing", text, "Look at this machine's clock; if it is right, ask the coordinating centre for a new certificate."
        )
    remedy = (
        f"Ask the firewall team for: {place.asked}. If nothing on the way opens TLS, the hub has a new certificate: ask the coordinating "
        "centre for a new invite."
    )
    return Found("tls", "missing", f"another certificate than the coordinating centre's answers, issued by {_issuer(place)}", remedy)


def _issuer(place: Place) -> str:
    """Return who issued the certificate that answers, so that people find the machine; nothing is sent over this connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _line(place) as line:
            _greeted(line)
            with context.wrap_socket(line, server_hostname=place.host) as secured:
                shown = secured.getpeercert(binary_form=True) or b""
        return plain(x509.load_der_x509_certificate(shown).issuer.rfc4514_string(), 100) or "nobody"
    except (OSError, ValueError):
        return "somebody unknown"


def _key(url: str, authority: str, seed: str, owner: str, remedy: str) -> Found:
    try:
        Connection(url, authority, seed, owner, stay=False).close()
    except NotAdmitted as error:
        return Found("key", "missing", error.message, remedy)
    except WardroundError as error:
        return Found("key", "missing", error.message, error.remedy)
    return Found("key", "ok", "the hub admits this key")


def _clock(folder: SiteFolder) -> Found:
    """Compare this machine's clock with the coordinator's.

    The time is in its answer to a beat. This one names no process, so it stands in nobody's way: a site that runs goes on, and one that
    does not counts as present for one lease only.
    """
    member = folder.membership
    content = {"instance": "", "since": 0, "number": 0}  # a look, which takes no place
    beat = Message("beat", member.study, member.protocol, member.site, COORDINATOR, {}, content).signed(folder.keys.signing)
    try:
        link = connect(folder, stay=False)
        try:
            asked, reply = time.time(), link.request(Subjects(member.study).beat(member.slot), beat, LIMIT)
        finally:
            link.close()
        known = member.coordinator_key.public
        answer = Message.read(reply, known, ("beat",), member.study, COORDINATOR, member.site)
        ahead = asked - float(answer.content["time"])
    except (WardroundError, KeyError, TypeError, ValueError) as error:
        why = error.message if isinstance(error, WardroundError) else "The coordinator's answer is not well formed."
        return Found("hub clock", "warning", f"not compared. {why}", "Run this again when the coordinating centre serves the study.")
    text = f"this machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's"
    if abs(ahead) > SKEW:
        return Found("hub clock", "missing", f"{text}; {SKEW:.0f} s are allowed", "Set this machine's clock, such as by NTP.")
    if abs(ahead) > NOTICED:
        return Found("hub clock", "warning", text, "Set this machine's clock, such as by NTP, before it is more.")
    return Found("hub clock", "ok", text)


def _server(settings: Settings) -> Found:
    try:
        found = hub.binary(settings.binary)
    except MissingExtra as error:
        return Found("nats", "missing", error.message, error.remedy)
    return Found("nats", "ok", f"{found}, version {'.'.join(map(str, hub.version_of(found)))}")


def _address(settings: Settings) -> Found:
    """Look whether the hub's address belongs to this machine: only then can something listen on it."""
    place = Place(settings.address, settings.port, "")
    try:
        address = _addresses(place)[0]
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as one:
            one.bind((address, 0))
    except OSError:
        remedy = "Write an address of this machine into coordinator.toml, and into names what hospitals call it by."
        return Found("address", "missing", f"{settings.address} is no address of this machine", remedy)
    return Found("address", "ok", f"{settings.address} belongs to this machine")


def _free(folder: Folder, settings: Settings) -> Found:
    """Look whether the hub's port is free, or our own hub is on it."""
    where, remedy = f"port {settings.port} of {settings.address}", "End what uses it, or write another port into coordinator.toml."
    place = Place(settings.address, settings.port, folder.authority)
    try:
        _line(place).close()
    except OSError:
        return _bound(place, where)
    try:
        ours = hub.reachable(settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("admin")))
    except NotAdmitted:
        return Found("port", "missing", f"another study's hub is on {where}", remedy)
    if ours:
        return Found("port", "ok", f"this study's hub is on {where}")
    return Found("port", "missing", f"something else than this study's hub is on {where}", remedy)


def _bound(place: Place, where: str) -> Found:
    address = _addresses(place)[0]
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, place.port))
    except OSError as error:
        remedy = "Choose a port above 1023 in coordinator.toml, or end what holds this one."
        return Found("port", "missing", f"{where} cannot be used ({error.strerror})", remedy)
    return Found("port", "ok", f"{where} is free")


def _room(folder: Path, disk: int, memory: int, remedy: str) -> Found:
    """Compare free disk and memory with what the study may need, which is a rough estimate from its plan."""
    has_disk, has_memory = shutil.disk_usage(folder).free, free_memory()
    text = f"may need {disk / 2**30:.1f} GiB of disk ({has_disk / 2**30:.1f} free) and {memory / 2**30:.1f} GiB of memory"
    if has_memory is not None:
        text += f" ({has_memory / 2**30:.1f} free)"
    short = has_disk < disk or (has_memory is not None and has_memory < memory)
    return Found("study", "warning" if short else "ok", text, remedy if short else "")
