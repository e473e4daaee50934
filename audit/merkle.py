"""The Merkle tree of a log: RFC 9162 over SHA-256.

Rules upheld here: a leaf and a node are hashed with different prefixes; proofs have the one length that
index and size demand; a check returns nothing or raises `ProofInvalid`.

`Tree` keeps all complete subtrees and answers for every earlier size, unless it was told to forget the first ones;
`Frontier` keeps the right edge alone, for those who only need the root. Recursion is as deep as the tree is high: at
most 64.

Source: RFC 9162, sections 2.1.1 to 2.1.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from jurat.schemas import canonical
from jurat.schemas.errors import ProofInvalid

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry of the log."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent."""
    return sha256(b"\x01" + left + right).digest()


def record_leaf(*, keyid: str, payload_sha256: str, payload_type: str, sig: str) -> bytes:
    """Print the log entry of a record: no business data, so that outsiders can mirror the log.

    Args:
        keyid: did:key name of the signing key.
        payload_sha256: lower-case hex.
        payload_type: DSSE payload type.
        sig: standard base64.
    """
    return canonical.dumps(
        {"keyid": keyid, "payloadSha256": payload_sha256, "payloadType": payload_type, "sig": sig}
    )


class Frontier:
    """A tree of which only the roots of the complete subtrees at its right edge are kept."""

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        node = leaf
        self.size += 1
        size = self.size
        while size & 1 == 0:
            node = node_hash(self._edge.pop(), node)
            size >>= 1
        self._edge.append(node)

    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = node_hash(left, root)
        return root


