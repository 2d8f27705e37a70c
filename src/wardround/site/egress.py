"""Write down what leaves before it leaves: every message of a site goes through here, whatever it holds."""

from __future__ import annotations

import secrets
from dataclasses import replace

from wardround.record.commitment import SALT_BYTES, commit
from wardround.record.entries import band
from wardround.record.envelope import UPDATE, sign
from wardround.site.gate import Site
from wardround.study.files import Data
from wardround.study.task import Receipt, Task, Update


def logged(site: Site, task: Task, body: Data) -> Update:
    """Log a message and return it signed; the caller makes the log durable before the message leaves the building.

    Args:
        site: the gate.
        task: that it answers.
        body: what leaves.
    """
    salt, bits = secrets.token_bytes(SALT_BYTES), sorted({term.bits for term in task.body.layout})
    committed, kind = commit(salt, body), task.holds(site.protocol.hides)
    digests = {"protocol": task.protocol, "task": task.digest, "ask": task.ask, "layout": task.layout, "commit": committed}
    about = {"data": site.data, "stage": task.stage, "to": "coordinator", "kind": kind, "bytes": len(body), "examples": band(site.examples)}
    bounds, privacy = {"bits": bits, "refused_over": "the limits in the layout"}, {"mode": site.protocol.privacy.mode}
    more = {"bounds": bounds, "privacy": privacy, "study_head": list(task.head)}
    found = site.log.append("egress", site=site.name, **task.turn, **digests, **about, **more)
    receipt = Receipt(found.entry, found.index, found.size, found.root, committed, salt.hex())
    update = Update(task.digest, site.name, body, {}, receipt, "")
    return replace(update, signature=sign(site.keys.signing, UPDATE, update.signed_part()))
