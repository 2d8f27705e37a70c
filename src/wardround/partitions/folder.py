"""Write all hospitals of a partition into a folder, and beside them `partition.json`, which says what was done and what each one got."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wardround.partitions.cohort import Cohort
from wardround.partitions.hospital import write_hospital
from wardround.partitions.partitioner import Partitioner
from wardround.study.dataset import ROLES
from wardround.study.errors import StoreError
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

KEPT = "partition.json"


@dataclass(frozen=True)
class Divided:
    """Hold who goes where.

    Attributes:
        everyone: the source.
        protocol: says what the fields mean.
        ways: what divided it.
        place: int64 [P], the hospital of each patient.
        hospitals: names by these numbers.
    """

    everyone: Cohort
    protocol: Protocol
    ways: tuple[Partitioner, ...]
    place: np.ndarray
    hospitals: tuple[str, ...]

    def seen(self, rows: np.ndarray, rng: Stream) -> dict[str, np.ndarray]:
        """Return by field what one hospital's instruments make of these rows: numbers that a way of dividing changes, and pictures."""
        data, contract = self.everyone.dataset, self.protocol.contract
        training = data.rows("train", "validation")
        found = {name: np.asarray(data.columns[name][rows]) for name, field in contract.fields.items() if field.type == "image"}
        for way in (one for one in self.ways if one.changes):
            for name in contract.inputs:
                field, values = contract.fields[name], data.columns[name]
                if field.type != "code":
                    like = values[training] if field.type == "number" else np.zeros(0)
                    before = found[name] if name in found else values[rows]
                    found[name] = way.seen(field, before, like, rng.child(type(way).__name__, name))
        return found

    def described(self, name: str, rows: np.ndarray) -> dict[str, Any]:
        """Return what `partition.json` says of one hospital: patients and rows, by part, and patients by class."""
        data, label = self.everyone.dataset, self.protocol.contract.label
        own = np.unique(data.patient[rows])
        parts = {role: len(np.unique(data.patient[rows][data.role[rows] == place])) for place, role in enumerate(ROLES)}
        kinds = np.bincount(self.everyone.kinds(self.protocol)[own])
        codes = self.protocol.contract.fields[label].codes if label else None
        classes = {} if codes is None else {code: int(kinds[place]) if place < len(kinds) else 0 for place, code in enumerate(codes)}
        return {"name": name, "file": f"{name}.toml", "patients": len(own), "examples": len(rows), "parts": parts, "classes": classes}


def write_all(folder: Path, divided: Divided, wished: Mapping[str, Any]) -> list[Path]:
    """Write every hospital and what was done; return the site files.

    Args:
        folder: empty, or with an earlier partition.
        divided: who goes where.
        wished: how it was divided: "by", "seed", "options" and the like.

    Raises:
        StoreError: the folder holds something else or the source, or cannot be written.
    """
    everyone, found, described = divided.everyone, [], []
    mark = f"divided by {' and '.join(wished['by'])}, seed {wished['seed']}, from one source of kind {everyone.site.source.kind}"
    instruments = Stream.public(int(wished["seed"])).child("instruments")
    _apart(folder, everyone.site.source.options.get("path"))
    with _writing(folder):
        for number, name in enumerate(divided.hospitals):
            rows = np.flatnonzero(divided.place[everyone.dataset.patient] == number)
            seen = divided.seen(rows, instruments.child(number))
            found.append(write_hospital(folder, name, everyone, divided.protocol.contract, rows, seen, mark))
            described.append(divided.described(name, rows))
        about = {"simulated": True, "study": divided.protocol.study, "source": everyone.site.name, **wished, "sites": described}
        (folder / KEPT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return found


def _apart(folder: Path, path: Any) -> None:
    """Refuse a folder in which the source itself lies: replacing an earlier partition there could remove it.

    Raises:
        StoreError: names the folder.
    """
    if path is not None and Path(path).resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"{folder} holds the source that is to be divided.", "Choose another folder; nothing was written.")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Take a folder that is empty or holds a partition, which is removed; say in words what the disk refuses.

    Raises:
        StoreError: it holds something else, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path.name for path in folder.iterdir())
        if there and KEPT not in there:
            message = f"{folder} holds files and no earlier partition."
            raise StoreError(message, "Choose an empty folder; what lies there is left as it is.")
        if there:
            _remove(folder, json.loads((folder / KEPT).read_text(encoding="utf-8"))["sites"])
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"its {KEPT} is damaged"
        raise StoreError(f"{folder} cannot be written ({why}).", "Choose another folder, or remove this one.") from error


def _remove(folder: Path, sites: Sequence[Mapping[str, Any]]) -> None:
    """Remove the files of an earlier partition, and nothing else."""
    for site in sites:
        for ending in ("toml", "parquet", "npz"):
            path = folder / f"{site['name']}.{ending}"
            if path.parent == folder:
                path.unlink(missing_ok=True)
    (folder / KEPT).unlink()
