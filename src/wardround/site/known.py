"""Know a hospital's patients again in its other studies: for each patient of a snapshot the keyed hash under which the ledger knows them.

A snapshot holds no identifier, and the pseudonyms that lie beside it are of this study alone. When the loader reads the table, it keeps in
`DIR/pseudonyms.safetensors`, for each patient, this study's pseudonym and the ledger's keyed hash; and beside each snapshot, in
`snapshots/<digest>.columns`, by which local column patients were told apart and from which one each field was read. By these names the
ledger finds again what was asked before. The worker never sees these files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from wardround.data.snapshot import COLUMNS
from wardround.privacy.across import pseudonyms
from wardround.site.ledger import Ledger
from wardround.study.arrays import Stored, keep
from wardround.study.errors import VerificationError
from wardround.study.streams import Stream

FILE = "pseudonyms.safetensors"


@dataclass(frozen=True)
class Columns:
    """Say which local columns a snapshot was read from.

    Attributes:
        identifier: by which patients were told apart.
        fields: by field of the contract its column.
    """

    identifier: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class KnownPatients:
    """Hold whose rows a snapshot has.

    Attributes:
        patient: uint64 [N], the ledger's keyed hash of each row's patient.
        columns: that the snapshot was read from.
        ledger: name of the ledger whose key made the hashes.
    """

    patient: np.ndarray
    columns: Columns
    ledger: str

    @property
    def identifier(self) -> str:
        """Return the column by which patients were told apart, capitals and blanks around it aside."""
        return self.columns.identifier.casefold().strip()

    def tags(self, *fields: str) -> frozenset[str]:
        """Return the names by which fields are known over several studies: their own, and those of their columns, capitals aside."""
        found = {f"field {field.casefold()}" for field in fields}
        return frozenset(found | {f"column {self.columns.fields.get(field, field).casefold().strip()}" for field in fields})


def remember(folder: Path, ledger: Ledger, identifiers: Iterable[str], secret: Stream) -> None:
    """Keep under which keyed hash the ledger knows each patient, beside those of earlier snapshots of the same study.

    Args:
        folder: of the hospital.
        ledger: has the key.
        identifiers: of the patients, as the table has them.
        secret: makes this study's own pseudonyms.
    """
    from wardround.data.consent import loosely
    from wardround.data.who import BYTES, pseudonym

    forms = sorted({loosely(identifier) for identifier in identifiers})
    who = np.frombuffer(b"".join(pseudonym(form, secret) for form in forms), np.uint8).reshape(-1, BYTES)
    known = pseudonyms(ledger.key, forms)
    place = folder / FILE
    if place.exists() and _ledger(place) == ledger.name:
        before = Stored(place)
        who, known = np.concatenate([before["who"], who]), np.concatenate([before["patient"], known])
        who, first = np.unique(who, axis=0, return_index=True)
        known = known[first]
    keep({"who": who, "patient": known}, place, json.dumps({"ledger": ledger.name}))


def keep_columns(snapshot: Path, columns: Columns) -> None:
    """Keep beside a snapshot which columns it was read from."""
    from wardround.site.folder import write_text  # which itself needs this module's users

    write_text(_beside(snapshot, "columns"), json.dumps(asdict(columns)) + "\n")


def read_columns(snapshot: Path) -> Columns | None:
    """Return which columns a snapshot was read from; None where that was not kept.

    Raises:
        VerificationError: the file is damaged.
    """
    place = _beside(snapshot, "columns")
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        return Columns(str(found["identifier"]), {str(field): str(column) for field, column in found["fields"].items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"{place} is damaged.", "Remove it, and prepare the site again: wardround site prepare.") from error


def read_known(folder: Path, snapshot: Path) -> KnownPatients | None:
    """Return whose rows a snapshot has; None where the ledger knows not all of its patients, or not its columns.

    Raises:
        VerificationError: a file is damaged.
    """
    beside, place, columns = _beside(snapshot, "who"), folder / FILE, read_columns(snapshot)
    if not place.exists() or not beside.exists() or columns is None:
        return None
    kept = Stored(place)
    known = {bytes(one): number for one, number in zip(kept["who"], kept["patient"], strict=True)}
    found = [known.get(bytes(one)) for one in Stored(beside)["who"]]
    if None in found:
        return None
    patient = np.array(found, dtype=np.uint64)[Stored(snapshot / COLUMNS)["patient"]]
    return KnownPatients(patient, columns, _ledger(place))


def _beside(snapshot: Path, what: str) -> Path:
    return snapshot.with_name(f"{snapshot.name}.{what}")


def _ledger(place: Path) -> str:
    """Return the name of the ledger whose key made the hashes in a file."""
    try:
        return str(json.loads(Stored(place).metadata["wardround"])["ledger"])
    except (KeyError, ValueError) as error:
        raise VerificationError(f"{place} is damaged.", "Remove it, and prepare the site again: wardround site prepare.") from error
