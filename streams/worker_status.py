"""What a worker says of itself each turn: for metrics and health.

Not here: what becomes of it (`metrics.py`, `health.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Final

from jurat.streams.kafka import AIOKafkaConsumer, KafkaError, TopicPartition
from jurat.streams.metrics import PartitionStatus, WorkerStatus
from jurat.streams.partition import PartitionProcessor

POSITION_S: Final = 0.01
"""How long the reader may take to say where it is; it knows, unless it is finding that out anew."""


async def worker_status(
    consumer: AIOKafkaConsumer,
    *topics: str,
    served: Mapping[int, PartitionProcessor | None],
    paused: Collection[int],
    joined: bool,
    now: float,
) -> WorkerStatus:
    """A worker at this moment.

    Args:
        consumer: its client.
        topics: full names of what it reads, the input topic first.
        served: its partitions; None for one that is not open.
        paused: those that are not read at the moment.
        joined: whether it belongs to its group.
        now: by the event loop's clock.
    """
    partitions: list[PartitionStatus] = []
    reading: set[TopicPartition] = set()
    assigned = consumer.assignment()
    for number, processor in served.items():
        if processor is None:
            partitions.append(PartitionStatus.closed(topics[0], number, now))
            continue
        sources = {TopicPartition(topic, number) for topic in topics} & assigned
        lag = sum([await lag_of(consumer, source, processor.next_offset(source.topic)) for source in sources])
        partitions.append(processor.status(lag=lag, now=now))
        if number not in paused:
            reading |= sources
    return WorkerStatus(
        at=now, joined=joined, partitions=tuple(partitions), heard_at=heard_at(consumer, reading, now)
    )


async def lag_of(consumer: AIOKafkaConsumer, source: TopicPartition, taken: int) -> int:
    """How far the source's end is from what was taken; what the reader passed over (markers, expired) is behind it."""
    end = consumer.highwater(source)
    if end is None or end <= taken:
        return 0
    try:
        async with asyncio.timeout(POSITION_S):
            read: int = await consumer.position(source)
    except (TimeoutError, KafkaError):
        read = taken  # the reader does not know where it is just now
    # What it has read beyond is taken in its next turn, if it is a record; what remains then is none.
    return int(max(end - max(read, taken), 0))


def heard_at(consumer: AIOKafkaConsumer, reading: set[TopicPartition], now: float) -> float:
    """When a broker last answered a fetch; now where nothing is fetched."""
    told_ms = [consumer.last_poll_timestamp(one) for one in reading]
    latest_ms = max((told for told in told_ms if told is not None), default=None)
    return now if latest_ms is None else now - max(0.0, time.time() - latest_ms / 1000)
