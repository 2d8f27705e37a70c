"""Say what is different in a hospital's rows since a snapshot was made: who withdrew, which rows changed, who is new, who moved.

Rows are compared as the worker would see them, in the contract's fields, units and codes, so another order of the file or another
spelling of the same number is no change. A patient's rows have no order either. What is found names rows by their place in the
hospital's table and fields by their name; a value never stands in it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from wardround.data.report import shown
from wardround.data.rowstore import chosen
from wardround.data.snapshot import read_snapshot
from wardround.data.who import BYTES, who_of
from wardround.study.dataset import Dataset
from wardround.study.errors import VerificationError
from wardround.study.streams import Stream

Parts = Mapping[bytes, frozenset[int]]
"""In which parts (training, validation, test) a patient's rows stood, by pseudonym."""


@dataclass(frozen=True)
class Known:
    """Hold a dataset with the pseudonyms of its patients.

    Attributes:
        dataset: the rows.
        who: uint8 [P, 16], by patient number.
        rows: the place of each row in the hospital's table, counted from 1 without a header; empty where that is not known any more.
    """

    dataset: Dataset
    who: np.ndarray
    rows: Sequence[int] = ()

    def by_patient(self) -> dict[bytes, list[int]]:
        """Return the row numbers of each pseudonym."""
        found: dict[bytes, list[int]] = defaultdict(list)
        names = [one.tobytes() for one in self.who]
        for row, patient in enumerate(self.dataset.patient):
            found[names[patient]].append(row)
        return found

    def parts(self) -> dict[bytes, frozenset[int]]:
        """Return in which parts each patient's rows stand."""
        return {who: frozenset(self.dataset.role[rows].tolist()) for who, rows in self.by_patient().items()}


@dataclass(frozen=True)
class ChangedRow:
    """Name one row that is not as it was.

    Attributes:
        patient: pseudonym, hex.
        row: its place in the table now, counted from 1 without a header; 0 where it is gone.
        fields: that differ from the row it was before; empty where it is gone, or where that cannot be told.
    """

    patient: str
    row: int
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """Hold what is different.

    Attributes:
        rows: of the snapshot that are gone or not as they were, while their patient has not withdrawn.
        patients: whose rows these are.
        gone: of these, patients without any row now.
        moved: patients who stand in another part (training, validation, test) now.
        added: patients who were not in the snapshot.
        new_rows: further rows of patients who were in it.
    """

    rows: tuple[ChangedRow, ...] = ()
    patients: int = 0
    gone: int = 0
    moved: int = 0
    added: int = 0
    new_rows: int = 0

    def __str__(self) -> str:
        """Return one sentence, small counts not shown."""
        gone = f" ({shown(self.gone)} of them have none any more)" if self.gone else ""
        return f"{shown(len(self.rows))} rows of {shown(self.patients)} patients changed{gone}"


def known_of(snapshot: Path) -> Known:
    """Return the dataset in a snapshot's folder with its patients' pseudonyms.

    Raises:
        VerificationError: the snapshot was changed, or whose rows it has is not known here.
    """
    found = Known(read_snapshot(snapshot), who_of(snapshot))
    if found.who.shape != (int(found.dataset.patient.max(initial=-1)) + 1, BYTES):
        raise VerificationError(f"{snapshot}.who does not belong to this snapshot.", "Ask the coordinating centre; do not go on with it.")
    return found


def changes(before: Known, now: Known, earlier: Parts = MappingProxyType({})) -> Changes:
    """Return what is different; patients who withdrew must not be in `before` any more.

    Args:
        before: the rows that count.
        now: those of the table.
        earlier: the parts of patients in snapshots before these, who may have been missing for a while.
    """
    stood, stands = {**earlier, **before.parts()}, now.parts()
    old, new = before.by_patient(), now.by_patient()
    old_keys, new_keys = _keys(before.dataset), _keys(now.dataset)
    found: list[ChangedRow] = []
    changed = further = 0
    for who, rows in old.items():
        here = new.get(who, [])
        lost, fresh = _unmatched(rows, here, old_keys, new_keys)
        further += max(0, len(fresh) - len(lost))
        found += [_named(before, now, who, one, fresh[index] if index < len(fresh) else None) for index, one in enumerate(lost)]
        changed += bool(lost)
    moved = sum(who in stood and not parts <= stood[who] for who, parts in stands.items())
    gone = sum(who not in new for who in old)
    return Changes(tuple(found), changed, gone, moved, sum(who not in old for who in new), further)


