"""Inputs that wait to be tried again, with everything of their key behind them.

A failure that may pass must hold up nobody else: the input's bytes, its count of failures and the moment of the next
try become state, its offset counts as done, and whatever comes for the same key is put behind it, in order. So a
poison key costs the partition neither its place in the offset map nor its other keys, and the count survives a crash.

Rules upheld here: the order of a key is the order in which it was parked; what is parked is bounded (the caller stops
its intake at `full`). Not here: how long to wait (`retries.py`), committing the entries (`partition.py`).
"""

from __future__ import annotations

import base64
import heapq
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from jurat.schemas import canonical
from jurat.schemas.model import Count, Model, Timestamp
from jurat.streams import topics
from jurat.streams.kafka import KafkaRecord

MAX_PARKED_RECORDS: Final = 10_000
MAX_PARKED_BYTES: Final = 32 * 1024 * 1024
"""What one partition may have parked before it takes nothing more: it is held in memory and read at every restart. What
was taken before can still be parked, so that an outage rejects nobody early."""

MAX_RECORD_BYTES: Final = 1024 * 1024
"""The largest input that is parked, headers included: above Kafka's default limit for a record, and what is in base64
still fits the changelog's. A larger one is not retried."""

MAX_ENTRY_BYTES: Final = topics.PARKED_MAX_BYTES - 64 * 1024
"""The largest entry of an input that is parked. A header's name is printed as JSON, where a control character takes six
bytes. The rest is for the entry's key, Kafka's own framing, and a count and a moment that grow with each attempt."""

MAX_HEADERS: Final = 1_000
"""More of them are no envelope; each takes some bytes of its own in the changelog's entry."""

Lane = bytes | None
"""The record key that orders inputs; records without one share a lane."""


class _Entry(Model):
    attempt: Count
    due: Timestamp | None
    order: Count
    timestamp_ms: Count
    key: str | None
    value: str | None
    headers: Annotated[tuple[tuple[str, str], ...], Field(max_length=MAX_HEADERS)]


@dataclass(frozen=True, slots=True)
class Parked:
    """An input that waits.

    Attributes:
        attempt: how often it failed; 0 for one that only waits behind another.
        due: when to try it; None as soon as what is before it has ended.
        order: its place among everything that this partition has parked.
    """

    record: KafkaRecord
    attempt: int
    due: datetime | None
    order: int

    @property
    def suffix(self) -> str:
        """Its entry's key in the changelog, below the prefix."""
        return f"{self.record.topic}/{self.record.offset}"

    def printed(self) -> bytes:
        """Its entry's value in the changelog."""
        entry = _Entry(
            attempt=self.attempt,
            due=self.due,
            order=self.order,
            timestamp_ms=min(max(self.record.timestamp_ms, 0), canonical.MAX_INTEGER),  # publishers stamp it
            key=as_text(self.record.key),
            value=as_text(self.record.value),
            headers=tuple([(name, as_text(value) or "") for name, value in self.record.headers]),
        )
        return canonical.dumps(entry.model_dump(mode="json"))


def fits(record: KafkaRecord) -> bool:
    """Whether an input is small enough to become state; what does not fit the changelog would end the worker."""
    if len(record.headers) > MAX_HEADERS or record.size > MAX_RECORD_BYTES:
        return False
    return len(Parked(record, attempt=0, due=None, order=0).printed()) <= MAX_ENTRY_BYTES


