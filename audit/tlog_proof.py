"""Proof files: that an entry is in a log, under a checkpoint that its witnesses saw.

Rules upheld here: one form; parse then print is identity; the extra data are opaque and prove nothing; a proof that is
checked gives the checkpoint back with the times of its witnesses. Not here: what the entry is.

Source: https://c2sp.org/tlog-proof
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurat.audit import checkpoint, merkle, note
from jurat.audit.checkpoint import HASH_SIZE, parse_size
from jurat.audit.tlog_policy import TlogPolicy, Witnessed
from jurat.schemas import b64
from jurat.schemas.errors import NoteInvalid

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_HASHES: Final = 63
"""The longest inclusion proof of a tree whose size fits into 63 bits."""

MAX_PROOF_BYTES: Final = note.MAX_NOTE_BYTES + 1_000_000
"""A checkpoint, its hashes, and as much extra data."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof as it was read; nothing in it is verified.

    Attributes:
        index: of the entry, the first is 0.
        hashes: the inclusion proof, from the leaf's sibling up.
        signed: the signed checkpoint, as it stands.
        extra: opaque data of whoever made it; None where there are none.
    """

    index: int
    hashes: tuple[bytes, ...]
    signed: bytes
    extra: bytes | None = None

    def print(self) -> bytes:
        """Print the file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {b64.encode(self.extra)}")
        lines.append(f"index {self.index}")
        lines += [b64.encode(one) for one in self.hashes]
        return ("\n".join(lines) + "\n\n").encode() + self.signed


def parse(data: bytes) -> TlogProof:
    """Read a proof file.

    Raises:
        NoteInvalid: it is not of the form of one.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise NoteInvalid(f"got a proof of {len(data)} bytes, expected at most {MAX_PROOF_BYTES}")
    head, empty, signed = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise NoteInvalid("got a proof with letters beyond ASCII above its checkpoint") from error
    if lines.pop(0) != HEADER or not empty:
        raise NoteInvalid(
            f"got no proof, expected {HEADER!r} as its first line and an empty line before a checkpoint"
        )
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _unbase64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise NoteInvalid("got no index in a proof, expected a line of it before the hashes")
    index = parse_size(lines.pop(0).removeprefix("index "))
    if len(lines) > MAX_HASHES:
        raise NoteInvalid(f"got {len(lines)} hashes in a proof, expected at most {MAX_HASHES}")
    hashes = tuple([_unbase64(line) for line in lines])
    if any(len(one) != HASH_SIZE for one in hashes):
        raise NoteInvalid(f"got a hash of another size than {HASH_SIZE} bytes in a proof")
    checkpoint.parse(note.parse(signed).text)
    return TlogProof(index, hashes, signed, extra)


def verify(data: bytes, *, leaf_hash: bytes, policy: TlogPolicy) -> Witnessed:
    """Check that an entry is in a log, under a checkpoint that a policy accepts.

    Args:
        data: the proof file.
        leaf_hash: of the entry, 32 bytes.
        policy: who is trusted.

    Raises:
        NoteInvalid: it is not of the form of a proof.
        ProofInvalid: the entry is not in that tree at that place.
        SignatureInvalid: the policy does not accept the checkpoint.
    """
    proof = parse(data)
    witnessed = policy.check(proof.signed)
    head = witnessed.head
    merkle.verify_inclusion(proof.index, head.size, leaf_hash, proof.hashes, head.root)
    return witnessed


def _unbase64(text: str) -> bytes:
    try:
        return b64.decode(text)
    except ValueError as error:
        raise NoteInvalid("got a line in a proof that is not base64 in its one form") from error