def marks(known: Known, patients: Set[str], secret: Stream) -> set[str]:
    """Return for each of some patients, named by pseudonyms in hex, a keyed hash of the rows as they stand, or of their absence."""
    keys, rows = _keys(known.dataset), known.by_patient()
    texts = {one: bytes.fromhex(one) + b"".join(sorted(keys[row] for row in rows.get(bytes.fromhex(one), []))) for one in patients}
    return {hmac.new(secret.key, text, hashlib.sha256).hexdigest() for text in texts.values()}


def without(known: Known, out: np.ndarray) -> Known:
    """Return a dataset without some of its patients; the others keep their rows, their parts and their order.

    Args:
        known: the dataset.
        out: bool [P], who is left out.
    """
    data = known.dataset
    stays = ~out[data.patient]
    number = np.cumsum(~out) - 1
    time = None if data.time is None else data.time[stays]
    columns = {name: column[stays] if column.ndim == 1 else chosen(column, stays) for name, column in data.columns.items()}
    rows = [row for row, kept in zip(known.rows, stays, strict=True) if kept] if len(known.rows) else ()
    kept_data = replace(data, columns=columns, patient=number[data.patient[stays]], role=data.role[stays], time=time, digest="", cache={})
    return Known(kept_data, known.who[~out], rows)


def _keys(data: Dataset) -> list[bytes]:
    """Return bytes for each row that are the same exactly where all its values are."""
    columns = [_values(data.columns[name]) for name in sorted(data.columns)]
    arrays = [np.ascontiguousarray(one) for one in (*columns, *(() if data.time is None else (data.time,)))]
    parts = [one.view(np.uint8).reshape(len(data), one.dtype.itemsize) for one in arrays]
    joined = np.ascontiguousarray(np.concatenate(parts, axis=1)) if parts else np.zeros((len(data), 0), np.uint8)
    return [row.tobytes() for row in joined]


def _values(column: np.ndarray) -> np.ndarray:
    """Return a column with one value a row; of an image its digest takes its place."""
    if column.ndim == 1:
        return column
    digests = [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=BYTES).digest() for image in column]
    return np.frombuffer(b"".join(digests), dtype=f"V{BYTES}")


def _unmatched(old: list[int], new: list[int], old_keys: list[bytes], new_keys: list[bytes]) -> tuple[list[int], list[int]]:
    """Return a patient's rows that are not there any more, and those that were not there before."""
    here, there = Counter(new_keys[row] for row in new), Counter(old_keys[row] for row in old)
    return _beyond(old, old_keys, here), _beyond(new, new_keys, there)


def _beyond(rows: list[int], keys: list[bytes], others: Counter[bytes]) -> list[int]:
    left, found = Counter(others), []
    for row in rows:
        if left[keys[row]] > 0:
            left[keys[row]] -= 1
        else:
            found.append(row)
    return found


def _named(before: Known, now: Known, who: bytes, old: int, new: int | None) -> ChangedRow:
    """Name a row that changed, and the fields in which it differs from what it was."""
    if new is None:
        return ChangedRow(who.hex(), 0)
    columns = [(name, before.dataset.columns[name][old], now.dataset.columns[name][new]) for name in sorted(before.dataset.columns)]
    differ = [name for name, was, one in columns if was.tobytes() != one.tobytes()]
    times = (before.dataset.time, now.dataset.time)
    if times[0] is not None and times[1] is not None and times[0][old].tobytes() != times[1][new].tobytes():
        differ.append("time")
    return ChangedRow(who.hex(), now.rows[new] if len(now.rows) else 0, tuple(differ))
