"""What a worker holds and works on: lanes per key, and one budget for all of its partitions.

Rules upheld here: inputs of one key are decided one after the other, in the order of their offsets; keys run beside
each other; a worker has at most `max_in_flight` decisions in work and holds at most so many records and bytes. Above
that it pauses its partitions, below a low-water mark it goes on. Not here: offsets (`offsets.py`), Kafka.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from jurat.streams.kafka import KafkaRecord
from jurat.streams.parking import Lane

MAX_IN_FLIGHT: Final = 1_000
"""Decisions in work at once, unless the worker is told otherwise: a model server has its own limit, which is lower."""

MIN_HELD_RECORDS: Final = 4_000
HELD_PER_IN_FLIGHT: Final = 2
"""Records held: enough beside those in work that a commit never finds the next ones missing."""

MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""Of all partitions of a worker together."""

RECORD_OVERHEAD_BYTES: Final = 1_000
"""A record's headers and objects, beside its key and value."""

TURN_S: Final = 0.01
"""How long deciding may keep the event loop from turning, all partitions together: a transaction and a heartbeat take
some ten turns each, and share them with as much signing."""

LOW_WATER: Final = 0.5
"""Resume when what is held has drained to this share: often enough to keep busy, seldom enough not to flap."""


@dataclass(slots=True)
class Work:
    """An input on its way.

    Attributes:
        attempt: how often it failed before.
        parked: whether it comes from the parking, so that its offset is done already.
        since: when it was taken into work, by the event loop's clock; 0 before.
    """

    record: KafkaRecord
    attempt: int = 0
    parked: bool = False
    since: float = 0.0

    @property
    def lane(self) -> Lane:
        """What orders it."""
        return self.record.key


class Lanes:
    """Inputs by key: of each key the first may be taken, the others wait."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, deque[Work]] = {}
        self._ready: deque[Lane] = deque()
        self._busy: set[Lane] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def ready(self) -> bool:
        """Whether something can be taken now."""
        return bool(self._ready)

    def add(self, work: Work) -> None:
        """Put an input behind those of its key."""
        queue = self._waiting.get(work.lane)
        if queue is None:
            queue = self._waiting[work.lane] = deque()
            if work.lane not in self._busy:
                self._ready.append(work.lane)
        queue.append(work)
        self._count += 1

    def take(self) -> Work | None:
        """The first input of the key that has waited longest; its key is busy until `release`."""
        if not self._ready:
            return None
        lane = self._ready.popleft()
        queue = self._waiting[lane]
        work = queue.popleft()
        if not queue:
            del self._waiting[lane]
        self._busy.add(lane)
        self._count -= 1
        return work

    def release(self, lane: Lane) -> None:
        """The input of this key has ended: the next one may be taken."""
        self._busy.discard(lane)
        if lane in self._waiting:
            self._ready.append(lane)

    def drain(self, lane: Lane) -> list[Work]:
        """Take everything that waits in a busy lane."""
        queue = self._waiting.pop(lane, deque())
        self._count -= len(queue)
        return list(queue)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()
        self._ready.clear()
        self._count = 0


class Budget:
    """What all partitions of a worker may hold and work on together.

    Args:
        max_in_flight: decisions in work at once.

    Attributes:
        max_records: how many records each partition may hold.
        partitions: how many share the bytes.
    """

    def __init__(self, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self.max_in_flight = max_in_flight
        self.max_records = max(MIN_HELD_RECORDS, HELD_PER_IN_FLIGHT * max_in_flight)
        self.in_flight = 0
        self.bytes = 0
        self.partitions = 1
        self._starved: deque[Callable[[], None]] = deque()

    def full(self, records: int, size: int) -> bool:
        """Whether a partition that holds this much must be paused.

        When all of them together hold too many bytes, those do that hold more than their share.
        """
        too_much = self.bytes >= MAX_HELD_BYTES and size >= MAX_HELD_BYTES / max(self.partitions, 1)
        return records >= self.max_records or too_much

    def drained(self, records: int, size: int) -> bool:
        """Whether a paused partition that holds this much may be resumed."""
        share = MAX_HELD_BYTES * LOW_WATER / max(self.partitions, 1)
        enough = self.bytes <= MAX_HELD_BYTES * LOW_WATER or size <= share
        return records <= self.max_records * LOW_WATER and enough

    @property
    def slice_s(self) -> float:
        """How long one partition may work before it lets the event loop turn."""
        return TURN_S / max(self.partitions, 1)

    @property
    def starved(self) -> bool:
        """Whether a partition waits for a place."""
        return bool(self._starved)

    def start(self, retry: Callable[[], None]) -> bool:
        """Take a place for a decision; when there is none, `retry` is called once there is."""
        if self.in_flight >= self.max_in_flight:
            if retry not in self._starved:
                self._starved.append(retry)
            return False
        self.in_flight += 1
        return True

    def end(self) -> None:
        """Give a place back, to the partition that has waited longest and still has a use for it."""
        self.in_flight -= 1
        while self._starved and self.in_flight < self.max_in_flight:
            self._starved.popleft()()

    def forget(self, retry: Callable[[], None]) -> None:
        """A partition waits no longer."""
        if retry in self._starved:
            self._starved.remove(retry)

    def hold(self, record: KafkaRecord) -> int:
        """A record came in; returns what it counts for, in bytes."""
        size = size_of(record)
        self.bytes += size
        return size

    def release(self, size: int) -> None:
        """Records of this size in all are committed, parked or dropped."""
        self.bytes -= size


def size_of(record: KafkaRecord) -> int:
    """What a record costs in memory, roughly, in bytes."""
    return record.size + RECORD_OVERHEAD_BYTES
