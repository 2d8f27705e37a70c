"""Say what is signed under a model's passport, and open it again: a signed note that names the statement by digest.

The statement is a JSON object; what is signed is the digest of its canonical form, so white space may change and nothing else may.

Source: C2SP signed-note 1.0.0 (c2sp.org/signed-note); RFC 8785 (canonical JSON).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wardround.record.note import VerifierKey
from wardround.record.note import open as open_note
from wardround.study.canonical import canonical, digest
from wardround.study.errors import VerificationError

STATED = (
    "study", "title", "purpose", "question", "unit", "protocol_digest", "tested_model", "simulation", "synthetic", "site_results", "sites",
    "took_part", "smallest_count", "primary", "lower_is_better", "bar", "verdict", "patients", "metrics", "calibration", "decision",
    "subgroups", "verdicts", "verdict_notes", "blinded", "note", "warnings", "privacy", "refusals", "software",
)  # fmt: skip
"""What of a result stands in the passport: all but how long it took and on what machine."""

FIRST_LINE = "wardround model passport 1"
_REMEDY = "Ask the coordinating centre for the passport that it signed; do not rely on this one."


def statement(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the passport states, of a result."""
    return {"passport": 1, **{name: result[name] for name in STATED if name in result}}


def note_text(stated: Mapping[str, Any]) -> str:
    """Return the text that is signed: what it is, the study, and the digest of the statement.

    Example:
        >>> print(note_text({"study": "risk"}), end="")
        wardround model passport 1
        risk
        sha256:ac30ad2a0738ca8be2535735cf804747f70ad132333c22c8b7209b54562035f6
    """
    return f"{FIRST_LINE}\n{stated['study']}\n{digest(canonical(dict(stated)))}\n"


def opened(data: bytes, key: VerifierKey) -> dict[str, Any]:
    """Return the statement in a passport, if this key signed it.

    Args:
        data: contents of `passport.json`.
        key: of the coordinator.

    Raises:
        VerificationError: it is no passport, or not one that this key signed.
    """
    try:
        found = json.loads(data)
        stated, note = found["passport"], found["note"]
        text = note_text(stated)
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationError("This is no passport of a model.", _REMEDY) from error
    if not isinstance(note, str) or open_note(note, [key]) != text:
        raise VerificationError("The passport's signature is not over what it states.", _REMEDY)
    return dict(stated)
