"""Have a hub follow the list of sites: each server of it reads its configuration again, and is asked whether that changed anything.

A coordinator's own hub is one server. One that others run may be a cluster, whose servers each read a file of their own; one that reads
another file would keep a revoked key, so it is named.

Source: NATS server, system account: `$SYS.REQ.SERVER.PING`, `VARZ` and `RELOAD`.
"""

from __future__ import annotations

import json

from wardround.engines.connection import Connection
from wardround.study.errors import StoreError, Unreachable


def reload(url: str, ca: str, seed: str, changed: bool = False) -> tuple[str, ...]:
    """Have the running server, and every other one of its cluster, read its configuration again; return their names.

    Args:
        url: where the hub listens.
        ca: its certificate authority, PEM text.
        seed: NATS key of its admin.
        changed: the configuration was changed since it was read last, so a server that finds no change reads another file.

    Raises:
        Unreachable: none runs.
        StoreError: one does not follow; names it. The others do.
    """
    link = Connection(url, ca, seed, "admin", stay=False)
    try:
        found = [json.loads(one)["server"] for one in _servers(link)]
        failed = {
            f"{one['name']} ({one['host']})": why for one in found if (why := _unmoved(link, f"$SYS.REQ.SERVER.{one['id']}", changed))
        }
    finally:
        link.close()
    if failed:
        remedy = (
            "On each named: run it on nats.conf of the coordinator's hub folder, or on a copy as of now; then: nats-server --signal reload"
        )
        raise StoreError(f"Not the whole hub follows: {'; '.join(f'{name} {why}' for name, why in sorted(failed.items()))}.", remedy)
    return tuple(sorted(str(one["name"]) for one in found))


def _servers(link: Connection) -> list[bytes]:
    first = link.request("$SYS.REQ.SERVER.PING", b"")
    count = int(json.loads(first)["statsz"].get("active_servers", 1))
    return [first] if count == 1 else link.requests("$SYS.REQ.SERVER.PING", count)


def _unmoved(link: Connection, server: str, changed: bool) -> str:
    """Have one server read its configuration again; return why it does not follow, or nothing."""
    try:
        before = link.api(f"{server}.VARZ")["data"].get("config_digest")
        if link.api(f"{server}.RELOAD", timeout=5).get("error"):
            return "refuses the new configuration and keeps the old one (its log says why)"
        after = link.api(f"{server}.VARZ")["data"].get("config_digest")
    except Unreachable:
        return "does not answer"
    return "reads another file" if changed and after == before else ""
