"""Tell patients apart from one snapshot to the next without keeping who they are: keyed pseudonyms, beside the snapshot.

A snapshot numbers its patients and holds no identifier. To see which rows changed since, and to take a patient out again, the loader
keeps one pseudonym for each number in `snapshots/<digest>.who`, a file that the worker is never told of. A pseudonym is a hash under a key
that only this hospital has, of the identifier as an opt-out list is compared with it (`loosely`): without the key it cannot be tried out.

Source: RFC 2104 (HMAC); FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wardround.data.consent import loosely
from wardround.study.arrays import from_bytes, keep
from wardround.study.errors import StoreError, VerificationError
from wardround.study.streams import Stream

BYTES = 16
_PREPARE = "Prepare anew before the study begins; after that, ask the coordinating centre."


def pseudonym(form: str, secret: Stream) -> bytes:
    """Return the pseudonym of an identifier that `loosely` gave, 16 bytes."""
    return hmac.new(secret.key, form.encode(), hashlib.sha256).digest()[:BYTES]


def pseudonyms(identifiers: Sequence[str], patient: np.ndarray, secret: Stream) -> np.ndarray:
    """Return the pseudonym of each patient, uint8 [P, 16].

    Args:
        identifiers: the patient of each row, as text.
        patient: int64 [N], the number of each row's patient in the snapshot.
        secret: the hospital's key for this study.
    """
    found = np.zeros((int(patient.max(initial=-1)) + 1, BYTES), dtype=np.uint8)
    firsts = np.unique(patient, return_index=True)[1]
    for row in firsts:
        found[patient[row]] = np.frombuffer(pseudonym(loosely(identifiers[row]), secret), np.uint8)
    return found


def keep_who(who: np.ndarray, snapshot: Path) -> None:
    """Write the pseudonyms of a snapshot's patients beside it.

    Raises:
        StoreError: the disk refused.
    """
    try:
        keep({"who": who}, _place(snapshot))
    except OSError as error:
        why = error.strerror or "the system refused"
        raise StoreError(f"{_place(snapshot)} could not be written: {why}.", "Make room and prepare again.") from error


def who_of(snapshot: Path) -> np.ndarray:
    """Return the pseudonyms of a snapshot's patients, uint8 [P, 16].

    Raises:
        VerificationError: they are not there, or damaged.
    """
    try:
        return np.asarray(from_bytes(_place(snapshot).read_bytes())["who"])
    except (OSError, KeyError, VerificationError) as error:
        raise VerificationError(f"{_place(snapshot)}: who is in this snapshot is not known here.", _PREPARE) from error


def _place(snapshot: Path) -> Path:
    return snapshot.with_name(f"{snapshot.name}.who")
