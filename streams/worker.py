"""A worker: one agent, as many input partitions as the group gives it.

Rules upheld here: heartbeats never wait for a decision; a partition that is assigned is opened before it is read; a
partition that is taken away is closed before the group goes on; whatever ends the worker is raised, never swallowed
(the client logs and drops what a rebalance listener raises, so it is recorded here). Not here: what happens inside a
partition (`partition.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Reasoner
from jurat.audit.keys import Signer
from jurat.policies.engine import PolicyEngine
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import PartitionFenced, Retryable, TopicMismatch
from jurat.streams import topics
from jurat.streams.deciding import Decider
from jurat.streams.kafka import (
    AIOKafkaConsumer,
    Connection,
    ConsumerRebalanceListener,
    TopicPartition,
    admin_client,
    group_consumer,
    in_our_words,
    record_of,
)
from jurat.streams.partition import PartitionProcessor
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


@dataclass(slots=True)
class _Open:
    processor: PartitionProcessor
    task: asyncio.Task[None]
    paused: bool = False


@dataclass(slots=True)
class _Failed:
    count: int
    retry_at_s: float


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Runs one agent on one cluster."""

    def __init__(self, connection: Connection, config: WorkerConfig) -> None:
        self._connection = connection
        self._config = config
        self._open: dict[TopicPartition, _Open] = {}
        self._failed: dict[TopicPartition, _Failed] = {}
        self._joined = False
        self._moving = asyncio.Lock()  # one at a time: what the group moves, and what is opened anew
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._decider: Decider | None = None
        self._done = 0

    @property
    def committed_records(self) -> int:
        """Inputs committed by this worker so far."""
        return self._done + sum(one.processor.committed_records for one in self._open.values())

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
        """Open what the group gave us; called by the client, which swallows what is raised here."""
        self._joined = True
        async with self._moving:
            await asyncio.gather(*(self._open_partition(partition) for partition in assigned))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Close what the group takes away, before it goes on."""
        async with self._moving:
            self._failed.clear()
            await asyncio.gather(*(self._close_partition(partition) for partition in revoked))

    async def _poll(self, consumer: AIOKafkaConsumer, tables: Tables) -> None:
        loop = asyncio.get_running_loop()
        last_busy = loop.time()
        while not self._stopping.is_set() and self._failure is None:
            taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
            for partition, records in taken.items():
                one = self._open.get(partition)
                if one is not None:
                    one.processor.feed([record_of(record) for record in records])
            await self._reopen_failed(consumer)
            self._balance_flow(consumer)
            if tables.failure is not None:
                self._failure = tables.failure
            working = any(one.processor.busy for one in self._open.values())
            if taken or working or self._moving.locked() or self._failed or not self._joined:
                last_busy = loop.time()
            limit = self._config.until_idle_s
            if limit is not None and loop.time() - last_busy >= limit:
                return

    def _balance_flow(self, consumer: AIOKafkaConsumer) -> None:
        for partition, one in self._open.items():
            if one.processor.full and not one.paused:
                consumer.pause(partition)
                one.paused = True
            elif one.paused and one.processor.drained:
                consumer.resume(partition)
                one.paused = False

    async def _open_partition(self, partition: TopicPartition) -> None:
        if self._decider is None or self._consumer is None:
            return
        processor = PartitionProcessor(
            self._connection,
            partition,
            decider=self._decider,
            signer=self._config.signer,
        )
        try:
            start = await processor.open()
            await self._check_start(self._consumer, partition, start)
            if partition not in self._consumer.assignment():
                await processor.abandon()
                return
            self._consumer.seek(partition, start)
            self._consumer.resume(partition)  # it may have been paused when its last processor failed
        except Exception as error:  # noqa: BLE001 - the client would log and drop it, so it is recorded here
            await processor.abandon()
            self._count_failure(partition, error)
            return
        task = asyncio.create_task(processor.run(), name=f"partition-{partition.partition}")
        self._open[partition] = _Open(processor, task)

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

    async def _close_partition(self, partition: TopicPartition) -> None:
        one = self._open.pop(partition, None)
        if one is None:
            return
        await one.processor.close()
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)
        self._done += one.processor.committed_records

    async def _reopen_failed(self, consumer: AIOKafkaConsumer) -> None:
        if self._moving.locked():
            return  # the group is moving partitions; the next turn looks again
        async with self._moving:
            await self._reopen(consumer, asyncio.get_running_loop().time())

    async def _reopen(self, consumer: AIOKafkaConsumer, now: float) -> None:
        for partition, one in list(self._open.items()):
            if not one.task.done():
                if one.processor.committed_records:
                    self._failed.pop(partition, None)
                continue
            error = one.task.exception()
            await self._close_partition(partition)
            if error is not None:
                self._count_failure(partition, error)
        for partition in set(self._failed) - consumer.assignment():
            del self._failed[partition]  # the group gave it to another worker
        for partition, failed in list(self._failed.items()):
            if self._failure is None and partition not in self._open and now >= failed.retry_at_s:
                await self._open_partition(partition)

    def _count_failure(self, partition: TopicPartition, error: BaseException) -> None:
        known = self._failed.get(partition)
        count = known.count + 1 if known else 1
        wait_s = REOPEN_BACKOFF_S * 2**count
        self._failed[partition] = _Failed(count, asyncio.get_running_loop().time() + wait_s)
        log.warning("partition failed attempt=%d %s: %s", count, partition, error)
        # Being fenced is the group's way of saying who owns a partition, or Kafka's of ending a transaction that took
        # too long: neither is a fault as long as the group goes on assigning it to us.
        if not isinstance(error, Retryable | PartitionFenced) or count >= MAX_REOPENS:
            self._failure = error

    async def _shut_down(self, consumer: AIOKafkaConsumer, tables: Tables) -> None:
        for partition in list(self._open):
            await self._close_partition(partition)
        await consumer.stop()
        await tables.stop()
