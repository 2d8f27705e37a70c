"""Read the one real source that is to be divided, and say of each patient what the partitioners look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wardround.data.cells import as_text
from wardround.data.load import read
from wardround.data.site_file import SiteFile
from wardround.data.splits import positions
from wardround.study.dataset import ROLES, Dataset
from wardround.study.errors import DataError, ProtocolError
from wardround.study.interfaces import Source
from wardround.study.plugins import make
from wardround.study.protocol import Protocol

_NO_BOUND = 10**9
_GROUPS = 5
"""Groups by size into which a label that is a number is cut."""
_RARE = 10
"""Combinations of several labels that fewer patients have become one class together."""


@dataclass(frozen=True)
class Cohort:
    """Hold the rows of a source and their patients.

    Attributes:
        site: where the rows came from.
        frame: the rows under the source's own column names, in their order, without patients who opted out.
        dataset: the same rows in the contract's terms.
        identifiers: of the patients, [P], by the numbers that `dataset.patient` gives them.
    """

    site: SiteFile
    frame: pl.DataFrame
    dataset: Dataset
    identifiers: tuple[str, ...]

    def order(self, seed: int) -> np.ndarray:
        """Return a random place for each patient, float64 [P]; it depends on nothing but seed and identifier, not on the order of rows."""
        return positions(self.identifiers, "partition of patients", seed)

    def tested(self) -> np.ndarray:
        """Return which patients are in the test part, bool [P]."""
        found = np.zeros(len(self.identifiers), dtype=bool)
        found[self.dataset.patient[self.dataset.role == ROLES.index("test")]] = True
        return found

    def kinds(self, protocol: Protocol) -> np.ndarray:
        """Return each patient's class, int64 [P]: the most frequent label of the rows; of a number, which fifth its mean is in.

        Of several labels it is their combination; those that few patients have are one class together. Without a label all are alike.
        """
        if not protocol.contract.labels:
            label = protocol.contract.label
            return self._classes(protocol, label) if label else np.zeros(len(self.identifiers), dtype=np.int64)
        several = np.column_stack([self._classes(protocol, label) for label in protocol.contract.labels])
        _, found, sizes = np.unique(several, axis=0, return_inverse=True, return_counts=True)
        common = np.flatnonzero(sizes >= _RARE)
        number = np.full(len(sizes), len(common), dtype=np.int64)
        number[common] = np.arange(len(common))
        return np.asarray(number[found.reshape(-1)])

    def _classes(self, protocol: Protocol, label: str) -> np.ndarray:
        """Return each patient's class by one label, int64 [P]; of a label that is not known, one class more."""
        patient, count = self.dataset.patient, len(self.identifiers)
        values, codes = self.dataset.columns[label], protocol.contract.fields[label].codes
        if codes is None:
            mean = np.bincount(patient, weights=values, minlength=count) / np.bincount(patient, minlength=count)
            return np.asarray(np.digitize(mean, np.quantile(mean, np.arange(1, _GROUPS) / _GROUPS)), dtype=np.int64)
        seen = np.zeros((count, len(codes)), dtype=np.int64)
        known = values >= 0
        np.add.at(seen, (patient[known], values[known].astype(np.int64)), 1)
        return np.where(seen.any(axis=1), np.argmax(seen, axis=1), len(codes)).astype(np.int64)

    def values(self, column: str) -> list[str]:
        """Return each patient's value of a local column, [P]: the most frequent, of several the first in the order of the alphabet.

        Raises:
            ProtocolError: there is no such column.
            DataError: the column is empty in some rows.
        """
        if column not in self.frame.columns:
            raise ProtocolError(f"The source has no column {column!r}.", f"Use one of: {', '.join(self.frame.columns)}.")
        texts = as_text(self.frame.get_column(column)).fill_null("")
        absent = int((texts == "").sum())
        if absent:
            message = f"Column {column!r} is empty in {absent} of {len(texts)} rows, and so names no hospital for them."
            raise DataError(message, "Complete it, or leave these rows out.")
        kinds = sorted(set(texts.to_list()))
        seen = np.zeros((len(self.identifiers), len(kinds)), dtype=np.int64)
        np.add.at(seen, (self.dataset.patient, np.searchsorted(np.array(kinds), np.array(texts.to_list()))), 1)
        return [kinds[place] for place in np.argmax(seen, axis=1)]


def cohort(site: SiteFile, protocol: Protocol) -> Cohort:
    """Return the rows of a source, checked against the contract; a single hospital's bound on rows does not hold for all together.

    Raises:
        ProtocolError: the site file names a source or option that does not exist, or rows that are made up.
        DataError: the rows cannot be read, or do not meet the contract; lists every finding.
    """
    source: Source = make("source", site.source.kind, site.source.options, "source")
    if source.synthetic:
        message = f"The rows of a source of kind {site.source.kind!r} are made up, and what is written here would not say so."
        raise ProtocolError(message, "Give each simulated hospital a synthetic source of its own.")
    roomy = protocol.changed(bounds=protocol.bounds.model_copy(update={"examples": _NO_BOUND}))
    found = read(site, roomy)
    if found.checked.dataset is None:
        raise found.checked.report.error()
    dataset = found.checked.dataset
    frame = source.read(protocol.contract)[np.array(found.rows, dtype=np.int64) - 1]
    return Cohort(site, frame, dataset, _by_number(found.patients, dataset.patient))


def _by_number(names: Sequence[str], patient: np.ndarray) -> tuple[str, ...]:
    known, first = np.unique(patient, return_index=True)
    assert len(known) == int(patient.max()) + 1
    return tuple(names[row] for row in first)
