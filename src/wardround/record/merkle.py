"""Keep a Merkle tree that only grows, and prove things about it.

Every entry of a log becomes a leaf; the *root* is one hash that stands for all of them in their order. Two short proofs make the
root useful to somebody who does not hold the log: an *inclusion proof* shows that one leaf is in the tree of a given size, a
*consistency proof* shows that a larger tree still begins with the smaller one, so that nothing was rewritten.

All hashes here are 32 raw bytes; entries and reports write them as 64 hex digits.

Source: RFC 6962 section 2.1 (tree, proofs) and RFC 9162 section 2.1 (how proofs are verified).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from wardround.study.errors import VerificationError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""

_REMEDY = "Ask the log's owner for a proof between these two sizes; if it fails again, the log was rewritten or the proof is forged."


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one entry's bytes.

    Example:
        >>> leaf_hash(b"").hex()
        '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
    """
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two neighbouring subtrees; its prefix differs from a leaf's, so neither can pose as the other."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Hold the leaf hashes of a log and every complete subtree above them.

    Keeping the complete subtrees makes an append, a root at any size and each step of a proof O(log n) hashes.

    Example:
        >>> tree = Tree([leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")])
        >>> verify_inclusion(leaf_hash(b"b"), 1, 3, tree.inclusion_proof(1, 3), tree.root())
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """Start from leaf hashes, oldest first."""
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        """Return the number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> int:
        """Add one leaf hash and return its index.

        Args:
            leaf: 32 bytes, from `leaf_hash`.

        Raises:
            ValueError: the hash is not 32 bytes long.
        """
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, not {len(leaf)}")
        level, nodes = 0, self._levels[0]
        nodes.append(leaf)
        while len(nodes) % 2 == 0:
            parent = node_hash(nodes[-2], nodes[-1])
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            nodes = self._levels[level]
            nodes.append(parent)
        return len(self) - 1

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves (all of them when None).

        Raises:
            ValueError: the tree has never been that large.
        """
        size = self._known(len(self) if size is None else size)
        return self._span(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the hashes that lead from leaf `index` up to the root at `size`.

        Raises:
            ValueError: there is no such leaf in a tree of this size.
        """
        size = self._known(len(self) if size is None else size)
        if not 0 <= index < size:
            raise ValueError(f"a tree of {size} leaves has no leaf {index}")
        start, end, path = 0, size, []
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._span(middle, end))
                end = middle
            else:
                path.append(self._span(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the hashes that show that the first `old` of `new` leaves are unchanged; empty when `old` is 0 or `new`.

        Raises:
            ValueError: the sizes are not 0 <= old <= new <= number of leaves.
        """
        new = self._known(len(self) if new is None else new)
        if not 0 <= old <= new:
            raise ValueError(f"a tree of {new} leaves never had {old}")
        if old == 0:
            return []
        start, end, path, from_start = 0, new, [], True
        while end != old:
            middle = start + _split(end - start)
            if old <= middle:
                path.append(self._span(middle, end))
                end = middle
            else:
                path.append(self._span(start, middle))
                start, from_start = middle, False
        if not from_start:
            path.append(self._span(start, end))
        return path[::-1]

    def _known(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise ValueError(f"the tree has {len(self)} leaves, not {size}")
        return size

    def _span(self, start: int, end: int) -> bytes:
        """Return the hash over leaves [start, end) from the complete subtrees in it; RFC 6962 puts the largest first."""
        peaks = []
        while start < end:
            level = (end - start).bit_length() - 1
            peaks.append(self._levels[level][start >> level])
            start += 1 << level
        total = peaks.pop()
        while peaks:
            total = node_hash(peaks.pop(), total)
        return total


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` stands at `index` in the tree of `size` leaves whose root is `root`.

    Raises:
        VerificationError: the proof does not show it.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise VerificationError(f"A tree of {size} entries has no entry {index}.", _REMEDY)
    _insist([leaf, root, *proof])
    here, last, total = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError(f"The inclusion proof of entry {index} is too long for a tree of {size}.", _REMEDY)
        if here & 1 or here == last:
            total = node_hash(sibling, total)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            total = node_hash(total, sibling)
        here, last = here >> 1, last >> 1
    if last or total != root:
        raise VerificationError(f"Entry {index} is not proved to be in the tree of {size} entries.", _REMEDY)


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new_size` leaves begins with the tree of `old_size` leaves.

    Two heads of one size must be the same bytes and need no proof; the empty tree precedes every tree and needs none either.

    Raises:
        VerificationError: the proof does not show it.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 <= old_size <= new_size:
        raise VerificationError(f"A log of {new_size} entries cannot follow one of {old_size}.", _REMEDY)
    unproved = VerificationError(f"The log of {new_size} entries is not proved to continue the one of {old_size}.", _REMEDY)
    if old_size == new_size and old_size > 0:
        if proof or old_root != new_root:
            raise unproved
        return
    _insist([old_root, new_root, *proof])
    if old_size == 0:
        if proof or old_root != EMPTY_ROOT or (new_size == 0 and new_root != EMPTY_ROOT):
            raise unproved
        return
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise unproved
    here, last = old_size - 1, new_size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old_total = new_total = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise unproved
        if here & 1 or here == last:
            old_total, new_total = node_hash(sibling, old_total), node_hash(sibling, new_total)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            new_total = node_hash(new_total, sibling)
        here, last = here >> 1, last >> 1
    if last or old_total != old_root or new_total != new_root:
        raise unproved


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _insist(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise VerificationError(f"A hash in the proof does not have {HASH_BYTES} bytes.", _REMEDY)
