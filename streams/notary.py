"""The notary: as many logs as its group gives it, one for each partition of the audit topic.

Rules upheld here: a partition that is assigned is opened before it is read, and closed before the group goes on; what
may pass is waited out and the log opened anew; a log that forked stays closed, and the others go on: it is told when it
happens, by `/readyz`, and when the notary ends. Not here: what happens to a log (`notary_partition.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Final

from jurat.audit.origin import Origin
from jurat.schemas.errors import ConfigurationError, LogForked, NoteInvalid
from jurat.streams import topics
from jurat.streams.following import Follower
from jurat.streams.kafka import (
    AIOKafkaConsumer,
    Connection,
    ConsumerRebalanceListener,
    KafkaRecord,
    TopicPartition,
    admin_client,
    group_consumer,
    in_our_words,
    record_of,
    stop_quietly,
)
from jurat.streams.kafka_ending import end_tasks, to_its_end
from jurat.streams.metrics import PartitionStatus, WorkerStatus
from jurat.streams.notary_config import NotaryConfig
from jurat.streams.notary_partition import GROUP, NotaryPartition
from jurat.streams.patience import Patience
from jurat.streams.reading import all_taken
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.worker_status import heard_at, lag_of

__all__ = ["NotaryConfig", "NotaryWorker"]

log = logging.getLogger(__name__)

POLL_MS: Final = 100
MAX_POLL_RECORDS: Final = 1_000
"""Records taken in one turn: some 40 ms of hashing."""

STATUS_EVERY_S: Final = 0.2


class NotaryWorker(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Signs the logs of one audit topic."""

    def __init__(self, connection: Connection, config: NotaryConfig) -> None:
        self._connection = connection
        self._config = config
        self._topic = connection.topic(topics.AUDIT.name)
        self._origins: dict[int, Origin] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._open: dict[int, NotaryPartition] = {}
        self._forked: dict[int, LogForked] = {}
        self._paused: set[int] = set()
        self._joined = False
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._closing = asyncio.Lock()
        self._follower = Follower(connection, self._see, what="the topics of checkpoints")
        self._done = 0

    @property
    def published(self) -> int:
        """Checkpoints that it has published."""
        return self._done + sum(one.published for one in self._open.values())

    def stop(self) -> None:
        """Ask the notary to end; what is not published yet, the next one publishes."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped, or idle for `until_idle_s`.

        Raises:
            LogForked: a log is not what it was; the others went on until the end.
            ConfigurationError: the organisation is none.
            JuratError: what ended the notary.
        """
        await ensure_topics(self._connection, [topics.AUDIT, *topics.OF_THE_NOTARY])
        origins = await origins_of(self._connection, self._config.org)
        self._origins = {one.partition: one for one in origins}
        consumer = self._consumer = group_consumer(self._connection, group=GROUP)
        async with AsyncExitStack() as clients:
            clients.push_async_callback(self._follower.stop)
            clients.push_async_callback(stop_quietly, consumer)
            clients.push_async_callback(lambda: to_its_end(self._leave()))
            await self._follower.start()
            with in_our_words(self._connection):
                await consumer.start()
                consumer.subscribe([self._topic], listener=self)
                await self._poll(consumer)
        failure = self._failure or next(iter(self._forked.values()), None)
        if failure is not None:
            raise failure

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin with the logs that the group gave us; called by the client, which drops what is raised here."""
        self._joined = True
        if self._consumer is None:
            return
        partitions = list(assigned)
        self._consumer.pause(*partitions)
        for partition in partitions:
            number = partition.partition
            self._tasks[number] = asyncio.create_task(
                self._serve(self._consumer, number), name=f"{self._topic}-{number}"
            )

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Close what the group takes away, before it goes on."""
        async with self._closing:
            await self._close([partition.partition for partition in revoked])

    async def _leave(self) -> None:
        self._consumer = None  # what the group assigns from here on is not opened
        async with self._closing:
            await self._close(list(self._tasks))

    async def _close(self, numbers: Iterable[int]) -> None:
        await end_tasks([self._tasks.pop(number) for number in numbers if number in self._tasks])

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        loop = asyncio.get_running_loop()
        last_busy = loop.time()
        while not self._stopping.is_set() and self._failure is None:
            taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
            for partition, records in taken.items():
                notary = self._open.get(partition.partition)
                if notary is not None:
                    notary.feed([record_of(record) for record in records])
            for number, notary in list(self._open.items()):
                if notary.is_restoring and notary.source not in taken and number not in self._paused:
                    notary.reached(await consumer.position(notary.source))
            self._balance_flow(consumer)
            if self._follower.failure is not None:
                self._failure = self._follower.failure
            await self._tell(consumer, loop.time())
            if taken or not self._joined or any(one.is_busy for one in self._unforked()):
                last_busy = loop.time()
            limit = self._config.until_idle_s
            if limit is not None and loop.time() - last_busy >= limit:
                if await all_taken(self._connection, consumer, [one.source for one in self._open.values()]):
                    return
                last_busy = loop.time()

    def _unforked(self) -> list[NotaryPartition | _Opening]:
        return [self._open.get(number, _OPENING) for number in self._tasks if number not in self._forked]

    def _balance_flow(self, consumer: AIOKafkaConsumer) -> None:
        for number, notary in self._open.items():
            if notary.is_full and number not in self._paused:
                consumer.pause(notary.source)
                self._paused.add(number)
            elif number in self._paused and not notary.is_full:
                consumer.resume(notary.source)
                self._paused.discard(number)

    async def _serve(self, consumer: AIOKafkaConsumer, number: int) -> None:
        """Open a log and sign it until it is closed; open it anew after what may pass."""
        patience = Patience()
        loop = asyncio.get_running_loop()
        origin = self._origins[number]
        self._forked.pop(number, None)
        while True:
            notary = NotaryPartition(self._connection, self._config, origin)
            watched = (notary.latest, notary.history)
            try:
                consumer.seek(notary.source, await notary.open(consumer))
                self._open[number] = notary
                self._follower.add(await self._follower.ends(watched))
                consumer.resume(notary.source)
                await notary.run()
            except LogForked as error:
                self._forked[number] = error
                log.critical("log refused origin=%s: %s", origin, error)
                consumer.pause(notary.source)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised by `run` or waited out
                pause_s = patience.after(
                    error, opened=number in self._open, committed=bool(notary.published), now=loop.time()
                )
                self._config.meters.reopened(type(error).__name__)
                if pause_s is None:
                    self._failure = patience.given_up(error, topic=self._topic, partition=number)
                    return
                log.log(patience.level, "log failed origin=%s again_in_s=%.0f: %s", origin, pause_s, error)
            else:
                return
            finally:
                self._open.pop(number, None)
                self._paused.discard(number)
                self._done += notary.published
                self._follower.remove(watched)
                await notary.close()
            consumer.pause(notary.source)
            await asyncio.sleep(pause_s)

    def _see(self, record: KafkaRecord) -> None:
        notary = self._open.get(record.partition)
        if notary is not None:
            notary.see(record)

    async def _tell(self, consumer: AIOKafkaConsumer, now: float) -> None:
        told = self._config.meters.status
        if told is not None and now - told.at < STATUS_EVERY_S:
            return
        partitions: list[PartitionStatus] = []
        for number in sorted(self._tasks):
            notary = self._open.get(number)
            if notary is None:
                partitions.append(PartitionStatus.closed(self._topic, number, now))
            else:
                lag = await lag_of(consumer, notary.source, notary.next_offset)
                partitions.append(notary.status(lag=lag, now=now))
        reading = {one.source for number, one in self._open.items() if number not in self._paused}
        self._config.meters.status = WorkerStatus(
            at=now,
            joined=self._joined,
            partitions=tuple(partitions),
            heard_at=heard_at(consumer, reading, now),
        )


async def origins_of(connection: Connection, org: str) -> tuple[Origin, ...]:
    """The logs of an audit topic, by partition.

    Args:
        connection: the cluster and namespace.
        org: whose they are, a domain name.

    Raises:
        ConfigurationError: no log is called so.
        StreamError: the cluster does not answer.
    """
    async with admin_client(connection) as client:
        cluster_id: str = (await client.describe_cluster())["cluster_id"]
    topic = connection.topic(topics.AUDIT.name)
    try:
        return tuple([Origin(org, cluster_id, topic, number) for number in range(topics.AUDIT.partitions)])
    except NoteInvalid as error:
        raise ConfigurationError(f"got the organisation {org!r}: {error}", org=org) from error


class _Opening:
    """A log that is being opened, or waits to be."""

    is_busy = True


_OPENING: Final = _Opening()