class Parking:
    """What one partition has parked, by lane."""

    def __init__(self, *, partition: int) -> None:
        self._partition = partition
        self._lanes: dict[Lane, deque[Parked]] = {}
        self._heap: list[tuple[datetime, int, Lane]] = []
        self._in_work: set[Lane] = set()
        self._order = 0
        self._places: set[tuple[str, int]] = set()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, place: tuple[str, int]) -> bool:
        return place in self._places

    @property
    def full(self) -> bool:
        """Whether nothing more may be parked."""
        return len(self._places) >= MAX_PARKED_RECORDS or self._bytes >= MAX_PARKED_BYTES

    def holds(self, lane: Lane) -> bool:
        """Whether inputs of this lane must wait behind what is parked."""
        return lane in self._lanes

    def park(self, record: KafkaRecord, *, attempt: int = 0, due: datetime | None = None) -> Parked:
        """Put an input at the end of its lane."""
        parked = Parked(record, attempt, due, self._order)
        self._put(parked)
        return parked

    def again(self, lane: Lane, *, attempt: int, due: datetime) -> Parked:
        """The first of a lane failed once more."""
        queue = self._lanes[lane]
        queue[0] = replace(queue[0], attempt=attempt, due=due)
        self._in_work.discard(lane)
        heapq.heappush(self._heap, (due, queue[0].order, lane))
        return queue[0]

    def end(self, lane: Lane) -> Parked:
        """The first of a lane has ended; the next one, if any, is due."""
        queue = self._lanes[lane]
        ended = queue.popleft()
        self._places.discard((ended.record.topic, ended.record.offset))
        self._bytes -= ended.record.size
        self._in_work.discard(lane)
        if not queue:
            del self._lanes[lane]
        return ended

    def take_due(self, now: datetime) -> list[Parked]:
        """The first ones of lanes that are due; they are in work until `again` or `end`."""
        due: list[Parked] = []
        while self._heap and self._heap[0][0] <= now:
            _at, order, lane = heapq.heappop(self._heap)
            head = self._lanes[lane][0] if lane in self._lanes else None
            if head is not None and head.order == order and lane not in self._in_work:
                self._in_work.add(lane)
                due.append(head)
        return due

    def take_next(self, lane: Lane) -> Parked | None:
        """The next one of a lane whose first has ended; it is in work then."""
        if lane not in self._lanes or lane in self._in_work:
            return None
        self._in_work.add(lane)
        return self._lanes[lane][0]

    @property
    def next_due(self) -> datetime | None:
        """When the earliest is due."""
        return self._heap[0][0] if self._heap else None

    def restore(self, suffix: str, value: bytes | None, entries: dict[str, Parked]) -> None:
        """Collect an entry of the changelog; `restored` takes them over.

        Raises:
            ValidationError: it is not one of ours.
            ValueError: it is not one of ours.
        """
        if value is None:
            entries.pop(suffix, None)
            return
        entry = _Entry.model_validate_json(value)
        topic, offset = suffix.rsplit("/", 1)
        record = KafkaRecord(
            topic=topic,
            partition=self._partition,
            offset=int(offset),
            timestamp_ms=entry.timestamp_ms,
            key=as_bytes(entry.key),
            value=as_bytes(entry.value),
            headers=tuple([(name, as_bytes(text) or b"") for name, text in entry.headers]),
        )
        entries[suffix] = Parked(record, entry.attempt, entry.due, entry.order)

    def restored(self, entries: dict[str, Parked], *, now: datetime) -> None:
        """Take over what the changelog held at its end; what waited behind nothing is due now."""
        for parked in sorted(entries.values(), key=lambda one: one.order):
            first = parked.record.key not in self._lanes
            self._put(replace(parked, due=parked.due or now) if first else parked)

    def _put(self, parked: Parked) -> None:
        lane = parked.record.key
        self._order = max(self._order, parked.order) + 1
        self._lanes.setdefault(lane, deque()).append(parked)
        self._places.add((parked.record.topic, parked.record.offset))
        self._bytes += parked.record.size
        if parked.due is not None:
            heapq.heappush(self._heap, (parked.due, parked.order, lane))


def as_text(raw: bytes | None) -> str | None:
    """Bytes as the changelog holds them, in base64."""
    return None if raw is None else base64.b64encode(raw).decode()


def as_bytes(text: str | None) -> bytes | None:
    """What `as_text` was given.

    Raises:
        ValueError: it is no base64.
    """
    return None if text is None else base64.b64decode(text, validate=True)
