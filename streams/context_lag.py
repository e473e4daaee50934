"""How far a consumer group is behind, asked of Kafka: what nobody read, and what was read and not committed.

Not here: whose group, and what follows from it (`context.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from jurat.streams.kafka import Connection, admin_client, in_our_words, stop_quietly
from jurat.streams.reading import partitions_of, start_reader


async def behind(connection: Connection, group: str, names: Sequence[str]) -> int:
    """Count the offsets behind the committed ones.

    Args:
        connection: the cluster.
        group: the group, without namespace.
        names: full names of its topics.

    Returns:
        Their number; the marks of transactions count, too, though nobody reads them.

    Raises:
        StreamError: Kafka does not answer, or a topic is not there.
    """
    partitions = await partitions_of(connection, names)
    consumer = await start_reader(connection, partitions)
    try:
        with in_our_words(connection):
            ends = await consumer.end_offsets(list(partitions))
    finally:
        await stop_quietly(consumer)
    async with admin_client(connection) as client:
        found = await client.list_consumer_group_offsets(connection.group(group))
    committed = {partition: at.offset for partition, at in found.items() if at.offset > 0}
    return sum([end - committed.get(partition, 0) for partition, end in ends.items()])
