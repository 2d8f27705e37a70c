"""Write down what a finished study leaves: model, result, record and report, each named in the log before anybody sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wardround.coordinator.store import Store, sentences
from wardround.pages.report import REPORT, write_report
from wardround.passport import signed, statement
from wardround.record import bundle, envelope
from wardround.record.checks.passport import PAGE, PASSPORT
from wardround.record.log import Log
from wardround.study.arrays import to_bytes
from wardround.study.canonical import canonical, digest
from wardround.study.errors import VerificationError
from wardround.study.protocol import Protocol
from wardround.study.task import Done

WRITTEN = ("record", "result.json", "report.html", "model.safetensors", "passport.json", "passport.html")
"""What finished studies leave beside their state; see `left_by`."""


def left_by(protocol: Protocol) -> tuple[str, ...]:
    """Return what every finished study of this plan leaves; one that trains maybe a model too."""
    return "record", "result.json", *(("passport.json", "passport.html") if protocol.evaluates else ("report.html",))


def publish(
    folder: Path,
    protocol: Protocol,
    store: Store,
    log: Log,
    sites: Mapping[str, Log | bundle.LogFiles],
    released: Done | None,
    result: Mapping[str, Any],
    kept: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> None:
    """Write a study's results into its folder, and name them in the study log.

    Args:
        folder: gets the files of `WRITTEN`.
        protocol: the signed plan.
        store: is told, last, that the study is finished.
        log: the study log.
        sites: each site's egress log, or the files of it that the site handed over.
        released: the phase whose model is released, or None.
        result: contents of `result.json`.
        kept: by site whose own rules keep its log, the envelope in which it says so.

    Raises:
        StoreError: the disk refused; run again, nothing is lost.
    """
    text = (json.dumps(result, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    named = {entry["site"] for entry in log.entries() if entry["t"] in ("kept", "unheard")}  # before this was killed
    for site in sorted(kept.keys() - named):
        log.append("kept", site=site, envelope=dict(kept[site]))
    joined = {entry["site"] for entry in log.entries() if entry["t"] == "join"}
    for site in sorted(joined - sites.keys() - kept.keys() - named):
        log.append("unheard", site=site)
    with sentences():
        if released is not None and released.model is not None:
            _write(folder / "model.safetensors", to_bytes(released.model))
        _write(folder / "result.json", text)
        bundle.export(folder, log, sites, protocol.canonical, store.layouts())
        stated = _passport(folder, log, result) if protocol.evaluates else b""
        report = write_report(folder, PAGE if protocol.evaluates else REPORT).read_bytes()
    if protocol.evaluates:
        named_model = protocol.initial["file"]
        log.append("passport", model=named_model, result=digest(text), passport=digest(stated), page=digest(report))
    elif released is not None:
        log.append("release", phase=released.phase, model=released.digest, result=digest(text), report=digest(report))
    elif not protocol.trains:
        log.append("tables", result=digest(text), report=digest(report))
    store.commit()  # first, or a crash could let the log sign two heads of one size
    with sentences():
        bundle.export(folder, log, sites, protocol.canonical, store.layouts())
    store.put_meta("released", digest(text).encode())
    store.commit()


def _passport(folder: Path, log: Log, result: Mapping[str, Any]) -> bytes:
    """Write the signed passport of a tested model, and return it."""
    data = (json.dumps(signed(statement(result), log.signer), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    _write(folder / PASSPORT, data)
    return data


def keeps(said: Any, protocol: str, site: str, identity: Ed25519PublicKey) -> dict[str, Any]:
    """Return the envelope in which a site says that its own rules keep its log.

    Raises:
        VerificationError: it does not say so, or not with this key.
    """
    if not isinstance(said, dict) or envelope.open(said, envelope.KEPT, identity) != canonical({"protocol": protocol, "site": site}):
        raise VerificationError("A site gives neither its log nor its word that it keeps it.", "Look at this site's software.")
    return said


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    fresh.replace(path)
