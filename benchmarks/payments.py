"""Many small events, written fast: failed payments, in batches of the client's own making.

Rules upheld here: the records are those that the publisher would write (Avro, CloudEvents headers, the customer's id as
the key, the default partitioner), each with an event id of its own; only the way there is shorter, as a key's bytes are
made once. Events go round the keys: the first of each, then the second of each, and so on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from benchmarks.stage import Stage
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.model import Money
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaProducer, idempotent_producer, partition_of_key
from jurat.streams.topic_admin import ensure_topics

AGENT: Final = PAYMENT_RETRIER
WITHOUT_PROFILES: Final = replace(AGENT, views=(), reads=lambda _payment: ())
"""For topics of any number of partitions: those of the profiles have as many as is declared."""

SOURCE: Final = "/jurat/benchmarks"
BATCHES_AT_ONCE: Final = 20
"""Batches of 16 KiB that may wait for the broker."""

Headers = list[tuple[str, bytes]]


def payment(key: str) -> PaymentFailed:
    """A failed payment of the customer `key`, which is its id as well: its decision has the same Kafka key."""
    return PaymentFailed(
        payment_id=key,
        order_id=f"order-of-{key}",
        customer_id=key,
        payment_method_id="card",
        amount=Money(amount_minor=4_200, currency="EUR"),
        failure_code="processor_timeout",
        attempt=1,
        fraud_score=3,
    )


def printed(key: str, event_id: str) -> tuple[bytes, Headers]:
    """Value and headers of a payment's record."""
    event = payment(key)
    return encode(event), headers_for(event, event_id=event_id, source=SOURCE, subject=key)


async def prepare(stage: Stage, *, partitions: int) -> None:
    """Create the topics of the agent without profiles, laid out like an input with so many partitions."""
    own = [topic for topic in topics.of_agent(AGENT.name) if topic not in topics.OF_ALL_AGENTS]
    laid_out = [replace(topic, partitions=partitions) for topic in (topics.PAYMENTS, *own)]
    await ensure_topics(stage.connection, [topics.AUDIT, *laid_out])


async def write(stage: Stage, *, count: int, keys: int, partitions: int = topics.DEFAULT_PARTITIONS) -> None:
    """Write `count` events of so many keys to a topic with so many partitions."""
    producer = idempotent_producer(stage.connection)
    await producer.start()
    try:
        writer = _Writer(producer, stage.connection.topic(AGENT.topic))
        made: dict[int, tuple[int, bytes, bytes, Headers]] = {}
        for number in range(count):
            if number % keys not in made:
                key = f"customer-{number % keys:07d}"
                value, headers = printed(key, "")
                place = partition_of_key(key.encode(), partitions)
                made[number % keys] = place, key.encode(), value, headers
            place, key_bytes, value, headers = made[number % keys]
            own = [
                (name, b"payment-%d" % number if name == "ce_id" else content) for name, content in headers
            ]
            await writer.add(place, {"timestamp": None, "key": key_bytes, "value": value, "headers": own})
        await writer.end()
    finally:
        await producer.stop()


class _Writer:
    """One batch for each partition in the making."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._batches: dict[int, Any] = {}
        self._sent: list[asyncio.Future[Any]] = []

    async def add(self, partition: int, record: Mapping[str, Any]) -> None:
        """Add a record; waits when much is under way."""
        batch = self._batches.get(partition)
        if batch is not None and batch.append(**record) is not None:
            return
        if batch is not None:
            await self._send(partition)
        batch = self._batches[partition] = self._producer.create_batch()
        batch.append(**record)

    async def end(self) -> None:
        """Send what is left and wait for all of it."""
        for partition in list(self._batches):
            await self._send(partition)
        await asyncio.gather(*self._sent)

    async def _send(self, partition: int) -> None:
        batch = self._batches.pop(partition)
        self._sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        if len(self._sent) >= BATCHES_AT_ONCE:
            await asyncio.gather(*self._sent)
            self._sent.clear()
