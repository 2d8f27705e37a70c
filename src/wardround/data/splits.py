"""Assign each patient to the training, validation or test part.

Whoever knows the study can repeat it, and it depends on nothing but the patient's identifier: a patient who is seen at two hospitals, or
twice at one, is in the same part everywhere, and neither another patient, nor the order of rows, nor any value moves anybody.

    u = HMAC-SHA256(key of the study, identifier), its first 53 bits as a number in [0, 1)
    u < test: test;   u < test + validation: validation;   else: training

A hospital that brings its own split keeps its test part; validation patients are drawn from its training part by the same u.

Source: RFC 2104 (HMAC); FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from wardround.study.dataset import ROLES
from wardround.study.protocol import Evaluation
from wardround.study.streams import Stream

_TRAIN, _VALIDATION, _TEST = (ROLES.index(role) for role in ("train", "validation", "test"))
_BLOCK = 64


def positions(identifiers: Iterable[str], study: str, seed: int) -> np.ndarray:
    """Return where the study's keyed hash puts each patient: float64 [P] in [0, 1).

    Args:
        identifiers: of the patients, as text.
        study: the study's name.
        seed: `evaluation.seed`.
    """
    key = Stream.public(seed).child("split", study).key.ljust(_BLOCK, b"\0")
    # HMAC written out: its two keyed states are made once and copied, which takes half the time of a call for each patient.
    inner, outer = hashlib.sha256(bytes(byte ^ 0x36 for byte in key)), hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
    words = bytearray()
    for identifier in identifiers:
        first, second = inner.copy(), outer.copy()
        first.update(identifier.encode())
        second.update(first.digest())
        words += second.digest()[:8]
    return (np.frombuffer(bytes(words), dtype=">u8") >> np.uint64(11)).astype(np.float64) / 2.0**53


def by_hash(u: np.ndarray, evaluation: Evaluation) -> np.ndarray:
    """Return each patient's part, int8 [P], from its position.

    Args:
        u: float64 [P], from `positions`.
        evaluation: states the shares.
    """
    roles = np.full(len(u), _TRAIN, dtype=np.int8)
    roles[u < evaluation.test + evaluation.validation] = _VALIDATION
    roles[u < evaluation.test] = _TEST
    return roles


def by_column(stated: np.ndarray, patient: np.ndarray, u: np.ndarray, carve: float) -> tuple[np.ndarray, int]:
    """Return each patient's part, int8 [P], as the hospital states it, and how many patients it puts into two parts.

    Args:
        stated: int8 [N], the part that each row names, -1 for none.
        patient: int64 [N], the patient of each row, 0 to P - 1.
        u: float64 [P], from `positions`.
        carve: share of the training part's patients that become validation; 0 when the hospital names its own.
    """
    seen = np.zeros((len(u), len(ROLES)), dtype=bool)
    named = stated >= 0
    seen[patient[named], stated[named]] = True
    roles = seen.argmax(axis=1).astype(np.int8)
    roles[(roles == _TRAIN) & (u < carve)] = _VALIDATION
    return roles, int((seen.sum(axis=1) > 1).sum())


def numbered(identifiers: Iterable[str]) -> tuple[np.ndarray, list[str]]:
    """Return the patient of each row, int64 [N], numbered by first appearance, and the patients' identifiers in that order."""
    index: dict[str, int] = {}
    rows = [index.setdefault(identifier, len(index)) for identifier in identifiers]
    return np.array(rows, dtype=np.int64), list(index)


def renumbered(patient: np.ndarray, roles: np.ndarray) -> np.ndarray:
    """Return the patient of each row, int64 [N], numbered anew: training patients first, then validation, then test.

    Within a part it stays first appearance. So nothing that happens in a test row, not even another identifier, can change the number of a
    training or validation patient.

    Args:
        patient: int64 [N], by first appearance.
        roles: int8 [P], indices into `ROLES`, which has them in that order.
    """
    order = np.argsort(roles, kind="stable")
    new = np.empty(len(roles), dtype=np.int64)
    new[order] = np.arange(len(roles))
    return np.asarray(new[patient])


def stated_roles(values: Iterable[str | None], meaning: Mapping[str, str]) -> np.ndarray:
    """Return the part that each row names, int8 [N], -1 where it names none of those in `meaning` (value to role)."""
    index = {value: ROLES.index(role) for value, role in meaning.items()}
    return np.array([-1 if value is None else index.get(value, -1) for value in values], dtype=np.int8)
