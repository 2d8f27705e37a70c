"""Let an answer out: the only door. Bound, encode, noise, mask, in this order; then log, then send."""

from __future__ import annotations

import secrets
from dataclasses import replace

from wardround.combining.fixedpoint import OutOfBounds, packed
from wardround.record.commitment import SALT_BYTES, commit
from wardround.record.entries import band
from wardround.record.envelope import UPDATE, sign
from wardround.site.accept import Work
from wardround.site.gate import Site
from wardround.study.arrays import Arrays, to_bytes
from wardround.study.files import Data
from wardround.study.task import Answer, Receipt, Refusal, Update


def release(site: Site, work: Work, answer: Answer, proposal: Arrays | None) -> Update | Refusal:
    """Return the update that may be sent, or a refusal that says what was wrong with the answer.

    The entry is in the site's log when this returns; the caller makes the log durable before the update leaves the building.
    """
    layout, task = work.task.body.layout, work.task
    if set(answer.sums) != {term.name for term in layout}:
        return site.refuse(task, "release", "the answer's names are not those that were asked for", "Report this as an algorithm's fault.")
    try:
        body = packed(layout, answer.sums, site.room)
    except OutOfBounds as error:
        remedy = "Look for inputs far outside the contract's ranges, or lower the learning rate; the protocol sets the limit."
        return site.refuse(task, "release", str(error), remedy)
    return send(site, work, body, None if proposal is None else to_bytes(proposal))


def send(site: Site, work: Work, body: Data, proposal: bytes | None) -> Update:
    """Log an encoded answer, note it, and return it signed; also for an answer that is sent again."""
    task, salt = work.task, secrets.token_bytes(SALT_BYTES)
    committed = commit(salt, body)
    digests = {"protocol": task.protocol, "task": task.digest, "ask": task.ask, "layout": work.task.body.layout_digest, "commit": committed}
    kind = {"stage": task.stage, "to": "coordinator", "kind": "sums", "bytes": len(body), "examples": band(site.examples)}
    bounds = {"bits": sorted({term.bits for term in work.task.body.layout}), "refused_over": "the limits in the layout"}
    more = {"bounds": bounds, "privacy": {"mode": site.protocol.privacy.mode}, "study_head": list(task.head)}
    logged = site.log.append("egress", site=site.name, **task.turn, **digests, **kind, **more)
    receipt = Receipt(logged.entry, logged.index, logged.size, logged.root, committed, salt.hex())
    update = Update(task.digest, site.name, body, {}, receipt, "")
    update = replace(update, signature=sign(site.keys.signing, UPDATE, update.signed_part()))
    site.state.answer(task, update, proposal)
    return update
