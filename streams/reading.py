"""Reading topics without a group: partitions assigned by hand, `read_committed`, from the beginning or from now.

The one loop behind replay, subscriptions, tables and state restore: it knows when it has caught up, control records and
compaction gaps included, because it compares positions with end offsets and never counts records; and it lets the event
loop turn while it hands out what it has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from jurat.schemas.errors import BrokerUnreachable, TopicMissing
from jurat.streams.kafka import (
    AIOKafkaConsumer,
    Connection,
    KafkaRecord,
    TopicPartition,
    admin_client,
    describe_topic_partitions,
    in_our_words,
    record_of,
    stop_quietly,
    table_consumer,
)

log = logging.getLogger(__name__)

POLL_MS: Final = 200
STALL_S: Final = 60.0
"""A reading that gets nowhere for this long will not get anywhere."""

MAX_POLL_RECORDS: Final = 2_000
"""Records taken from the client at once; bounds what a slow caller holds twice."""

YIELD_EVERY: Final = 100
"""Records handed out between two turns of the event loop: some 10 ms of folding."""

TELL_EVERY_S: Final = 5.0
"""A long reading says this often how far it is: what is silent for longer is taken for dead."""


class Progress:
    """How far a reading is: told by `read_to_end`, logged every few seconds while it lasts.

    Args:
        what: what is read, for the log.

    Attributes:
        passed: offsets behind it; control records and gaps of compaction count, so that it ends at `total`.
        total: offsets that stood there when the reading began; 0 before that is known.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._told = time.monotonic()
        self.passed = 0
        self.total = 0

    def __call__(self, passed: int, total: int) -> None:
        """Take a report."""
        self.passed, self.total = passed, total
        if time.monotonic() - self._told >= TELL_EVERY_S:
            self._told = time.monotonic()
            log.info("reading %s: offset %d of %d after %.0f s", self._what, passed, total, self.elapsed_s)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the reading began."""
        return time.monotonic() - self._began


async def partitions_of(connection: Connection, topics: Sequence[str]) -> tuple[TopicPartition, ...]:
    """All partitions of these topics (full names).

    Raises:
        TopicMissing: one of them does not exist; the message names it.
    """
    async with admin_client(connection) as client:
        found = await describe_topic_partitions(client, topics)
    missing = sorted(set(topics) - set(found))
    if missing:
        raise TopicMissing(
            f"got the topics {', '.join(missing)} to read, but there are none at {connection.bootstrap_servers};"
            " run `jurat topics apply`, or check the namespace",
            topics=missing,
        )
    return tuple(TopicPartition(topic, number) for topic in topics for number in range(found[topic]))


async def start_reader(connection: Connection, partitions: Iterable[TopicPartition]) -> AIOKafkaConsumer:
    """A started consumer that holds these partitions; the caller stops it."""
    consumer = table_consumer(connection)
    try:
        with in_our_words(connection):
            await consumer.start()
    except BaseException:  # a cancelled start too: the client complains of what is left open
        await stop_quietly(consumer)
        raise
    consumer.assign(list(partitions))
    return consumer


async def positions_reached(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    """Tell whether everything before these end offsets has been taken from the client."""
    for partition, end in ends.items():
        if await consumer.position(partition) < end:
            return False
    return True


async def all_taken(
    connection: Connection, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> bool:
    """Tell whether all that stands on these partitions now has been taken from the client.

    Silence alone may be a broker that is slow: only the positions tell. False, too, when no broker answers.
    """
    try:
        with in_our_words(connection):
            return not partitions or await positions_reached(consumer, await consumer.end_offsets(partitions))
    except BrokerUnreachable:
        return False


async def read_to_end(
    connection: Connection,
    partitions: Sequence[TopicPartition],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> AsyncGenerator[KafkaRecord, None]:
    """Yield what stands in these partitions, up to the end that they have now.

    The order is that of the offsets within each partition; partitions come interleaved.

    Args:
        connection: the cluster.
        partitions: what to read.
        progress: is told (offsets passed, offsets in all): often while the reading lasts, and at last that it is over.

    Raises:
        BrokerUnreachable: it got nowhere for a while.
        TopicMissing: there is nothing to read.
    """
    if not partitions:
        return
    consumer = await start_reader(connection, partitions)
    try:
        begins, ends = await _bounds(connection, consumer, partitions)
        with in_our_words(connection):
            for partition in partitions:
                consumer.seek(partition, begins[partition])
            open_ends = {p: end for p, end in ends.items() if begins[p] < end}
            total = sum(end - begins[p] for p, end in open_ends.items())
            records = 0
            watch = _Watch(connection, open_ends)
            while not await positions_reached(consumer, open_ends):
                taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
                passed = sum([min(await consumer.position(p), ends[p]) - begins[p] for p in open_ends])
                watch.see(passed)
                for partition, found in taken.items():
                    for record in found:
                        if record.offset < ends[partition]:
                            records += 1
                            yield record_of(record)
                            if not records % YIELD_EVERY:
                                await asyncio.sleep(0)
                if progress is not None:
                    progress(passed, total)
            if progress is not None:
                progress(total, total)
    finally:
        await stop_quietly(consumer)


async def _bounds(
    connection: Connection, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Where partitions begin and end."""
    try:
        with in_our_words(connection):
            ends = await consumer.end_offsets(list(partitions))
            return await consumer.beginning_offsets(list(partitions)), ends
    except BrokerUnreachable:
        # The client asks for a topic that is gone until its time is up.
        await partitions_of(connection, sorted({partition.topic for partition in partitions}))
        raise


class _Watch:
    """Ends a reading that gets nowhere."""

    def __init__(self, connection: Connection, ends: Mapping[TopicPartition, int]) -> None:
        self._connection = connection
        self._topics = ", ".join(sorted({partition.topic for partition in ends}))
        self._seen = -1
        self._at = time.monotonic()

    def see(self, passed: int) -> None:
        if passed != self._seen:
            self._seen, self._at = passed, time.monotonic()
        elif time.monotonic() - self._at > STALL_S:
            raise BrokerUnreachable(
                f"got nothing more of {self._topics} for {STALL_S:.0f} s, though it does not end here; a partition"
                " may be without a leader",
                bootstrap_servers=self._connection.bootstrap_servers,
            )


async def record_at(connection: Connection, partition: TopicPartition, offset: int) -> KafkaRecord | None:
    """The record at an offset; None where none stands there any more.

    Raises:
        BrokerUnreachable: its leader does not answer.
    """
    consumer = await start_reader(connection, [partition])
    try:
        begins, ends = await _bounds(connection, consumer, [partition])
        if not begins[partition] <= offset < ends[partition]:
            return None
        consumer.seek(partition, offset)
        watch = _Watch(connection, ends)
        while await consumer.position(partition) <= offset:
            with in_our_words(connection):
                taken = await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=1)
            for record in taken.get(partition, ()):
                return record_of(record) if record.offset == offset else None
            watch.see(await consumer.position(partition))
        return None
    finally:
        await stop_quietly(consumer)


async def replay(connection: Connection, topics: Sequence[str]) -> AsyncGenerator[KafkaRecord, None]:
    """Yield everything that stands on these topics (full names) now, oldest first within each partition."""
    partitions = await partitions_of(connection, topics)
    async with aclosing(read_to_end(connection, partitions)) as records:
        async for record in records:
            yield record
