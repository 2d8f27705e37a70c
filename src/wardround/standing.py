"""Say how a served study stands: what the serving process last wrote down, beside the list of hospitals."""

from __future__ import annotations

import json
import time
from typing import Any

from wardround import centre
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import Folder
from wardround.site.folder import write_text

FILE = "status.json"
STALE = 8.0
"""Seconds after which what was written says that nobody serves any more."""


def write(folder: Folder, facts: dict[str, Any]) -> None:
    """Write down how the study stands now."""
    write_text(folder.path / FILE, json.dumps({**facts, "at": time.time()}) + "\n")


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
    text = str(last.get("text", "")) if fresh else "finished" if finished else "not served now; run: wardround coordinator serve"
    if folder.stopped.exists():
        text = f"stopped; {text}"
    return {"study": protocol.study, "protocol_digest": protocol.digest, "serving": fresh, "text": text, "sites": rows}


def _rows(enrolment: Enrolment, live: dict[str, str]) -> list[dict[str, str]]:
    sites = {one.site: live.get(one.site, "joined") if one.state == "joined" else one.state for one in enrolment.sites()}
    for one in enrolment.invites():
        if one.site not in sites:
            sites[one.site] = "invited" if one.expires > time.time() else "invited, but the invite has expired"
    return [{"site": site, "state": state} for site, state in sorted(sites.items())]
