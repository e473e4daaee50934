"""A worker: one agent, as many input partitions as the group gives it.

Rules upheld here: heartbeats never wait for a decision; the agent's input topic and its timers are read together, so
that partition n of both is always with the same worker; a partition that is assigned is opened before it is read; one
that is taken away is closed before the group goes on; whatever ends the worker is raised, never swallowed (the client
logs and drops what a rebalance listener raises, so it is recorded here). Not here: what happens inside a partition
(`partition.py`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Reasoner
from jurat.audit.keys import Signer
from jurat.policies.engine import PolicyEngine
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import BrokerUnreachable, PartitionFenced, Retryable, TopicMismatch
from jurat.streams import topics
from jurat.streams.deciding import Decider
from jurat.streams.intake import MAX_IN_FLIGHT, Budget
from jurat.streams.journal import JournalWriter
from jurat.streams.kafka import (
    STOP_S,
    AIOKafkaConsumer,
    Connection,
    ConsumerRebalanceListener,
    TopicPartition,
    admin_client,
    describe_topic_partitions,
    group_consumer,
    in_our_words,
    record_of,
    stop_quietly,
)
from jurat.streams.metrics import Meters, PartitionStatus, WorkerStatus
from jurat.streams.opening import Shared
from jurat.streams.partition import PartitionProcessor
from jurat.streams.reading import positions_reached
from jurat.streams.retries import RetryPolicy
from jurat.streams.tables import Tables
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.tracing import OFF, Tracing

log = logging.getLogger(__name__)

POLL_MS: Final = 100
MAX_POLL_RECORDS: Final = 1_000
MAX_REOPENS: Final = 6
"""Consecutive failures of a partition before the worker gives up and its supervisor starts it again."""

REOPEN_BACKOFF_S: Final = 1.0
"""Doubled with each failure, the first one included. The first wait is longer than a heartbeat: a worker that was
fenced because the group gave the partition to another one has heard of it by then, and does not fence it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker needs.

    Attributes:
        agent: the agent to run.
        reasoner: who proposes.
        engine: the compiled policies.
        signer: the agent's signing identity.
        clock: the present moment.
        code: version of the program, for the records.
        ids: a Schema Registry's ids, if one is configured.
        until_idle_s: end when nothing has come for this long; None goes on until stopped.
        max_in_flight: decisions in work at once.
        retry: how often an input is tried that fails for what may pass.
        draw: numbers from 0 to 1 for the jitter of these waits.
        meters: what is counted; its status is renewed with every turn of the worker.
        tracing: who makes spans.
    """

    agent: Agent[Any]
    reasoner: Reasoner
    engine: PolicyEngine
    signer: Signer
    clock: Callable[[], datetime]
    code: str
    ids: SchemaIds | None = None
    until_idle_s: float | None = None
    max_in_flight: int = MAX_IN_FLIGHT
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    draw: Callable[[], float] = random.random
    meters: Meters | None = None
    tracing: Tracing = OFF


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Runs one agent on one cluster."""

    def __init__(self, connection: Connection, config: WorkerConfig) -> None:
        self._connection = connection
        self._config = config
        self._meters = config.meters or Meters(config.agent.name)
        self._budget = Budget(config.max_in_flight)
        self._input = connection.topic(config.agent.topic)
        self._timers = connection.topic(topics.timers(config.agent.name).name)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._open: dict[int, PartitionProcessor] = {}
        self._paused: set[int] = set()
        self._joined = False
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._shared: Shared | None = None
        self._done = 0

    @property
    def committed_records(self) -> int:
        """Inputs committed by this worker so far."""
        return self._done + sum(one.committed_records for one in self._open.values())

    def stop(self) -> None:
        """Ask the worker to end; `run` returns when what is in work is committed, or its grace is over."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped, or idle for `until_idle_s`.

        Raises:
            JuratError: what ended the worker.
        """
        config, agent = self._config, self._config.agent
        await self._make_topics()
        async with admin_client(self._connection) as client:
            cluster_id = (await client.describe_cluster())["cluster_id"]
        tables = Tables(self._connection, agent.views, input_topic=agent.topic, ids=config.ids)
        calls = JournalWriter(self._connection, agent=agent.name)
        consumer = self._consumer = group_consumer(self._connection, group=agent.name)
        try:
            await tables.start()
            await calls.start()
            self._shared = Shared(
                connection=self._connection,
                decider=Decider(
                    agent=agent,
                    reasoner=config.reasoner,
                    engine=config.engine,
                    tables=tables,
                    cluster_id=cluster_id,
                    clock=config.clock,
                    code=config.code,
                    ids=config.ids,
                    tracing=config.tracing,
                ),
                signer=config.signer,
                calls=calls,
                budget=self._budget,
                meters=self._meters,
                retry=config.retry,
                draw=config.draw,
                tracing=config.tracing,
            )
            with in_our_words(self._connection):
                await consumer.start()
                consumer.subscribe([self._input, self._timers], listener=self)
                await self._poll(consumer, tables)
        finally:
            await self._close(list(self._tasks))
            await stop_quietly(consumer)
            await calls.stop()
            await tables.stop()
        if self._failure is not None:
            raise self._failure

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to serve what the group gave us.

        Called by the client, which sends no heartbeat until this returns and swallows what is raised here: so the
        partitions are only paused, and opened by tasks of their own.
        """
        self._joined = True
        if self._consumer is None:
            return
        partitions = list(assigned)
        self._consumer.pause(*partitions)
        numbers = sorted({partition.partition for partition in partitions})
        self._budget.partitions = max(len(numbers), 1)
        for number in numbers:
            if not set(self._both(number)) <= set(partitions):
                # A topic that is not in the client's metadata yet, or no more; or a member of the group that does not
                # read the timers. The group gives partitions anew when that changes.
                log.error(
                    "partition not served agent=%s partition=%d: got it of only one of %s and %s, expected both; is every"
                    " member of the group a worker of this release?",
                    self._config.agent.name,
                    number,
                    self._input,
                    self._timers,
                )
                continue
            self._tasks[number] = asyncio.create_task(
                self._serve(self._consumer, number), name=f"{self._input}-{number}"
            )

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Close what the group takes away, before it goes on."""
        await self._close(sorted({partition.partition for partition in revoked}))

    async def _make_topics(self) -> None:
        """Create what is missing; what belongs to each partition of the input is laid out like it."""
        agent = self._config.agent
        read = {agent.topic, *(name for view in agent.views for name in view.topics)}
        shared = [topic for topic in topics.shared() if topic.name in read]
        async with admin_client(self._connection) as client:
            found = await describe_topic_partitions(client, [self._input])
        if self._input in found:
            shared = [topic for topic in shared if topic.name != agent.topic]
        declared = next((topic.partitions for topic in topics.shared() if topic.name == agent.topic), None)
        count = found.get(self._input, declared or topics.DEFAULT_PARTITIONS)
        own = [
            topic if topic is topics.AUDIT else replace(topic, partitions=count)
            for topic in topics.of_agent(agent.name)
        ]
        created = await ensure_topics(self._connection, [*shared, *own])
        if created:
            log.info("topics created: %s", ", ".join(created))

    def _both(self, number: int) -> tuple[TopicPartition, TopicPartition]:
        return TopicPartition(self._input, number), TopicPartition(self._timers, number)

    async def _poll(self, consumer: AIOKafkaConsumer, tables: Tables) -> None:
        loop = asyncio.get_running_loop()
        last_busy = loop.time()
        while not self._stopping.is_set() and self._failure is None:
            taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
            for partition, records in taken.items():
                processor = self._open.get(partition.partition)
                if processor is not None:
                    processor.feed([record_of(record) for record in records])
            self._balance_flow(consumer)
            self._meters.status = self._status(consumer, loop.time())
            if tables.failure is not None:
                self._failure = tables.failure
            if taken or self._busy():
                last_busy = loop.time()
            limit = self._config.until_idle_s
            if limit is not None and loop.time() - last_busy >= limit:
                if await self._at_the_end(consumer):
                    return
                last_busy = loop.time()

    def _busy(self) -> bool:
        opening = len(self._tasks) != len(self._open)
        return opening or not self._joined or any(processor.busy for processor in self._open.values())

    def _status(self, consumer: AIOKafkaConsumer, now: float) -> WorkerStatus:
        partitions = []
        for number in self._tasks:
            processor = self._open.get(number)
            partitions.append(
                _closed(self._input, number, now)
                if processor is None
                else processor.status(lag=self._lag(consumer, number), now=now)
            )
        return WorkerStatus(at=now, joined=self._joined, partitions=tuple(partitions))

    def _lag(self, consumer: AIOKafkaConsumer, number: int) -> int:
        lag = 0
        for partition in self._both(number):
            end = consumer.highwater(partition)
            read = self._open[number].next_offset(partition.topic)
            lag += max((end or 0) - read, 0)
        return lag

    async def _at_the_end(self, consumer: AIOKafkaConsumer) -> bool:
        # Silence alone may be a broker that is slow: only the positions tell that there is nothing more.
        partitions = [partition for number in self._open for partition in self._both(number)]
        try:
            with in_our_words(self._connection):
                return not partitions or await positions_reached(
                    consumer, await consumer.end_offsets(partitions)
                )
        except BrokerUnreachable:
            return False

    def _balance_flow(self, consumer: AIOKafkaConsumer) -> None:
        for number, processor in self._open.items():
            if processor.full and number not in self._paused:
                consumer.pause(*self._both(number))
                self._paused.add(number)
            elif number in self._paused and processor.drained:
                consumer.resume(*self._both(number))
                self._paused.discard(number)

    async def _serve(self, consumer: AIOKafkaConsumer, number: int) -> None:
        """Open a partition and decide its records until it is closed; open it anew after what may pass."""
        failures = 0
        while self._failure is None and self._shared is not None:
            processor = PartitionProcessor(number, self._shared)
            try:
                for partition, start in (await processor.open()).items():
                    await self._check_start(consumer, partition, start)
                    consumer.seek(partition, start)
                self._open[number] = processor
                consumer.resume(*self._both(number))
                await processor.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised by `run` or waited out
                failures = 1 if processor.committed_records else failures + 1
                self._meters.reopened(type(error).__name__)
                log.warning("partition failed attempt=%d partition=%d: %s", failures, number, error)
                # Being fenced is the group's way of saying who owns a partition, or Kafka's of ending a transaction
                # that took too long: neither is a fault as long as the group goes on assigning it to us.
                if not isinstance(error, Retryable | PartitionFenced) or failures >= MAX_REOPENS:
                    self._failure = error
                    return
            else:
                return
            finally:
                self._open.pop(number, None)
                self._paused.discard(number)
                await processor.abandon()
                self._done += processor.committed_records
                self._shared.decider.tables.close_partition(number)
            consumer.pause(*self._both(number))
            await asyncio.sleep(REOPEN_BACKOFF_S * 2**failures)

    async def _check_start(self, consumer: AIOKafkaConsumer, partition: TopicPartition, start: int) -> None:
        with in_our_words(self._connection):
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

    async def _close(self, numbers: Sequence[int]) -> None:
        """Let work end within its grace, then end the partitions' tasks."""
        opened = [number for number in numbers if number in self._open]
        tasks = {number: self._tasks.pop(number) for number in numbers if number in self._tasks}
        for number, task in tasks.items():
            if number not in opened:
                task.cancel()  # it is being opened, or waits to be
        ended = await asyncio.gather(*(self._open[one].close() for one in opened), return_exceptions=True)
        if tasks:
            # The others end by themselves, their producers stopped; what overran its grace is cancelled.
            _done, overdue = await asyncio.wait(tasks.values(), timeout=STOP_S)
            for task in overdue:
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException) and self._failure is None:
                self._failure = error


def _closed(topic: str, number: int, now: float) -> PartitionStatus:
    return PartitionStatus(
        topic=topic,
        partition=number,
        open=False,
        lag=0,
        in_flight=0,
        oldest_in_flight_s=0.0,
        held_records=0,
        held_bytes=0,
        parked=0,
        timers=0,
        span=0,
        progress_at=now,
    )
