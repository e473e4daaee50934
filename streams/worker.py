"""A worker: one agent, as many input partitions as the group gives it.

Rules upheld here: heartbeats never wait for a decision; a partition that is assigned is opened before it is read; a
partition that is taken away is closed before the group goes on; whatever ends the worker is raised, never swallowed
(the client logs and drops what a rebalance listener raises, so it is recorded here). Not here: what happens inside a
partition (`partition.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
from jurat.streams.kafka import (
    STOP_S,
    AIOKafkaConsumer,
    Connection,
    ConsumerRebalanceListener,
    TopicPartition,
    admin_client,
    group_consumer,
    in_our_words,
    record_of,
    stop_quietly,
)
from jurat.streams.partition import PartitionProcessor
from jurat.streams.reading import positions_reached
from jurat.streams.tables import Tables
from jurat.streams.topic_admin import ensure_topics

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
    """

    agent: Agent[Any]
    reasoner: Reasoner
    engine: PolicyEngine
    signer: Signer
    clock: Callable[[], datetime]
    code: str
    ids: SchemaIds | None = None
    until_idle_s: float | None = None


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Runs one agent on one cluster."""

    def __init__(self, connection: Connection, config: WorkerConfig) -> None:
        self._connection = connection
        self._config = config
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._open: dict[TopicPartition, PartitionProcessor] = {}
        self._paused: set[TopicPartition] = set()
        self._joined = False
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._decider: Decider | None = None
        self._done = 0

    @property
    def committed_records(self) -> int:
        """Inputs committed by this worker so far."""
        return self._done + sum(one.committed_records for one in self._open.values())

    def stop(self) -> None:
        """Ask the worker to end; `run` returns when the batches in work are committed, or their grace is over."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped, or idle for `until_idle_s`.

        Raises:
            JuratError: what ended the worker.
        """
        agent = self._config.agent
        view_topics = {name for view in agent.views for name in view.topics}
        needed = [topic for topic in topics.shared() if topic.name in {agent.topic, *view_topics}]
        created = await ensure_topics(self._connection, [*needed, *topics.of_agent(agent.name)])
        if created:
            log.info("topics created: %s", ", ".join(created))
        async with admin_client(self._connection) as client:
            cluster_id = (await client.describe_cluster())["cluster_id"]
        tables = Tables(self._connection, agent.views, ids=self._config.ids)
        await tables.start()
        self._decider = Decider(
            agent=agent,
            reasoner=self._config.reasoner,
            engine=self._config.engine,
            tables=tables,
            cluster_id=cluster_id,
            clock=self._config.clock,
            code=self._config.code,
            ids=self._config.ids,
        )
        self._consumer = group_consumer(self._connection, group=agent.name)
        try:
            with in_our_words(self._connection):
                await self._consumer.start()
                self._consumer.subscribe([self._connection.topic(agent.topic)], listener=self)
                await self._poll(self._consumer, tables)
        finally:
            await self._shut_down(self._consumer, tables)
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
        for partition in assigned:
            self._consumer.pause(partition)
            self._tasks[partition] = asyncio.create_task(
                self._serve(self._consumer, partition), name=f"{partition.topic}-{partition.partition}"
            )

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Close what the group takes away, before it goes on."""
        await self._close(list(revoked))

    async def _poll(self, consumer: AIOKafkaConsumer, tables: Tables) -> None:
        loop = asyncio.get_running_loop()
        last_busy = loop.time()
        while not self._stopping.is_set() and self._failure is None:
            taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
            for partition, records in taken.items():
                processor = self._open.get(partition)
                if processor is not None:
                    processor.feed([record_of(record) for record in records])
            self._balance_flow(consumer)
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

    async def _at_the_end(self, consumer: AIOKafkaConsumer) -> bool:
        # Silence alone may be a broker that is slow: only the positions tell that there is nothing more.
        partitions = list(self._open)
        try:
            with in_our_words(self._connection):
                return not partitions or await positions_reached(
                    consumer, await consumer.end_offsets(partitions)
                )
        except BrokerUnreachable:
            return False

    def _balance_flow(self, consumer: AIOKafkaConsumer) -> None:
        for partition, processor in self._open.items():
            if processor.full and partition not in self._paused:
                consumer.pause(partition)
                self._paused.add(partition)
            elif partition in self._paused and processor.drained:
                consumer.resume(partition)
                self._paused.discard(partition)

    async def _serve(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
        """Open a partition and decide its records until it is closed; open it anew after what may pass."""
        failures = 0
        while self._failure is None and self._decider is not None:
            processor = PartitionProcessor(
                self._connection, partition, decider=self._decider, signer=self._config.signer
            )
            try:
                start = await processor.open()
                await self._check_start(consumer, partition, start)
                consumer.seek(partition, start)
                consumer.resume(partition)
                self._open[partition] = processor
                await processor.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised by `run` or waited out
                failures = 1 if processor.committed_records else failures + 1
                log.warning("partition failed attempt=%d %s: %s", failures, partition, error)
                # Being fenced is the group's way of saying who owns a partition, or Kafka's of ending a transaction
                # that took too long: neither is a fault as long as the group goes on assigning it to us.
                if not isinstance(error, Retryable | PartitionFenced) or failures >= MAX_REOPENS:
                    self._failure = error
                    return
            else:
                return
            finally:
                self._open.pop(partition, None)
                self._paused.discard(partition)
                self._done += processor.committed_records
                await processor.abandon()
            consumer.pause(partition)
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

    async def _close(self, partitions: Sequence[TopicPartition]) -> None:
        """Let batches in work end within their grace, then end the partitions' tasks."""
        opened = [partition for partition in partitions if partition in self._open]
        tasks = {one: self._tasks.pop(one) for one in partitions if one in self._tasks}
        for partition, task in tasks.items():
            if partition not in opened:
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

    async def _shut_down(self, consumer: AIOKafkaConsumer, tables: Tables) -> None:
        await self._close(list(self._tasks))
        await stop_quietly(consumer)
        await tables.stop()
