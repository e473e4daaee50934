"""The chain of an agent's records about one input partition: gaps, repeats and reorderings show.

Each record carries `seq` (0, 1, 2, ...) and `prev`, the digest of the payload before it. A writer keeps the
head in its state and extends it when it commits; a verifier does the same and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from jurat.audit.record import GENESIS
from jurat.schemas.errors import ChainBroken


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where the next record goes: its `seq` and its `prev`."""

    next_seq: int = 0
    prev: str = GENESIS

    def extend(self, payload: bytes) -> ChainHead:
        """The head after this payload was added."""
        return ChainHead(self.next_seq + 1, sha256(payload).hexdigest())


class Link(Protocol):
    """What says where it goes in its chain, as a record does."""

    @property
    def chain(self) -> str:
        """The chain's name."""
        ...

    @property
    def seq(self) -> int:
        """Its number in the chain."""
        ...

    @property
    def prev(self) -> str:
        """Hex SHA-256 of the payload before it."""
        ...


def check_link(head: ChainHead, record: Link) -> None:
    """Check that a record goes exactly here.

    Raises:
        ChainBroken: a record before it is missing, it stands here twice, or its predecessor was another one.
    """
    if record.seq != head.next_seq:
        what = (
            "a record before it is missing"
            if record.seq > head.next_seq
            else "it is repeated or out of order"
        )
        raise ChainBroken(
            f"got seq {record.seq} in the chain {record.chain}, expected {head.next_seq}: {what}",
            chain=record.chain,
            seq=record.seq,
        )
    if record.prev != head.prev:
        raise ChainBroken(
            f"got seq {record.seq} of the chain {record.chain} with prev {record.prev[:16]}..., expected"
            f" {head.prev[:16]}...: its predecessor was another record",
            chain=record.chain,
            seq=record.seq,
        )
