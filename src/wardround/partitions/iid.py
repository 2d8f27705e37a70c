"""Divide patients evenly and at random: what all other ways are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from wardround.partitions.partitioner import Partitioner


@dataclass(frozen=True)
class Iid(Partitioner):
    """Give every hospital the same number of patients, and the same share of each class."""
