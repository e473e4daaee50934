"""Reading topics without a group: partitions assigned by hand, `read_committed`, from the beginning or from now.

The one loop behind replay, subscriptions and state restore: it knows when it has caught up, control records and
compaction gaps included, because it compares positions with end offsets and never counts records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
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

POLL_MS: Final = 200
STALL_S: Final = 60.0
"""A reading that gets nowhere for this long will not get anywhere."""

MAX_POLL_RECORDS: Final = 2_000
"""Records taken from the client at once; bounds what a slow caller holds twice."""


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


async def read_to_end(
    connection: Connection, partitions: Sequence[TopicPartition]
) -> AsyncGenerator[KafkaRecord, None]:
    """Yield what stands in these partitions, up to the end that they have now.

    The order is that of the offsets within each partition; partitions come interleaved.
    """
    if not partitions:
        return
    consumer = await start_reader(connection, partitions)
    try:
        with in_our_words(connection):
            ends = await consumer.end_offsets(list(partitions))
            begins = await consumer.beginning_offsets(list(partitions))
            for partition in partitions:
                consumer.seek(partition, begins[partition])
            open_ends = {p: end for p, end in ends.items() if begins[p] < end}
            loop = asyncio.get_running_loop()
            progress = loop.time()
            seen = -1
            while not await positions_reached(consumer, open_ends):
                taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
                total = sum([await consumer.position(partition) for partition in open_ends])
                if total != seen:
                    seen, progress = total, loop.time()
                elif loop.time() - progress > STALL_S:
                    raise BrokerUnreachable(
                        f"got nothing more of {', '.join(sorted({p.topic for p in open_ends}))} for {STALL_S:.0f} s,"
                        " though it does not end here; a partition may be without a leader",
                        bootstrap_servers=connection.bootstrap_servers,
                    )
                for partition, records in taken.items():
                    for record in records:
                        if record.offset < ends[partition]:
                            yield record_of(record)
    finally:
        await stop_quietly(consumer)


async def replay(connection: Connection, topics: Sequence[str]) -> AsyncGenerator[KafkaRecord, None]:
    """Yield everything that stands on these topics (full names) now, oldest first within each partition."""
    partitions = await partitions_of(connection, topics)
    async for record in read_to_end(connection, partitions):
        yield record
