"""The values that move between reader, verifier and export: entries of the log, heads of its trees, faults.

A log is one Kafka topic; each of its partitions is one tree, whose leaves are the partition's records in the
order that a `read_committed` reader sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from jurat.audit.merkle import leaf_hash, record_leaf
from jurat.schemas import b64
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import ConfigurationError

_TREE_HEAD = re.compile(r"(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,15}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; the parts that are not known are None."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        named = (
            ("topic", self.topic),
            ("partition", self.partition),
            ("offset", self.offset),
            ("line", self.line),
        )
        return ", ".join(f"{name} {value}" for name, value in named if value is not None) or "the whole log"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record of the audit topic with its coordinates; `line` where it was read from a file."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    record: SignedRecord
    line: int | None = None

    @property
    def place(self) -> Place:
        """Its coordinates."""
        return Place(self.topic, self.partition, self.offset, self.line)

    def leaf_entry(self, payload_sha256: str | None = None) -> bytes:
        """What is hashed into the log's tree; a record has one signature, and only the first counts here.

        Args:
            payload_sha256: of its payload in hex, from who knows it already.
        """
        signature = self.record.signatures[0]
        return record_leaf(
            keyid=signature.keyid,
            payload_sha256=payload_sha256 or sha256(self.record.payload).hexdigest(),
            payload_type=self.record.payload_type,
            sig=b64.encode(signature.sig),
        )

    def leaf(self, payload_sha256: str | None = None) -> bytes:
        """The leaf hash of this entry; takes what `leaf_entry` takes."""
        return leaf_hash(self.leaf_entry(payload_sha256))


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Size and root of one partition's tree.

    Who noted it can tell later whether the log still begins like that.
    """

    partition: int
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.partition}:{self.size}:{self.root.hex()}"


@dataclass(frozen=True, slots=True)
class WitnessedHead:
    """A head that a quorum of witnesses vouched for.

    Attributes:
        partition: whose tree it is.
        size: how many leaves it has.
        root: its root, 32 bytes.
        time: when the quorum was complete, in seconds since 1970; None where no witness is asked for.
    """

    partition: int
    size: int
    root: bytes
    time: int | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not hold, and where; `check` is the number of the verifier's check that found it."""

    place: Place
    reason: str
    check: int | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def parse_tree_head(text: str) -> TreeHead:
    """Read `PARTITION:SIZE:ROOT`, the root as 64 lower-case hex digits.

    Raises:
        ConfigurationError: not of that form.
    """
    match = _TREE_HEAD.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"got the tree head {text[:120]!r}, expected PARTITION:SIZE:ROOT, root as 64 hex digits"
        )
    partition, size, root = match.groups()
    return TreeHead(int(partition), int(size), bytes.fromhex(root))
