from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.record.merkle import EMPTY_ROOT, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion
from wardround.study.errors import VerificationError

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors/record/merkle.json").read_text())
PUBLIC = Path(__file__).parents[3] / "shared/data/tlog_vectors/vectors.json"


def tree_of(size: int) -> Tree:
    return Tree(leaf_hash(str(index).encode()) for index in range(size))


def root_by_definition(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962 section 2.1, word by word; the tree's fast root is held to it."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(root_by_definition(leaves[:split]), root_by_definition(leaves[split:]))


def test_roots_are_those_of_certificate_transparency() -> None:
    tree = Tree()
    assert tree.root().hex() == GOLDEN["roots"][0]
    for leaf, root in zip(GOLDEN["leaves"], GOLDEN["roots"][1:], strict=True):
        tree.append(leaf_hash(bytes.fromhex(leaf)))
        assert tree.root().hex() == root
    assert [tree.root(size).hex() for size in range(9)] == GOLDEN["roots"]


@given(st.integers(0, 70))
def test_every_earlier_root_equals_the_definition(size: int) -> None:
    leaves = [leaf_hash(bytes([index])) for index in range(70)]
    assert Tree(leaves).root(size) == root_by_definition(leaves[:size])


@given(st.data())
def test_proofs_hold_and_no_other_claim_does(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    tree = tree_of(40)
    proof, leaf, root = tree.inclusion_proof(index, size), leaf_hash(str(index).encode()), tree.root(size)
    verify_inclusion(leaf, index, size, proof, root)
    wrong_index = data.draw(st.integers(0, size).filter(lambda other: other != index))
    with pytest.raises(VerificationError):
        verify_inclusion(leaf, wrong_index, size, proof, root)
    with pytest.raises(VerificationError):
        verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
    old = data.draw(st.integers(0, size))
    path = tree.consistency_proof(old, size)
    verify_consistency(old, tree.root(old), size, root, path)
    if old:
        with pytest.raises(VerificationError):
            verify_consistency(old, leaf_hash(b"other"), size, root, path)
        with pytest.raises(VerificationError):
            verify_consistency(old, tree.root(old), size, leaf_hash(b"other"), path)
    with pytest.raises(VerificationError):
        verify_consistency(old, tree.root(old), size, root, [*path, root])


@given(st.data())
def test_a_flipped_bit_in_a_proof_is_refused(data: st.DataObject) -> None:
    tree = tree_of(37)
    proof = tree.inclusion_proof(20)
    place, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    flipped = bytearray(proof[place])
    flipped[bit // 8] ^= 1 << bit % 8
    proof[place] = bytes(flipped)
    with pytest.raises(VerificationError):
        verify_inclusion(leaf_hash(b"20"), 20, 37, proof, tree.root())


def test_hashes_of_another_length_and_impossible_places_are_refused() -> None:
    tree = tree_of(3)
    with pytest.raises(VerificationError, match="32 bytes"):
        verify_inclusion(b"short", 0, 3, tree.inclusion_proof(0), tree.root())
    with pytest.raises(VerificationError, match="32 bytes"):
        verify_consistency(0, b"", 3, tree.root(), [])
    with pytest.raises(VerificationError, match="no entry"):
        verify_inclusion(leaf_hash(b"0"), 3, 3, [], tree.root())
    with pytest.raises(VerificationError, match="cannot follow"):
        verify_consistency(3, tree.root(), 2, tree.root(2), [])
    for impossible in (
        lambda: tree.root(4),
        lambda: tree.inclusion_proof(3),
        lambda: tree.consistency_proof(4, 3),
        lambda: tree.append(b"x"),
    ):
        with pytest.raises(ValueError):
            impossible()


def test_the_empty_tree_is_explicit() -> None:
    verify_consistency(0, EMPTY_ROOT, 3, tree_of(3).root(), [])
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    with pytest.raises(VerificationError):
        verify_consistency(0, leaf_hash(b"0"), 3, tree_of(3).root(), [])
    with pytest.raises(VerificationError):
        verify_consistency(0, EMPTY_ROOT, 0, leaf_hash(b"0"), [])


def raw(values: list[str] | None) -> list[bytes]:
    return [base64.b64decode(value) for value in values or []]


def public_cases(kind: str) -> list[Any]:
    if not PUBLIC.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the public proof vectors (shared/data/tlog_vectors) are not here"))]
    return [pytest.param(case, id=case["case"]) for case in json.loads(PUBLIC.read_text())[kind]]


@pytest.mark.parametrize("case", public_cases("inclusion"))
def test_public_inclusion_vectors(case: dict[str, Any]) -> None:
    def attempt() -> None:
        leaf, root = raw([case["leafHash"], case["root"]])
        verify_inclusion(leaf, case["leafIdx"], case["treeSize"], raw(case["proof"]), root)

    expect(case, attempt)


@pytest.mark.parametrize("case", public_cases("consistency"))
def test_public_consistency_vectors(case: dict[str, Any]) -> None:
    def attempt() -> None:
        old, new = raw([case["root1"], case["root2"]])
        verify_consistency(case["size1"], old, case["size2"], new, raw(case["proof"]))

    expect(case, attempt)


def expect(case: dict[str, Any], attempt: Any) -> None:
    if case["wantErr"]:
        with pytest.raises(VerificationError):
            attempt()
    else:
        attempt()
