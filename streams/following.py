"""Following partitions: one consumer for a set of them that changes while it goes on.

Rules upheld here: each record of a followed partition is handed over once, from the offset that was named on; a record
of a partition that is no longer followed is not handed over; what ends the following is kept for those who wait, never
swallowed. Not here: reading what stands there already (`reading.py`), and what a record means (`tables.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

from jurat.schemas.errors import JuratError, StreamError
from jurat.streams.kafka import (
    AIOKafkaConsumer,
    Connection,
    KafkaRecord,
    TopicPartition,
    in_our_words,
    record_of,
    stop_quietly,
)
from jurat.streams.reading import MAX_POLL_RECORDS, POLL_MS, YIELD_EVERY, start_reader


class Follower:
    """Hands over what comes on partitions, in the background.

    Args:
        connection: the cluster.
        take: gets each record, in the event loop.
        what: what is followed, for messages.
    """

    def __init__(self, connection: Connection, take: Callable[[KafkaRecord], None], *, what: str) -> None:
        self._connection = connection
        self._take = take
        self._what = what
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._next: dict[TopicPartition, int] = {}
        self._changed = False
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()

    async def start(self) -> None:
        """Connect; nothing is followed yet."""
        self._consumer = await start_reader(self._connection, ())
        self._task = asyncio.create_task(self._follow(self._consumer), name=f"following {self._what}")

    async def stop(self) -> None:
        """Follow nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._consumer is not None:
            await stop_quietly(self._consumer)
            self._consumer = None
        self._next.clear()

    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where these partitions end now, followed or not.

        Raises:
            BrokerUnreachable: no broker tells.
            StreamError: the follower was stopped.
        """
        if self._consumer is None:
            raise StreamError(f"{self._what}: not followed any more")
        with in_our_words(self._connection):
            ends: dict[TopicPartition, int] = await self._consumer.end_offsets(list(partitions))
        return ends

    def add(self, starts: Mapping[TopicPartition, int]) -> None:
        """Follow these partitions too, from these offsets on."""
        self._next.update(starts)
        self._change()

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Follow these partitions no more; none of their records comes after this."""
        for partition in partitions:
            self._next.pop(partition, None)
        self._change()

    async def caught_up(self, partitions: Collection[TopicPartition], timeout_s: float) -> bool:
        """Wait until everything that stands on these partitions now was handed over.

        Returns:
            False when that took longer than `timeout_s`.

        Raises:
            StreamError: they are not followed, or not any more.
        """
        try:
            async with asyncio.timeout(timeout_s):
                ends = await self.ends(partitions)
                while True:
                    self.raise_failure()
                    self._moved.clear()
                    if all(self._position(partition) >= end for partition, end in ends.items()):
                        return True
                    await self._moved.wait()
        except TimeoutError:
            return False

    @property
    def failure(self) -> BaseException | None:
        """What ended the following, None while it goes on."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def raise_failure(self) -> None:
        """Raise what ended the following, in our words."""
        failure = self.failure
        if isinstance(failure, JuratError):
            raise failure
        if failure is not None:
            raise StreamError(
                f"{self._what} cannot be followed: folding failed with {type(failure).__name__}"
            ) from failure

    def _position(self, partition: TopicPartition) -> int:
        try:
            return self._next[partition]
        except KeyError:
            raise StreamError(
                f"{partition.topic}, partition {partition.partition}, is not followed; it was given up",
                topic=partition.topic,
                partition=partition.partition,
            ) from None

    def _change(self) -> None:
        self._changed = True
        self._wake.set()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        try:
            with in_our_words(self._connection):
                while True:
                    if self._changed:
                        self._assign(consumer)
                    if not self._next:
                        self._wake.clear()
                        await self._wake.wait()
                        continue
                    taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
                    await self._hand_over(taken)
                    await self._note_positions(consumer)
                    self._moved.set()
        finally:
            # Who waits hears of the end too; one turn later, when the task is done.
            asyncio.get_running_loop().call_soon(self._moved.set)

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        """Take up the present set; what the client had fetched of the former one is fetched again."""
        self._changed = False
        self._moved.set()  # who waits for a partition that was removed hears of it
        consumer.assign(list(self._next))
        for partition, offset in self._next.items():
            consumer.seek(partition, offset)

    async def _hand_over(self, taken: Mapping[TopicPartition, list[object]]) -> None:
        handed = 0
        for partition, records in taken.items():
            for one in records:
                record = record_of(one)
                # Not followed any more, or anew from further on: somebody else has read it.
                if record.offset < self._next.get(partition, record.offset + 1):
                    continue
                self._take(record)
                self._next[partition] = record.offset + 1
                handed += 1
                if not handed % YIELD_EVERY:
                    await asyncio.sleep(0)

    async def _note_positions(self, consumer: AIOKafkaConsumer) -> None:
        """Control records and gaps of compaction move the position too."""
        for partition in list(self._next):
            if self._changed:
                return  # the client's positions are those of the former set
            position = await consumer.position(partition)
            if not self._changed:  # else it may be followed no more, or from elsewhere
                self._next[partition] = max(self._next[partition], position)
