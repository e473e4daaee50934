"""The producer behind the journals of a worker: one for all partitions, each write acknowledged by all replicas.

Rules upheld here: the records of a partition are written in the order of the calls; ten thousand writes at once cost
few requests, as one task a partition hands them to the client, which batches them; a write that ends with an error says
whether trying again may help; a producer that the broker gave up is replaced. Not here: what is written (`journal.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import Final, Protocol

from jurat.schemas.errors import (
    BrokerRefused,
    BrokerUnreachable,
    NotAuthenticated,
    NotAuthorized,
    RecordTooLarge,
    StreamError,
    TopicMissing,
)
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaProducer, Connection, idempotent_producer, in_our_words, stop_quietly
from jurat.streams.kafka_ending import to_its_end

log = logging.getLogger(__name__)

LASTING: Final = (BrokerRefused, NotAuthenticated, NotAuthorized, RecordTooLarge, TopicMissing)
"""What an operator must mend; a new producer would be told the same."""

ACKNOWLEDGED_S: Final = 30.0
"""How long a write may wait for its acknowledgement: the client itself tries for ever."""


class EntryWriter(Protocol):
    """Writes to the journal; `JournalWriter` is one."""

    async def write(self, partition: int, key: bytes, value: bytes) -> None:
        """Write a record; returns when all in-sync replicas have it.

        Raises:
            StreamError: they do not, or may not; `Retryable` where trying again may help.
        """
        ...


class JournalWriter:
    """Writes to the journal of one agent, for all partitions of a worker.

    Args:
        connection: the cluster and namespace.
        agent: the agent's name.
    """

    def __init__(self, connection: Connection, *, agent: str) -> None:
        self._connection = connection
        self._topic = connection.topic(topics.journal(agent).name)
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._running = False
        self._waiting: dict[int, deque[tuple[bytes, bytes, asyncio.Future[None]]]] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}
        self._outstanding: dict[
            asyncio.Future[None], float
        ] = {}  # until when each may wait, the oldest first
        self._overdue: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect.

        Raises:
            BrokerUnreachable: no broker answered.
        """
        self._running = True
        try:
            await self._started()
        except BaseException:
            self._running = False
            raise

    async def stop(self) -> None:
        """Flush within a bound, and disconnect; a write that is still waiting fails."""
        self._running = False
        await to_its_end(self._stop())

    async def _stop(self) -> None:
        senders = list(self._senders.values())
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_quietly(producer)
        await asyncio.gather(*self._leaving)
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        for written in self._outstanding:
            _fail(written, StreamError("the writer of the journal was stopped before this was acknowledged"))

    async def write(self, partition: int, key: bytes, value: bytes) -> None:
        """Write a record; returns when all in-sync replicas have it.

        A write that is cancelled, or fails, may still have been written.

        Raises:
            BrokerUnreachable: not acknowledged; try again.
            NotAuthenticated: the broker does not know us.
            NotAuthorized: an ACL is missing.
            RecordTooLarge: the topic does not take it.
            TopicMissing: there is no journal.
            StreamError: the writer is not running.
        """
        if not self._running:
            raise StreamError("got write() on a writer of the journal that is not running; start it first")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outstanding[written] = asyncio.get_running_loop().time() + ACKNOWLEDGED_S
        if self._overdue is None:
            self._expire()
        self._waiting.setdefault(partition, deque()).append((key, value, written))
        if partition not in self._senders:
            self._senders[partition] = asyncio.create_task(self._send(partition))
        try:
            with in_our_words(self._connection, topic=self._topic):
                await written
        except BrokerUnreachable:
            raise
        except StreamError as error:
            if isinstance(error, LASTING) or not self._running:
                raise
            raise BrokerUnreachable(
                f"the journal was not written, and its producer is made anew: {error}",
                bootstrap_servers=self._connection.bootstrap_servers,
            ) from error
        finally:
            self._outstanding.pop(written, None)

    def _expire(self) -> None:
        """Fail what waits for too long; one timer for all writes, as one each would cost as much as the writing."""
        loop = asyncio.get_running_loop()
        for written, until in self._outstanding.items():
            if until > loop.time():
                self._overdue = loop.call_at(until, self._expire)
                return
            # What the broker answers to the client's tries, a topic that was deleted say, it keeps to itself.
            said = getattr(self._producer, "said", None)
            _fail(written, said or TimeoutError(f"not acknowledged for {ACKNOWLEDGED_S:.0f} s"))
        self._overdue = None

    async def _send(self, partition: int) -> None:
        """Hand what waits for a partition to the client, one after the other, until nothing waits."""
        waiting = self._waiting[partition]
        try:
            while waiting:
                key, value, written = waiting.popleft()
                if written.done():
                    continue  # cancelled while it waited: it must not be written any more
                try:
                    await self._hand_over(partition, key, value, written)
                except Exception as error:  # noqa: BLE001 - it is the writer's, not of whoever sends for all
                    _fail(written, error)
        finally:
            del self._senders[partition]

    async def _hand_over(
        self, partition: int, key: bytes, value: bytes, written: asyncio.Future[None]
    ) -> None:
        producer = await self._started()
        try:
            with in_our_words(self._connection):
                sent = await producer.send(self._topic, value, key=key, partition=partition)
        except (BrokerUnreachable, *LASTING):
            raise
        except StreamError as error:
            self._replace(producer, error)
            raise
        sent.add_done_callback(partial(self._settle, producer, written))

    def _settle(
        self, producer: AIOKafkaProducer, written: asyncio.Future[None], sent: asyncio.Future[object]
    ) -> None:
        error = StreamError("the client dropped a record") if sent.cancelled() else sent.exception()
        if error is not None:
            # The client has counted a sequence number that the broker has not: every later batch would be refused.
            self._replace(producer, error)
            _fail(written, error)
        elif not written.done():
            written.set_result(None)

    def _replace(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        if self._producer is producer:
            log.warning("the journal's producer is made anew topic=%s error=%r", self._topic, error)
            self._producer = None
            leaving = asyncio.ensure_future(stop_quietly(producer))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = idempotent_producer(self._connection)
                try:
                    with in_our_words(self._connection):
                        await producer.start()
                except BaseException:  # a cancelled start too: the client complains of what is left open
                    await stop_quietly(producer)
                    raise
                self._producer = producer
            return self._producer


def _fail(written: asyncio.Future[None], error: BaseException) -> None:
    if not written.done():
        written.set_exception(error)
