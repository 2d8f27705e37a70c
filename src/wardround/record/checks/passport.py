"""Check that the passport of a tested model is the one that was recorded, signed by the coordinator, of the model that the plan names.

What it states must be what `result.json` holds. The page that shows it is held against its digest alone, and nobody works the figures out
again from the sums.
"""

from __future__ import annotations

import json
from typing import Any

from wardround.record.checks.evidence import Evidence
from wardround.record.entries import Entry
from wardround.record.passport import opened, statement
from wardround.record.report import Problem
from wardround.study.errors import VerificationError

PASSPORT, PAGE, RESULT = "passport.json", "passport.html", "result.json"


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
    found += _unlike(evidence, stated)
    model = stated.get("tested_model")
    if stated.get("protocol_digest") != evidence.protocol or not isinstance(model, dict) or model.get("digest") != entry["model"]:
        found.append(Problem("the passport states another plan or model than the record", PASSPORT))
    return found


def _unlike(evidence: Evidence, stated: dict[str, Any]) -> list[Problem]:
    """Name the first keys of a statement that are not as in the result."""
    try:
        result = statement(_json((evidence.directory / RESULT).read_bytes()))
    except OSError:
        return []  # said where its digest is checked
    names = sorted(
        name for name in stated.keys() | result.keys() if name not in stated or name not in result or stated[name] != result[name]
    )
    return [Problem(f"the passport states something else than {RESULT}: {', '.join(names[:5])}", PASSPORT)] if names else []


def _json(data: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one where it is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
