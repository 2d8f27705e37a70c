"""Lay the tensors of a training side by side in blocks of equal length, so that one message holds one array and not one a tensor.

A tensor's last block is filled up with zeros, so that no block holds numbers of two tensors: each tensor has a scale of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from wardround.study.arrays import Arrays
from wardround.study.layout import Layout


@dataclass(frozen=True)
class Flat:
    """Hold where each tensor's numbers lie.

    Attributes:
        terms: the tensors, in their order.
        block: numbers in a block.
    """

    terms: Layout
    block: int = 1

    @cached_property
    def blocks(self) -> list[int]:
        """Return how many blocks each tensor takes."""
        return [-(-math.prod(term.shape) // self.block) for term in self.terms]

    @property
    def count(self) -> int:
        """Return how many blocks there are."""
        return sum(self.blocks)

    @cached_property
    def owner(self) -> np.ndarray:
        """Return of which tensor each block is, int64 [blocks]."""
        return np.repeat(np.arange(len(self.terms)), self.blocks)

    @cached_property
    def limits(self) -> np.ndarray:
        """Return what a site may send of one number at most, float64 [tensors]."""
        return np.array([float(np.min(term.limit)) for term in self.terms])

    def joined(self, sums: Arrays) -> np.ndarray:
        """Return all numbers, float64 [blocks, block]; a tensor that is not there counts as zeros."""
        found = np.zeros((self.count, self.block))
        for (first, last), term in zip(self._places(), self.terms, strict=True):
            if term.name in sums:
                found[first:last].reshape(-1)[: math.prod(term.shape)] = sums[term.name].reshape(-1)
        return found

    def parted(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tensors by name, of all numbers [blocks, block]."""
        parts = zip(self._places(), self.terms, strict=True)
        return {term.name: rows[first:last].reshape(-1)[: math.prod(term.shape)].reshape(term.shape) for (first, last), term in parts}

    def root_mean_squares(self, rows: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return the root mean square of each tensor's numbers, float64 [tensors], over some blocks; over all where none of them is its.

        Args:
            rows: all numbers [blocks, block].
            among: which blocks count, bool [blocks].
        """
        squares = np.square(rows).sum(axis=1)
        found = []
        for (first, last), term in zip(self._places(), self.terms, strict=True):
            here = among[first:last]
            part = squares[first:last][here] if here.any() else squares[first:last]
            numbers = math.prod(term.shape) if len(part) == last - first else len(part) * self.block
            found.append(np.sqrt(part.sum() / max(numbers, 1)))
        return np.array(found)

    def _places(self) -> list[tuple[int, int]]:
        ends = np.cumsum([0, *self.blocks]).tolist()
        return list(pairwise(ends))
