"""Check that the passport of a tested model is the one that was recorded, signed by the coordinator, of the model that the plan names."""

from __future__ import annotations

import json
from typing import Any

from wardround.record.checks.evidence import Evidence
from wardround.record.entries import Entry
from wardround.record.passport import opened
from wardround.record.report import Problem
from wardround.study.errors import VerificationError

PASSPORT, PAGE = "passport.json", "passport.html"


def passport_problems(evidence: Evidence, index: int, entry: Entry) -> list[Problem]:
    """Return what is wrong with an entry that releases a passport, and with what the passport states.

    Args:
        evidence: all that the verifier was given.
        index: of the entry in the study log.
        entry: of type "passport".
    """
    plan, where = _json(evidence.bundle.protocol), evidence.study.where(index)
    initial = plan.get("initial")
    named = initial.get("file") if isinstance(initial, dict) else None
    found = []
    if plan.get("kind") != "evaluation":
        found.append(Problem("the plan tests no finished model, and the record names a passport", where))
    if not any(position < index for position, _ in evidence.study.of("phase_done")):
        found.append(Problem("the passport was released before any phase was done", where))
    if entry["model"] != named:
        found.append(Problem("the passport is of another model than the plan names", where))
    try:
        if evidence.study.vkey is None:
            raise VerificationError("The coordinator's key is not known", "")
        stated = opened((evidence.directory / PASSPORT).read_bytes(), evidence.study.vkey)
    except OSError:
        return found  # that it is missing or cannot be read is said where its digest is checked
    except VerificationError as error:
        return [*found, Problem(error.message.rstrip(".").lower(), PASSPORT)]
    model = stated.get("tested_model")
    if stated.get("protocol_digest") != evidence.protocol or not isinstance(model, dict) or model.get("digest") != entry["model"]:
        found.append(Problem("the passport states another plan or model than the record", PASSPORT))
    return found


def _json(data: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one where it is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
