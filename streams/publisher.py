"""Publishing events: validated, Avro, CloudEvents headers, acknowledged by every in-sync replica.

Rules upheld here: an event reaches Kafka as a whole or `flush` says which did not; a slow broker slows the caller
down (bounded outstanding records) instead of filling its memory.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self

from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import MAX_EVENT_BYTES, SchemaIds, encode
from jurat.schemas.errors import BrokerUnreachable, RecordTooLarge, StreamError
from jurat.schemas.model import Event
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaProducer, Connection, idempotent_producer, in_our_words, stop_quietly

ACKNOWLEDGED_S: Final = 30.0
"""How long a broker may leave everything unacknowledged: twice what the client waits for one request."""

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
        self._first_failure: tuple[str, BaseException] | None = None
        self._failed = 0

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
            await stop_quietly(producer)
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
            await stop_quietly(self._producer)
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
            await self._acknowledged(asyncio.FIRST_COMPLETED)
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
        future.add_done_callback(partial(self._done, event_id))

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged.

        Raises:
            StreamError: some events were not; the message says how many and why the first was not. It has the class
                of that reason, such as `RecordTooLarge` or `BrokerUnreachable`.
        """
        while self._outstanding:
            await self._acknowledged(asyncio.ALL_COMPLETED)
        first, self._first_failure = self._first_failure, None
        failed, self._failed = self._failed, 0
        if first is None:
            return
        event_id, failure = first
        try:
            with in_our_words(self._connection):
                raise failure
        except StreamError as error:
            raise type(error)(
                f"{failed} of the events were not acknowledged, the first ({event_id}) because {error}",
                **(error.details | {"event_id": event_id, "failed": failed}),
            ) from failure

    async def _acknowledged(self, which: str) -> None:
        # The client itself tries for ever: a publisher must hear of a broker that is gone.
        done, waiting = await asyncio.wait(self._outstanding, timeout=ACKNOWLEDGED_S, return_when=which)
        if not done and waiting:
            raise BrokerUnreachable(
                f"got no acknowledgement from {self._connection.bootstrap_servers} for {ACKNOWLEDGED_S:.0f} s;"
                f" {len(waiting)} events may or may not have been written. Publish them again under the same ids when"
                " the broker is back",
                unacknowledged=len(waiting),
            )

    def _done(self, event_id: str, future: asyncio.Future[object]) -> None:
        self._outstanding.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is not None:
            # The first and a count: a broker that is away fails every event of a long run.
            self._failed += 1
            self._first_failure = self._first_failure or (event_id, error)
