"""Sign a protocol for a site, or refuse it; and hold what was signed against what is there now."""

from __future__ import annotations

import json
from typing import Any

from wardround.record.entries import plain
from wardround.record.log import Log
from wardround.site.gate import Brought, Site
from wardround.site.journal import Journal
from wardround.study.errors import PolicyRefused

_APPROVAL, _REFUSAL = "approval", "refusal"


def approve(site: Site, journal: Journal, brought: Brought, role: str) -> None:
    """Log which snapshot the site brings and its signed approval of this exact protocol, and keep it for the coordinator.

    What the site remembers of this study goes over, so that nothing is answered a second time; answers that wait for a look are forgotten.

    Args:
        site: the gate; its log gets two entries.
        journal: keeps the approval.
        brought: the snapshot that was looked at.
        role: of the person who approves, such as "data-protection officer".
    """
    entry, head = site.join(brought, role)
    envelope = next(one["envelope"] for one in reversed(list(site.log.entries())) if one["t"] == "approval")
    kept = {"protocol": site.protocol.digest, "snapshot": brought.snapshot, "entry": entry, "head": list(head), "envelope": envelope}
    journal.put_meta(_APPROVAL, json.dumps({**kept, "role": role}).encode())
    journal.put_meta(_REFUSAL, b"")
    journal.forget()
    site.state.gather()


def refuse(journal: Journal, log: Log, site: str, protocol: str, reason: str) -> None:
    """Take an approval back, or say no from the start: nothing is answered from now on.

    Args:
        journal: forgets the approval.
        log: of the site; gets an entry.
        site: its name.
        protocol: digest of the plan.
        reason: one line that the coordinating centre is told.
    """
    log.append("declined", site=site, protocol=protocol, reason=plain(reason))
    _end(journal, reason)


def leave(journal: Journal, log: Log, site: str, protocol: str) -> None:
    """Leave the study; arguments are those of `refuse`."""
    log.append("left", site=site, protocol=protocol)
    _end(journal, "this site has left the study")


def renew(journal: Journal, snapshot: str) -> None:
    """Note that the site's approval is of a newer snapshot, since the plan, or a patient's withdrawal, wants it so."""
    kept = journal.meta(_APPROVAL)
    if kept:
        journal.put_meta(_APPROVAL, json.dumps({**json.loads(kept), "snapshot": snapshot}).encode())


def snapshot(journal: Journal) -> str:
    """Return the digest of the snapshot that the approval is of; empty where there is none."""
    kept = journal.meta(_APPROVAL)
    return str(json.loads(kept)["snapshot"]) if kept else ""


def _end(journal: Journal, reason: str) -> None:
    journal.put_meta(_REFUSAL, reason.encode())
    journal.put_meta(_APPROVAL, b"")


def refused(journal: Journal) -> str | None:
    """Return why the site refused the protocol, or None."""
    reason = journal.meta(_REFUSAL)
    return reason.decode() if reason else None


def approval(journal: Journal, protocol: str, brought: Brought) -> dict[str, Any]:
    """Return what was approved.

    Args:
        journal: that keeps it.
        protocol: digest of the plan now.
        brought: the snapshot now.

    Raises:
        PolicyRefused: nothing was approved, or plan or snapshot are others than were approved.
    """
    kept = journal.meta(_APPROVAL)
    if not kept:
        raise PolicyRefused(
            "This site has not approved the protocol.", "Read it with 'wardround site review', then run: wardround site approve."
        )
    found: dict[str, Any] = json.loads(kept)
    if found["protocol"] != protocol:
        raise PolicyRefused("The protocol is another one than this site approved.", "Review and approve it anew.")
    if found["snapshot"] != brought.snapshot:
        raise PolicyRefused("The snapshot was changed after the approval.", "Approve again: wardround site approve.")
    return found
