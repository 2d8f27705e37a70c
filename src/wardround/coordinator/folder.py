"""Hold the coordinating centre's folder: its settings, its keys, the plan it runs and where everything else lies.

DIR/coordinator.toml       address of the hub, who is asked, how much disk; for people to edit
DIR/protocol.json          the plan, canonical JSON
DIR/initial.safetensors    initial parameters, named by digest in the plan
DIR/keys/                  signing key and hub keys, for this user only
DIR/hub/                   the hub's configuration, certificates and streams
DIR/enrolment.sqlite       slots, invites, sites
DIR/state.sqlite           the study's state and log
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError, field_validator

from wardround.coordinator.store import sentences
from wardround.record.note import Signer
from wardround.study.arrays import Arrays, arrays_digest, from_bytes
from wardround.study.errors import ProtocolError, StoreError, VerificationError
from wardround.study.protocol import Protocol
from wardround.study.protocol.section import Name, Section

SETTINGS, PROTOCOL, INITIAL, STOPPED = "coordinator.toml", "protocol.json", "initial.safetensors", "stopped"
OFFERED, REHEARSAL, RUN = "offered.json", "rehearsal", "run"
Host = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.:-]+$")]


class Settings(Section):
    """Be `coordinator.toml`.

    Attributes:
        name: of the coordinating centre, part of its log's name.
        address: on which the hub listens; never all interfaces.
        port: of the hub.
        names: host names and addresses by which sites call the hub; they stand in its certificate.
        slots: most sites that can ever be invited.
        url: of a NATS server that others run, or empty to run one here.
        binary: path of the NATS server, or empty to look for one.
        max_store: gigabytes that the hub's streams may take.
        max_upload: gigabytes that one site may have on the hub at a time; 0 for what the initial parameters suggest.
    """

    name: Name
    address: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 4222
    names: Annotated[tuple[Host, ...], Field(min_length=1)]
    slots: Annotated[int, Field(ge=1, le=999)] = 64
    url: str = ""
    binary: str = ""
    max_store: Annotated[float, Field(gt=0)] = 20.0
    max_upload: Annotated[float, Field(ge=0)] = 0.0

    @field_validator("address")
    @classmethod
    def _one_address(cls, value: str) -> str:
        if everywhere(value):
            raise ValueError("the hub would listen on all interfaces; name one address")
        return value

    @property
    def listen(self) -> str:
        """Return address and port as the hub takes them."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def site_url(self) -> str:
        """Return how sites call the hub."""
        host = self.names[0]
        return self.url or f"tls://[{host}]:{self.port}" if ":" in host else self.url or f"tls://{host}:{self.port}"

    @property
    def own_url(self) -> str:
        """Return how the coordinator calls the hub."""
        return self.url or f"tls://{self.listen}"


