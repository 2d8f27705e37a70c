"""Make each value of a local column a hospital: the scanner, the ward, the region. No chance is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field as Bound

from wardround.partitions.partitioner import Partitioner


@dataclass(frozen=True)
class Column(Partitioner):
    """Divide by what a column says; a patient with several values goes to the most frequent.

    Attributes:
        column: name of the local column.
    """

    column: Annotated[str, Bound(min_length=1)]

    @property
    def by(self) -> str:
        """Return the column's name."""
        return self.column
