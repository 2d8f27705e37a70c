"""Let a site's own test figures out when the study ends, where protocol and hospital allow it: log, then send."""

from __future__ import annotations

from typing import Any

from wardround.learning.own import as_left
from wardround.record.commitment import commit
from wardround.record.entries import band
from wardround.site.gate import Site
from wardround.study.canonical import canonical


def told(site: Site) -> dict[str, Any]:
    """Log this site's own test figures, once, and return them as they leave; nothing where it was not in the evaluation.

    Nothing either where they were worked out on an older snapshot: patients who withdrew since are in them.

    The caller makes the log durable before anything leaves the building.
    """
    phase = str(site.protocol.giving("judgement"))
    kept = site.state.mine().get(phase)
    on = [entry.get("data") for entry in site.log.entries() if entry["t"] == "egress" and entry["phase"] == phase]
    if kept is None or on[-1:] != [site.data]:
        return {}
    figures = as_left(site.protocol, kept)
    if "tested" in figures:
        figures["tested"] = band(figures["tested"])
    data, salt = canonical(figures), site.keys.private.child("results", site.protocol.digest).key
    entry = {"protocol": site.protocol.digest, "to": "coordinator", "kind": "results", "commit": commit(salt, data), "bytes": len(data)}
    if not any(one["t"] == "results" and one["commit"] == entry["commit"] for one in site.log.entries()):
        site.log.append("results", site=site.name, **entry)
    return {"figures": figures, "salt": salt.hex()}
