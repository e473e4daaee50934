"""Kafka transactions of one partition: fence, commit, and a named way out of everything that can go wrong.

Rules upheld here: one transaction at a time; it holds everything about its inputs, their offsets included; nothing slow
happens inside it. What ends a commit, and what that means:

=========================  ==================================================================================
`PartitionFenced`          another producer has our transactional id, or the broker ended a transaction that
                           took longer than its time-out: what we hold is void, the new owner has it
`ReopenPartition`          not known whether it committed, or the producer is beyond use (an unknown producer
                           id, numbers out of order, a state that the client asserts): a new one finds out
`NotAuthorized`            an ACL is missing; trying again does not help
`RecordTooLarge`           a topic accepts smaller records than we must write
`TopicMissing`             a topic of ours was deleted
aborted, then again        everything else that is retryable: coordinators that move, leaders that change
=========================  ==================================================================================

Not here: what is written (`outputs.py`), when (`partition.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jurat.schemas.errors import (
    NotAuthorized,
    PartitionFenced,
    RecordTooLarge,
    ReopenPartition,
    Retryable,
    StreamError,
    TopicMissing,
)
from jurat.streams.kafka import (
    AIOKafkaProducer,
    Connection,
    OffsetAndMetadata,
    TopicPartition,
    in_our_words,
    partition_of_key,
    stop_quietly,
    transactional_producer,
)
from jurat.streams.metrics import Meters

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 900_000
"""Records are written in batches of at most this size: below Kafka's default limit for one (`message.max.bytes`,
1,048,588). A record that is larger by itself has a batch of its own, and a topic that takes it."""

ATTEMPTS: Final = 5
BACKOFF_S: Final = 0.2
"""Doubled with each abort: six seconds in all, longer than a leader's election takes."""


@dataclass(frozen=True, slots=True)
class Output:
    """A record to be written; the partition follows from the key where it is None."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Transactions:
    """The transactional producer of one partition.

    Args:
        connection: the cluster and namespace.
        transactional_id: without namespace; whoever starts with it last is the owner.
        group: the consumer group, without namespace.
        meters: counts aborts.

    Attributes:
        transactional_id: as given.
    """

    def __init__(self, connection: Connection, *, transactional_id: str, group: str, meters: Meters) -> None:
        self._connection = connection
        self.transactional_id = transactional_id
        self._group = connection.group(group)
        self._meters = meters
        self._producer: AIOKafkaProducer | None = None

    async def fence(self) -> None:
        """Become the owner: abort what a predecessor left open, refuse whatever it still tries.

        Raises:
            StreamError: Kafka refused.
        """
        self._producer = transactional_producer(self._connection, transactional_id=self.transactional_id)
        with in_our_words(self._connection):
            await self._producer.start()

    async def stop(self) -> None:
        """Stop the producer; an open transaction is left to the next owner."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_quietly(producer)

    async def commit(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        """Write everything and move the offsets, or nothing.

        Args:
            outputs: the records, in the order of each partition.
            offsets: per input partition the lowest offset not done, and its map.

        Raises:
            PartitionFenced: see the table above; the same holds for the others.
            ReopenPartition: as above.
            NotAuthorized: as above.
            RecordTooLarge: as above.
            TopicMissing: as above.
        """
        for attempt in range(ATTEMPTS):
            try:
                await self._transaction(outputs, offsets)
            except AssertionError as error:
                # The client asserts its own states: after a fatal error it can neither abort nor begin.
                raise ReopenPartition(
                    f"the client gave up its transaction of {self.transactional_id}"
                ) from error
            except (PartitionFenced, ReopenPartition, NotAuthorized, RecordTooLarge, TopicMissing):
                raise
            except StreamError as error:
                if not isinstance(error, Retryable):
                    # Not a fault that goes away in this producer: a new one fences, and finds out where we are.
                    raise ReopenPartition(
                        f"a transaction of {self.transactional_id} was refused: {error}"
                    ) from error
                self._meters.aborted(type(error).__name__)
                log.warning(
                    "transaction aborted id=%s attempt=%d: %s", self.transactional_id, attempt + 1, error
                )
                await asyncio.sleep(BACKOFF_S * 2**attempt)
            else:
                return
        raise ReopenPartition(f"the transaction of {self.transactional_id} was aborted {ATTEMPTS} times")

    async def _transaction(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        producer = self._producer
        if producer is None:
            raise PartitionFenced(f"{self.transactional_id} was closed while a batch was in work")
        with in_our_words(self._connection):
            await self._begin(producer)
        try:
            with in_our_words(self._connection):
                written = await self._write(producer, outputs)
                await self._move_offsets(producer, offsets)
                await asyncio.gather(*written)
        except PartitionFenced:
            raise
        except StreamError:
            await self._abort(producer)
            raise
        try:
            with in_our_words(self._connection):
                await self._end(producer)
        except PartitionFenced:
            raise
        except StreamError as error:
            raise ReopenPartition(
                f"the commit of {self.transactional_id} was not confirmed: {error}"
            ) from error

    async def _begin(self, producer: AIOKafkaProducer) -> None:
        await producer.begin_transaction()

    async def _move_offsets(
        self, producer: AIOKafkaProducer, offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        moved = {partition: OffsetAndMetadata(*place) for partition, place in offsets.items()}
        await producer.send_offsets_to_transaction(moved, self._group)

    async def _end(self, producer: AIOKafkaProducer) -> None:
        await producer.commit_transaction()

    async def _abort(self, producer: AIOKafkaProducer) -> None:
        try:
            with in_our_words(self._connection):
                await producer.abort_transaction()
        except PartitionFenced:
            raise
        except StreamError as error:
            raise ReopenPartition(
                f"a transaction of {self.transactional_id} could not be aborted: {error}"
            ) from error

    async def _write(
        self, producer: AIOKafkaProducer, outputs: Sequence[Output]
    ) -> list[asyncio.Future[object]]:
        """Hand the records to the client, a batch at a time: one future each costs more than writing them."""
        by_partition: dict[tuple[str, int], list[Output]] = {}
        counts: dict[str, int] = {}
        for output in outputs:
            number = output.partition
            if number is None:
                if output.topic not in counts:
                    counts[output.topic] = len(await producer.partitions_for(output.topic))
                number = partition_of_key(output.key, counts[output.topic])
            by_partition.setdefault((output.topic, number), []).append(output)
        sent: list[asyncio.Future[object]] = []
        for (topic, number), records in by_partition.items():
            for batch in _batches(records):
                builder = producer.create_batch()
                for one in batch:
                    if (
                        builder.append(
                            timestamp=None, key=one.key, value=one.value, headers=list(one.headers)
                        )
                        is None
                    ):
                        raise RecordTooLarge(
                            f"got a record of {_size(one)} bytes for {topic}, which is more than this client writes",
                            topic=topic,
                        )
                future = await producer.send_batch(builder, topic, partition=number)
                # Its error is looked at here too: when an earlier step fails, nobody else does.
                future.add_done_callback(lambda done: done.cancelled() or done.exception())
                sent.append(future)
        return sent


def _batches(records: Sequence[Output]) -> list[list[Output]]:
    batches: list[list[Output]] = []
    room = 0
    for one in records:
        size = _size(one)
        if size > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(one)
        room -= size
    return batches


def _size(one: Output) -> int:
    """Bytes of a record in a batch, from above: what the framing takes is at most some tens of bytes."""
    headers = sum(len(name) + len(value) + 10 for name, value in one.headers)
    return len(one.key or b"") + len(one.value or b"") + headers + 70
