"""Events that came before: which (CloudEvents source, id) pairs of one partition ended, within a window.

Publishers deliver at least once, so an event may stand on a topic twice. The first one that ends is remembered; a
repeat of it is told where it stands, and is not decided again.

Rules upheld here:

1. A repeat is an event of the same source and id whose Kafka timestamp is at most `window_s` from the remembered one's,
   before or after: clocks of publishers differ, and a backfill stamps the past.
2. The pair is hashed with its lengths, so that no two pairs are one by concatenation.
3. The changelog gets one entry per transaction. A batch leaves as a whole, by a tombstone: when all of it is older by
   more than the window than the oldest input of the transaction that ends now, or when more than `max_ids` are held
   (the batch with the oldest latest timestamp first). So one record stamped far ahead drops nothing by itself as long
   as it shares its transaction with others.
4. What is held is exactly what the changelog holds, and what is not committed yet: restoring gives the same answers as
   going on would have, in whatever order the entries of different batches come.

Bounds: `max_ids` ids after a commit (a batch that is larger stays whole), and what one transaction adds before it. An
id costs about 250 bytes, so the default is 12 MB for a full partition. Not here: Kafka; which inputs are remembered
(those that did not end rejected, so that a dead letter can be replayed).
"""

from __future__ import annotations

import hashlib
import heapq
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Annotated, Final

from pydantic import Field, ValidationError

from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError, StreamError
from jurat.schemas.model import Count, Model

WINDOW_S: Final = 60 * 60.0
"""Longer than publishers retry (Kafka's `delivery.timeout.ms` is two minutes) and than most outboxes catch up in."""

MAX_IDS: Final = 50_000
"""An hour at fourteen events a second and partition, in about 12 MB; above that rate the window is shorter."""

MAX_BATCH_IDS: Final = 4_000
"""Ids in one entry of the changelog: 150 bytes each stay below Kafka's record limit of 1 MB."""

MAX_LEAVING: Final = 1_000
"""Batches that leave by age in one transaction: after a long silence the first one must not write tens of thousands."""

HASH_BYTES: Final = 16
"""128 bits: two of 50,000 pairs meet with a chance of 2**-97."""

_OFFSET: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_HELD: Final = struct.Struct(">qq32s")
_MEMBER: Final = struct.Struct(f">{HASH_BYTES}sq")


@dataclass(frozen=True, slots=True)
class Seen:
    """The first event of a pair.

    Attributes:
        offset: where it stands in the partition.
        sha256: digest of its value, in hex.
    """

    offset: int
    sha256: str


class _Entry(Model):
    ids: Annotated[
        tuple[
            tuple[
                Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")],
                Count,
                Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")],
                Annotated[int, Field(ge=-canonical.MAX_INTEGER, le=canonical.MAX_INTEGER)],
            ],
            ...,
        ],
        Field(min_length=1, max_length=MAX_BATCH_IDS),
    ]


@dataclass(frozen=True, slots=True)
class _Id:
    hash: bytes
    offset: int
    sha256: bytes
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """Ids that were committed together: how many, the latest timestamp, and hash and offset of each, packed."""

    count: int
    latest_ms: int
    members: bytes


