"""Publishing events: validated, Avro, CloudEvents headers, acknowledged by every in-sync replica.

Rules upheld here: an event reaches Kafka as a whole or `flush` says which did not; a slow broker slows the caller
down (bounded outstanding records) instead of filling its memory.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import MAX_EVENT_BYTES, SchemaIds, encode
from jurat.schemas.errors import RecordTooLarge, StreamError
from jurat.schemas.model import Event
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaProducer, Connection, idempotent_producer, in_our_words

MAX_OUTSTANDING: Final = 5_000
"""Records sent but not acknowledged yet: at 1 KB each, a few megabytes."""


class Publisher:
    """Publishes events to their topics.

    Use it as an async context manager; leaving the block flushes.

    Args:
        connection: the cluster and namespace.
        source: the CloudEvents `source`: who publishes, a URI reference such as `/shop/checkout`.
        ids: a Schema Registry's ids; None writes Avro single-object encoding.
    """

    def __init__(self, connection: Connection, *, source: str, ids: SchemaIds | None = None) -> None:
        self._connection = connection
        self._source = source
        self._ids = ids
        self._producer: AIOKafkaProducer | None = None
        self._outstanding: set[asyncio.Future[object]] = set()
        self._failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnreachable: no broker answered.
        """
        producer = idempotent_producer(self._connection)
        try:
            with in_our_words(self._connection):
                await producer.start()
        except BaseException:  # a cancelled start too: the client complains of what is left open
            await producer.stop()
            raise
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush and close; an error of the block wins over one of the flush."""
        if self._producer is None:
            return
        try:
            if error is None:
                await self.flush()
        finally:
            await self._producer.stop()
            self._producer = None

    async def publish(
        self,
        event: Event,
        *,
        event_id: str,
        time: datetime | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Send an event to its type's topic; returns before it is acknowledged.

        Args:
            event: the event; its model names topic and key.
            event_id: unique for this source; a repeated id is the same event again.
            time: when it happened, with a zone.
            traceparent: W3C trace context to carry on.

        Raises:
            RecordTooLarge: larger than any reader accepts.
        """
        if self._producer is None:
            raise StreamError(
                "got publish() on a closed Publisher, expected it inside `async with Publisher(...)`"
            )
        value = encode(event, ids=self._ids)
        if len(value) > MAX_EVENT_BYTES:
            raise RecordTooLarge(
                f"got an event {event_id} of {len(value)} bytes, expected at most {MAX_EVENT_BYTES}",
                event_id=event_id,
            )
        if len(self._outstanding) >= MAX_OUTSTANDING:
            await asyncio.wait(self._outstanding, return_when=asyncio.FIRST_COMPLETED)
        headers = headers_for(
            event,
            event_id=event_id,
            source=self._source,
            time=time,
            subject=event.key(),
            traceparent=traceparent,
        )
        with in_our_words(self._connection):
            future = await self._producer.send(
                self._connection.topic(topics.of_event(type(event)).name),
                value,
                key=event.key().encode(),
                headers=headers,
            )
        self._outstanding.add(future)
        future.add_done_callback(self._done)

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged.

        Raises:
            StreamError: some events were not; the message says how many and why the first was not.
        """
        while self._outstanding:
            await asyncio.wait(self._outstanding)
        failures, self._failures = self._failures, []
        if failures:
            with in_our_words(self._connection):
                raise failures[0]

    def _done(self, future: asyncio.Future[object]) -> None:
        self._outstanding.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._failures.append(error)