class Tree:
    """A tree that keeps every complete subtree: level k holds the hashes of subtrees of 2**k leaves.

    Args:
        size: how many leaves it begins with; only their edge is kept, so that it answers for no size below.
        edge: the roots of the complete subtrees of these leaves, the largest first: one for each bit of `size`.

    Attributes:
        size: how many leaves it has.
        base: the least size that it answers for.

    Raises:
        ProofInvalid: the edge is none of so many leaves.
    """

    __slots__ = ("_levels", "_starts", "base", "size")

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        if size < 0 or len(edge) != size.bit_count() or any(len(node) != HASH_SIZE for node in edge):
            raise ProofInvalid(
                f"got an edge of {len(edge)} hashes for {size} leaves, expected one of {HASH_SIZE} bytes for each bit"
            )
        self.size = self.base = size
        height = max(size.bit_length(), 1)
        # Where level k begins: of what lies before the base, its last subtree is kept, where that is of the edge.
        self._starts = [(size >> level) - (size >> level & 1) for level in range(height)]
        nodes = iter(edge)
        kept = [bytearray(next(nodes) if size >> level & 1 else b"") for level in reversed(range(height))]
        self._levels: list[bytearray] = kept[::-1]

    def edge(self, size: int | None = None) -> tuple[bytes, ...]:
        """The roots of the complete subtrees of the first `size` leaves, the largest first."""
        size = self._check_size(self.size if size is None else size)
        ends = [size >> level << level for level in reversed(range(size.bit_length())) if size >> level & 1]
        return tuple([self._subtree(start, end) for start, end in zip((0, *ends), ends, strict=False)])

    def forget(self, size: int) -> None:
        """Keep of the first `size` leaves the edge alone, and answer for no smaller tree any more."""
        size = self._check_size(size)
        for level, nodes in enumerate(self._levels):
            start = (size >> level) - (size >> level & 1)
            if start > self._starts[level]:
                del nodes[: HASH_SIZE * (start - self._starts[level])]
                self._starts[level] = start
        self.base = size

    def append(self, leaf: bytes) -> int:
        """Add a leaf hash.

        Returns:
            The leaf's index.
        """
        if len(leaf) != HASH_SIZE:
            raise ProofInvalid(f"got a leaf hash of {len(leaf)} bytes, expected {HASH_SIZE}")
        level = 0
        self._levels[0] += leaf
        self.size += 1
        size = self.size
        while size & 1 == 0:
            node = sha256(b"\x01" + self._levels[level][-2 * HASH_SIZE :]).digest()
            level += 1
            size >>= 1
            if level == len(self._levels):
                self._levels.append(bytearray())
                self._starts.append(0)
            self._levels[level] += node
        return self.size - 1

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves, of all by default."""
        size = self._check_size(self.size if size is None else size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Prove that a leaf stands at `index` among the first `size` leaves; a tree that forgot any proves none."""
        size = self._check_size(self.size if size is None else size)
        if not 0 <= index < size:
            raise ProofInvalid(f"got the index {index}, expected one below the size {size}")
        if self.base:
            raise ProofInvalid("got a tree that does not keep all of its leaves, expected one that does")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        proof.reverse()
        return proof

    def consistency(self, size1: int, size2: int | None = None) -> list[bytes]:
        """Prove that the first `size1` leaves are a prefix of the first `size2`; empty for equal sizes."""
        size2 = self._check_size(self.size if size2 is None else size2)
        if not 0 < self._check_size(size1) <= size2:
            raise ProofInvalid(f"got the sizes {size1} and {size2}, expected 0 < first <= second")
        proof: list[bytes] = []
        start, end, old, is_known = 0, size2, size1, True
        while old != end:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start, is_known = middle, False
        if not is_known:
            proof.append(self._subtree(start, end))
        proof.reverse()
        return proof

    def _subtree(self, start: int, end: int) -> bytes:
        count = end - start
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            at = HASH_SIZE * ((start >> level) - self._starts[level])
            return bytes(self._levels[level][at : at + HASH_SIZE])
        middle = start + _split(count)
        return node_hash(self._subtree(start, middle), self._subtree(middle, end))

    def _check_size(self, size: int) -> int:
        if not self.base <= size <= self.size:
            raise ProofInvalid(
                f"got the size {size}, expected one from {self.base} to the tree's {self.size}"
            )
        return size


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf hash stands at `index` in the tree of `size` leaves with this root.

    Raises:
        ProofInvalid: it does not, or the proof has another shape.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"got the index {index}, expected one below the size {size}")
    if len(leaf_hash) != HASH_SIZE:
        raise ProofInvalid(f"got a leaf hash of {len(leaf_hash)} bytes, expected {HASH_SIZE}")
    fn, sn, node = index, size - 1, leaf_hash
    for sibling in proof:
        if len(sibling) != HASH_SIZE or sn == 0:
            raise ProofInvalid("got an inclusion proof with a wrong length, or a hash that is not 32 bytes")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while fn & 1 == 0 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofInvalid("got an inclusion proof that is too short")
    if node != root:
        raise ProofInvalid(f"the inclusion proof leads to the root {node.hex()}, expected {root.hex()}")


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that one tree is a prefix of another: `size1` leaves with `root1` of `size2` leaves with `root2`.

    Raises:
        ProofInvalid: it is not, the proof has another shape, or `size1` is 0 and `size2` is not (every tree starts
            with the empty one, so that proves nothing).

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= size1 <= size2 or (size1 == 0 and size2 > 0):
        raise ProofInvalid(f"got the sizes {size1} and {size2}, expected 0 < first <= second")
    if size1 == size2:
        if proof or root1 != root2:
            raise ProofInvalid("got equal sizes with different roots or a proof that is not empty")
        return
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not proof or any(len(node) != HASH_SIZE for node in path):
        raise ProofInvalid("got a consistency proof that is empty or holds a hash that is not 32 bytes")
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofInvalid("got a consistency proof that is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while fn & 1 == 0 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofInvalid("got a consistency proof that is too short")
    if old != root1 or new != root2:
        raise ProofInvalid(
            f"the consistency proof leads to the roots {old.hex()} and {new.hex()},"
            f" expected {root1.hex()} and {root2.hex()}"
        )


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)
