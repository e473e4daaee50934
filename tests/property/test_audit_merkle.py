"""The tree against the definitions of RFC 9162, written down as they stand there."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.audit import merkle
from jurat.schemas.errors import ProofInvalid


def naive_root(entries: Sequence[bytes]) -> bytes:
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_path(index: int, entries: Sequence[bytes]) -> list[bytes]:
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if index < k:
        return [*naive_path(index, entries[:k]), naive_root(entries[k:])]
    return [*naive_path(index - k, entries[k:]), naive_root(entries[:k])]


def naive_proof(size: int, entries: Sequence[bytes], *, complete: bool = True) -> list[bytes]:
    if size == len(entries):
        return [] if complete else [naive_root(entries)]
    k = split(len(entries))
    if size <= k:
        return [*naive_proof(size, entries[:k], complete=complete), naive_root(entries[k:])]
    return [*naive_proof(size - k, entries[k:], complete=False), naive_root(entries[:k])]


def split(count: int) -> int:
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def tree_of(entries: Sequence[bytes]) -> merkle.Tree:
    tree = merkle.Tree()
    for entry in entries:
        tree.append(merkle.leaf_hash(entry))
    return tree


@pytest.mark.parametrize("size", range(34))
def test_every_small_tree(size: int) -> None:
    entries = [bytes([number]) for number in range(size)]
    tree, frontier = tree_of(entries), merkle.Frontier()
    for entry in entries:
        frontier.append(merkle.leaf_hash(entry))
    root = naive_root(entries)
    assert tree.root() == frontier.root() == root
    for index in range(size):
        proof = tree.inclusion(index)
        assert proof == naive_path(index, entries)
        merkle.verify_inclusion(index, size, merkle.leaf_hash(entries[index]), proof, root)
    for old in range(1, size + 1):
        proof = tree.consistency(old)
        assert proof == naive_proof(old, entries)
        merkle.verify_consistency(old, size, naive_root(entries[:old]), root, proof)


@given(st.integers(1, 200), st.data())
def test_earlier_sizes_and_wrong_proofs(size: int, data: st.DataObject) -> None:
    entries = [number.to_bytes(2) for number in range(size)]
    tree = tree_of(entries)
    at = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, at - 1))
    assert tree.root(at) == naive_root(entries[:at])
    leaf, root, proof = merkle.leaf_hash(entries[index]), tree.root(at), tree.inclusion(index, at)
    merkle.verify_inclusion(index, at, leaf, proof, root)
    wrong = data.draw(st.sampled_from(["short", "long", "index", "leaf", "root", "node"]))
    if wrong == "node" and proof:
        which = data.draw(st.integers(0, len(proof) - 1))
        broken = [*proof[:which], bytes(32), *proof[which + 1 :]]
        arguments = (index, at, leaf, broken, root)
    elif wrong == "short" and proof:
        arguments = (index, at, leaf, proof[:-1], root)
    elif wrong == "long":
        arguments = (index, at, leaf, [*proof, root], root)
    elif wrong == "index" and at > 1:
        arguments = ((index + 1) % at, at, leaf, proof, root)
    elif wrong == "leaf":
        arguments = (index, at, bytes(32), proof, root)
    else:
        arguments = (index, at, leaf, proof, bytes(32))
    with pytest.raises(ProofInvalid):
        merkle.verify_inclusion(*arguments)


@given(st.integers(2, 200), st.data())
def test_wrong_consistency_proofs(size: int, data: st.DataObject) -> None:
    entries = [number.to_bytes(2) for number in range(size)]
    tree = tree_of(entries)
    old = data.draw(st.integers(1, size - 1))
    proof, root1, root2 = tree.consistency(old), tree.root(old), tree.root()
    merkle.verify_consistency(old, size, root1, root2, proof)
    which = data.draw(st.integers(0, len(proof) - 1))
    for arguments in (
        (old, size, bytes(32), root2, proof),
        (old, size, root1, bytes(32), proof),
        (old, size, root1, root2, proof[:-1]),
        (old, size, root1, root2, [*proof, root2]),
        (old, size, root1, root2, [*proof[:which], bytes(32), *proof[which + 1 :]]),
        (old, size, root1, root2, [*proof[:which], b"", *proof[which + 1 :]]),
    ):
        with pytest.raises(ProofInvalid):
            merkle.verify_consistency(*arguments)
