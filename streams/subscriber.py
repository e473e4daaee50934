"""Subscribing: the events of a topic as they come, decoded, with where they stand.

A record that cannot be decoded is yielded too, with its error: who listens decides what to do about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from jurat.schemas.codec import SchemaIds
from jurat.streams.decoding import Decoded, decode_record
from jurat.streams.kafka import Connection, in_our_words, record_of, stop_quietly
from jurat.streams.reading import MAX_POLL_RECORDS, POLL_MS, partitions_of, positions_reached, start_reader


async def subscribe(
    connection: Connection,
    topic: str,
    *,
    from_beginning: bool = False,
    until_idle_s: float | None = None,
    ids: SchemaIds | None = None,
) -> AsyncGenerator[Decoded, None]:
    """Yield a topic's records as they come.

    Args:
        connection: the cluster and namespace.
        topic: plain name, without namespace.
        from_beginning: start with the oldest record instead of the next one.
        until_idle_s: end when nothing has come for this long and the end was reached; None goes on for ever.
        ids: a Schema Registry's ids, for values in the Confluent wire format.

    Raises:
        TopicMissing: there is no such topic.
        BrokerUnreachable: no broker answered.
    """
    partitions = await partitions_of(connection, [connection.topic(topic)])
    consumer = await start_reader(connection, partitions)
    loop = asyncio.get_running_loop()
    try:
        with in_our_words(connection):
            start = consumer.beginning_offsets if from_beginning else consumer.end_offsets
            for partition, offset in (await start(list(partitions))).items():
                consumer.seek(partition, offset)
            last = loop.time()
            while True:
                taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
                for records in taken.values():
                    for record in records:
                        yield decode_record(record_of(record), ids=ids)
                if taken:
                    last = loop.time()
                elif until_idle_s is not None and loop.time() - last >= until_idle_s:
                    if await positions_reached(consumer, await consumer.end_offsets(list(partitions))):
                        return
                    last = loop.time()
    finally:
        await stop_quietly(consumer)