class SeenWindow:
    """The pairs that one partition remembers.

    Args:
        window_s: how far apart, by their Kafka timestamps, two records of one event may be.
        max_ids: how many pairs are held at most.

    Raises:
        ConfigurationError: a bound is not positive.
    """

    def __init__(self, *, window_s: float = WINDOW_S, max_ids: int = MAX_IDS) -> None:
        if not (isfinite(window_s) and window_s > 0):
            raise ConfigurationError(f"got a window of {window_s} s, expected more than 0")
        if max_ids < 1:
            raise ConfigurationError(f"got a window of {max_ids} ids, expected at least 1")
        self._window_ms = int(window_s * 1000)
        self._max_ids = max_ids
        self._held: dict[bytes, bytes] = {}  # hash -> one `_HELD` per event, nearly always one
        self._batches: dict[int, _Batch] = {}  # by the first offset of each
        # A heap of (latest_ms, first offset); it may name batches that left.
        self._oldest: list[tuple[int, int]] = []
        self._in_batches = 0
        self._pending: list[_Id] = []
        self._flushed = 0  # how many of the pending ones the last flush wrote
        self._leaving: list[int] = []

    def __len__(self) -> int:
        return self._in_batches + len(self._pending)

    @property
    def last(self) -> Seen | None:
        """The event that stands last in the partition, of those that are held and committed."""
        ends = [
            (offset, name)
            for batch in self._batches.values()
            for name, offset in _MEMBER.iter_unpack(batch.members)
        ]
        if not ends:
            return None
        last, name = max(ends)
        return next(
            Seen(offset, digest.hex())
            for offset, _at_ms, digest in _HELD.iter_unpack(self._held[name])
            if offset == last
        )

    def first(self, source: str, event_id: str, *, timestamp_ms: int) -> Seen | None:
        """The event of this source and id that ended before, if it is held and in the window; the lowest offset."""
        held = self._held.get(pair_hash(source, event_id))
        if held is None:
            return None
        found = [
            (offset, digest)
            for offset, at_ms, digest in _HELD.iter_unpack(held)
            if abs(_bounded(timestamp_ms) - at_ms) <= self._window_ms
        ]
        if not found:
            return None
        offset, digest = min(found)
        return Seen(offset, digest.hex())

    def remember(self, source: str, event_id: str, *, offset: int, sha256: str, timestamp_ms: int) -> None:
        """Remember an event that ended; one that is known in its window changes nothing.

        Args:
            source: of the CloudEvents envelope.
            event_id: of the CloudEvents envelope.
            offset: where the record stands.
            sha256: digest of its value, 64 hex digits.
            timestamp_ms: of the record.
        """
        if self.first(source, event_id, timestamp_ms=timestamp_ms) is not None:
            return
        digest = bytes.fromhex(sha256)
        if len(digest) != hashlib.sha256().digest_size:
            raise StreamError(f"got a digest of {len(digest)} bytes for offset {offset}, expected a SHA-256")
        one = _Id(pair_hash(source, event_id), offset, digest, _bounded(timestamp_ms))
        self._hold(one)
        self._pending.append(one)

    def flush(self, done: Callable[[int], bool] = lambda _offset: True) -> list[tuple[str, bytes | None]]:
        """What the transaction must write below `seen/<topic>/`: what was remembered since, and what leaves.

        Called again before `committed`, it writes the same again, and what was remembered in between with it. More
        than `MAX_BATCH_IDS` ids become several entries.

        Args:
            done: whether the end of the input with this offset is in this transaction; what is not stays for a later
                one, so that no id is kept of an event whose end may yet be another.
        """
        self._pending.sort(key=lambda one: not done(one.offset))  # stable: what is written comes first
        self._flushed = sum(1 for one in self._pending if done(one.offset))
        pending = sorted(self._pending[: self._flushed], key=lambda one: one.offset)
        self._leaving = self._choose_leaving(pending)
        entries: list[tuple[str, bytes | None]] = [
            (str(chunk[0].offset), _printed(chunk)) for chunk in _chunks(pending)
        ]
        return [*entries, *((str(first), None) for first in self._leaving)]

    def committed(self) -> None:
        """The transaction with the last flush was committed."""
        for first in self._leaving:
            self._drop(first)
        kept, self._pending = self._pending[: self._flushed], self._pending[self._flushed :]
        for chunk in _chunks(sorted(kept, key=lambda one: one.offset)):
            self._add(chunk)
        self._flushed = 0
        self._leaving = []

    def restore(self, suffix: str, value: bytes | None) -> None:
        """Take an entry of the changelog, as `flush` wrote it.

        Raises:
            StreamError: it is not one of ours.
        """
        if _OFFSET.fullmatch(suffix) is None:
            raise StreamError(
                f"got an entry of seen ids named {suffix[:40]!r}, expected the offset of its first event"
            )
        first = int(suffix)
        if value is None:
            self._drop(first)
            return
        try:
            entry = _Entry.model_validate_json(value)
        except ValidationError as error:
            raise StreamError(
                f"got an entry of seen ids at {first} that this release cannot read; it was written by another"
                " release or by somebody else",
                offset=first,
            ) from error
        ids = [
            _Id(bytes.fromhex(name), offset, bytes.fromhex(digest), at_ms)
            for name, offset, digest, at_ms in entry.ids
        ]
        offsets = [one.offset for one in ids]
        if offsets[0] != first or any(a >= b for a, b in pairwise(offsets)):
            raise StreamError(
                f"got an entry of seen ids at {first} whose offsets do not rise from there", offset=first
            )
        self._drop(first)
        for one in ids:
            self._hold(one)
        self._add(ids)

    def _choose_leaving(self, pending: list[_Id]) -> list[int]:
        if not pending:
            return []
        horizon_ms = min(one.timestamp_ms for one in pending) - self._window_ms
        too_many = self._in_batches + len(pending) - self._max_ids
        chosen: list[int] = []
        passed: list[tuple[int, int]] = []  # put back at the end: an aborted transaction chooses again
        while self._oldest:
            latest_ms, first = self._oldest[0]
            batch = self._batches.get(first)
            if batch is None or batch.latest_ms != latest_ms or first in chosen[-1:]:
                heapq.heappop(self._oldest)
                continue
            by_age = latest_ms < horizon_ms and len(chosen) < MAX_LEAVING
            if too_many <= 0 and not by_age:
                break
            passed.append(heapq.heappop(self._oldest))
            chosen.append(first)
            too_many -= batch.count
        for each in passed:
            heapq.heappush(self._oldest, each)
        return chosen

    def _hold(self, one: _Id) -> None:
        held = _HELD.pack(one.offset, one.timestamp_ms, one.sha256)
        self._held[one.hash] = self._held.get(one.hash, b"") + held

    def _add(self, ids: list[_Id]) -> None:
        members = b"".join(_MEMBER.pack(one.hash, one.offset) for one in ids)
        batch = _Batch(len(ids), max(one.timestamp_ms for one in ids), members)
        self._batches[ids[0].offset] = batch
        self._in_batches += batch.count
        heapq.heappush(self._oldest, (batch.latest_ms, ids[0].offset))

    def _drop(self, first: int) -> None:
        batch = self._batches.pop(first, None)
        if batch is None:
            return
        self._in_batches -= batch.count
        for name, gone in _MEMBER.iter_unpack(batch.members):
            kept = [_HELD.pack(*held) for held in _HELD.iter_unpack(self._held[name]) if held[0] != gone]
            if kept:
                self._held[name] = b"".join(kept)
            else:
                del self._held[name]


def pair_hash(source: str, event_id: str) -> bytes:
    """Name a pair by 16 bytes of the SHA-256 over both in UTF-8, each behind its length in 4 bytes, big-endian."""
    digest = hashlib.sha256()
    for text in (source, event_id):
        raw = text.encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.digest()[:HASH_BYTES]


def _bounded(timestamp_ms: int) -> int:
    # Whoever produces a record stamps it; canonical JSON holds no larger number.
    return max(-canonical.MAX_INTEGER, min(timestamp_ms, canonical.MAX_INTEGER))


def _chunks(ids: list[_Id]) -> list[list[_Id]]:
    return [ids[start : start + MAX_BATCH_IDS] for start in range(0, len(ids), MAX_BATCH_IDS)]


def _printed(ids: list[_Id]) -> bytes:
    rows = [[one.hash.hex(), one.offset, one.sha256.hex(), one.timestamp_ms] for one in ids]
    return canonical.dumps({"ids": rows})