@dataclass(frozen=True)
class Folder:
    """Hold a coordinator's folder."""

    path: Path

    @cached_property
    def settings(self) -> Settings:
        """Return `coordinator.toml`.

        Raises:
            StoreError: this is no coordinator's folder.
            ProtocolError: a setting is wrong; names it.
        """
        place = self.path / SETTINGS
        try:
            return Settings.model_validate(tomllib.loads(place.read_text(encoding="utf-8")))
        except OSError as error:
            text = f"{self.path} is not a coordinator's folder ({SETTINGS}: {error.strerror})."
            raise StoreError(text, "Name the folder that 'wardround coordinator init' made.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(f"{place} is not TOML ({error}).", "Mend it, or compare with a fresh one.") from error
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ProtocolError(f"{place}: {key}: {first['msg']}.", "Mend this line.") from error

    def insist(self) -> None:
        """Refuse a folder that is not a coordinator's; its settings say best what is wrong with it.

        Raises:
            StoreError: this is no coordinator's folder.
        """
        _ = self.settings

    @cached_property
    def protocol(self) -> Protocol:
        """Return the plan.

        Raises:
            StoreError: this is no coordinator's folder.
        """
        import json

        self.insist()
        with sentences():
            return Protocol.model_validate(json.loads((self.path / PROTOCOL).read_bytes()))

    @property
    def offered(self) -> Protocol:
        """Return the plan that invites name and joining sites get: this folder's own, or in a rehearsal that of the study."""
        import json

        with sentences():
            place = self.path / OFFERED
            return Protocol.model_validate(json.loads(place.read_bytes())) if place.exists() else self.protocol

    @cached_property
    def initial_bytes(self) -> bytes:
        """Return the initial parameters' file.

        Raises:
            VerificationError: it is not the one that the plan names.
        """
        with sentences():
            data = (self.path / INITIAL).read_bytes()
        if arrays_digest(from_bytes(data)) != self.protocol.initial["model"]:
            raise VerificationError(f"{self.path / INITIAL} is not what the protocol names.", "Put it back from a copy.")
        return data

    @property
    def initial(self) -> Arrays:
        """Return the initial parameters."""
        return from_bytes(self.initial_bytes)

    @cached_property
    def key(self) -> Ed25519PrivateKey:
        """Return the coordinator's signing key: its identity."""
        return Ed25519PrivateKey.from_private_bytes(self._secret("identity"))

    @property
    def signer(self) -> Signer:
        """Return what signs the study log; each rehearsal's has a name of its own, since no two logs may share name and key."""
        run = self.path / RUN
        with sentences():
            rehearsal = f"/rehearsal-{run.read_text(encoding='ascii')}" if run.exists() else ""
        return Signer(f"{self.settings.name}/{self.protocol.study}{rehearsal}", self.key)

    def hub_key(self, owner: str) -> bytes:
        """Return a raw key for the hub: of the "coordinator", or of its "admin"."""
        return self._secret(owner)

    @property
    def hub(self) -> Path:
        """Return the hub's folder."""
        return self.path / "hub"

    @property
    def authority(self) -> str:
        """Return the certificate by which sites know the hub, PEM text."""
        with sentences():
            return (self.hub / "ca.pem").read_text(encoding="ascii")

    @property
    def stopped(self) -> Path:
        """Return the file that is there while the study is stopped; it holds the reason."""
        return self.path / STOPPED

    def _secret(self, name: str) -> bytes:
        with sentences():
            return bytes.fromhex((self.path / "keys" / name).read_text(encoding="ascii").strip())


def everywhere(address: str) -> bool:
    """Say whether an address stands for all interfaces, in any of its spellings.

    Example:
        >>> [everywhere(address) for address in ("0.0.0.0", "::0", "0", "*", "10.0.0.1", "hub.example")]
        [True, True, True, True, False, False]
    """
    bare = address.strip("[]")
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return re.fullmatch(r"((0x)?0+\.?)*|\*", bare, re.IGNORECASE) is not None
    return (getattr(found, "ipv4_mapped", None) or found).is_unspecified


def write_secret(path: Path, data: bytes) -> None:
    """Write a secret file that only this user may read; it must not be there yet."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def settings_text(values: dict[str, Any]) -> str:
    """Return the text of `coordinator.toml`.

    Args:
        values: name, address, port, names, slots.
    """
    import json

    names = json.dumps(list(values["names"]))
    return f"""# The coordinating centre's settings. The hub is the only thing that listens, and only on this address.
name = {json.dumps(values["name"])}             # stands in the log's name
address = {json.dumps(values["address"])}       # on which the hub listens
port = {values["port"]}                # open this one port to the hospitals; they only dial out
names = {names}       # how hospitals call the hub; these stand in its certificate
slots = {values["slots"]}                 # most sites that can be invited
max_store = 20               # gigabytes that the hub may keep on disk
# url = "tls://hub.example:4222"   # a NATS server that others run, in place of an own one
# binary = "/usr/local/bin/nats-server"
"""
