"""Know a hospital's patients again in its other studies: for each patient of a snapshot the keyed hash under which the ledger knows them.

A snapshot holds no identifier, and the pseudonyms that lie beside it are of this study alone. When the loader reads the table, it keeps in
`DIR/pseudonyms.safetensors`, for each patient, this study's pseudonym and the ledger's keyed hash, with the name of the local column that
each field was read from: by these names the ledger finds again what was asked before. The worker never sees this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wardround.data.snapshot import COLUMNS
from wardround.privacy.across import pseudonyms
from wardround.site.ledger import Ledger
from wardround.study.arrays import Stored, keep
from wardround.study.errors import VerificationError
from wardround.study.streams import Stream

FILE = "pseudonyms.safetensors"


@dataclass(frozen=True)
class Known:
    """Hold whose rows a snapshot has.

    Attributes:
        patient: uint64 [N], the ledger's keyed hash of each row's patient.
        columns: by field the local column that it was read from.
        ledger: name of the ledger whose key made the hashes.
    """

    patient: np.ndarray
    columns: Mapping[str, str]
    ledger: str

    def tags(self, field: str) -> frozenset[str]:
        """Return the names by which a field is known over several studies: its own, and that of its column, capitals aside."""
        column = self.columns.get(field, field)
        return frozenset({f"field {field.casefold()}", f"column {column.casefold().strip()}"})


def remember(folder: Path, ledger: Ledger, identifiers: Iterable[str], secret: Stream, columns: Mapping[str, str]) -> None:
    """Keep under which keyed hash the ledger knows each patient, beside those of earlier snapshots of the same study.

    Args:
        folder: of the hospital.
        ledger: has the key.
        identifiers: of the patients, as the table has them.
        secret: makes this study's own pseudonyms.
        columns: by field the local column that it is read from.
    """
    from wardround.data.consent import loosely
    from wardround.data.who import BYTES, pseudonym

    forms = sorted({loosely(identifier) for identifier in identifiers})
    who = np.frombuffer(b"".join(pseudonym(form, secret) for form in forms), np.uint8).reshape(-1, BYTES)
    known = pseudonyms(ledger.key, forms)
    place = folder / FILE
    if place.exists() and _about(place)["ledger"] == ledger.name:
        before = Stored(place)
        who, known = np.concatenate([before["who"], who]), np.concatenate([before["patient"], known])
        who, first = np.unique(who, axis=0, return_index=True)
        known = known[first]
    keep({"who": who, "patient": known}, place, json.dumps({"ledger": ledger.name, "columns": dict(columns)}))


def read_known(folder: Path, snapshot: Path) -> Known | None:
    """Return whose rows a snapshot has; None where the ledger knows not all of its patients.

    Raises:
        VerificationError: a file is damaged.
    """
    beside, place = snapshot.with_name(f"{snapshot.name}.who"), folder / FILE
    if not place.exists() or not beside.exists():
        return None
    about, kept = _about(place), Stored(place)
    known = {bytes(one): number for one, number in zip(kept["who"], kept["patient"], strict=True)}
    found = [known.get(bytes(one)) for one in Stored(beside)["who"]]
    if None in found:
        return None
    patient = np.array(found, dtype=np.uint64)[Stored(snapshot / COLUMNS)["patient"]]
    return Known(patient, about["columns"], about["ledger"])


def _about(place: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(Stored(place).metadata["wardround"])
        return {"ledger": about["ledger"], "columns": about["columns"]}
    except (KeyError, ValueError) as error:
        raise VerificationError(f"{place} is damaged.", "Remove it, and prepare the site again: wardround site prepare.") from error
