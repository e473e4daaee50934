"""Whether the topics that a worker reads are still those that it began with.

Rules upheld here: no event is taken for another one that stood at its offset before; a topic that is gone is told by
name; what is joined by key has the same partitions. Not here: making topics (`topic_admin.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from jurat.schemas.errors import Retryable, StreamError, TopicMismatch, TopicMissing
from jurat.streams.kafka import (
    AIOKafkaConsumer,
    Connection,
    TopicPartition,
    admin_client,
    describe_topic_partitions,
    in_our_words,
)

log = logging.getLogger(__name__)

MISSING_S: Final = 5.0
"""A topic that is not there for this long was deleted: a new one reaches every broker sooner."""

ASK_EVERY_S: Final = 1.0


async def check_topics(connection: Connection, names: Sequence[str]) -> None:
    """Return when all of these topics (full names) exist; wait while no broker can be asked.

    Raises:
        TopicMissing: one of them does not.
        StreamError: Kafka refuses to tell.
    """
    loop = asyncio.get_running_loop()
    since: float | None = None
    while True:
        try:
            async with admin_client(connection) as client:
                found = await describe_topic_partitions(client, names)
        except StreamError as error:
            if not isinstance(error, Retryable):
                raise
        else:
            missing = sorted(set(names) - set(found))
            if not missing:
                return
            since = loop.time() if since is None else since
            if loop.time() - since >= MISSING_S:
                raise TopicMissing(
                    f"the topic {', '.join(missing)}, which the worker reads, does not exist any more at"
                    f" {connection.bootstrap_servers}. Restore it with its records; for an empty one, use another"
                    " namespace, so that no event of it is taken for an old one",
                    topics=missing,
                )
        await asyncio.sleep(ASK_EVERY_S)


def check_joined(input_topic: str, counts: Mapping[str, int], *, views: Iterable[str]) -> None:
    """Check that context tables are partitioned as the input that they are joined with.

    Args:
        input_topic: its full name.
        counts: partitions of the input and of each topic of the tables, by full name.
        views: the tables' names.

    Raises:
        TopicMismatch: they are not.
    """
    expected = counts[input_topic]
    wrong = sorted(topic for topic, count in counts.items() if count != expected)
    if wrong:
        said = ", ".join(f"{topic} has {counts[topic]}" for topic in wrong)
        raise TopicMismatch(
            f"the context tables {', '.join(views)} are joined by key with {input_topic}, which has {expected}"
            f" partitions, but {said}; make them anew with the same number, or declare the view as a GlobalTable",
            topics=wrong,
        )


async def check_start(
    connection: Connection, consumer: AIOKafkaConsumer, partition: TopicPartition, start: int
) -> None:
    """Check that a partition still has the offsets from which on it is to be read.

    Raises:
        TopicMismatch: it ends before.
        BrokerUnreachable: its leader does not answer.
    """
    with in_our_words(connection):
        end = (await consumer.end_offsets([partition]))[partition]
        begin = (await consumer.beginning_offsets([partition]))[partition]
    if start > end:
        raise TopicMismatch(
            f"{partition.topic}, partition {partition.partition}, ends at offset {end}, but inputs up to {start}"
            " are already decided: the topic was recreated or cut. Use another namespace for the new one, so"
            " that no event of it is taken for an old one",
            topic=partition.topic,
            partition=partition.partition,
        )
    if 0 < start < begin:
        log.error(
            "events expired before they were decided topic=%s partition=%d from=%d to=%d",
            partition.topic,
            partition.partition,
            start,
            begin,
        )
