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
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final

from jurat.schemas.errors import BrokerUnreachable, StreamError
from jurat.streams import topics
from jurat.streams.deciding import Decider
from jurat.streams.intake import Budget
from jurat.streams.journal import JournalWriter
from jurat.streams.kafka import (
    SESSION_TIMEOUT_MS,
    AIOKafkaConsumer,
    Connection,
    ConsumerRebalanceListener,
    TopicPartition,
    admin_client,
    group_consumer,
    in_our_words,
    record_of,
)
from jurat.streams.kafka_ending import STOP_S, end_tasks, stop_quietly, to_its_end
from jurat.streams.metrics import Meters
from jurat.streams.opening import Shared
from jurat.streams.partition import PartitionProcessor
from jurat.streams.patience import Patience, Silence
from jurat.streams.policy_feed import Judges, PolicyFeed
from jurat.streams.reading import all_taken
from jurat.streams.shadow import Shadow
from jurat.streams.tables import Tables
from jurat.streams.topic_admin import ensure_agent_topics, ensure_topics
from jurat.streams.topic_checks import check_start, check_topics
from jurat.streams.worker_config import PinnedSession, Session, WorkerConfig
from jurat.streams.worker_status import worker_status

__all__ = ["Worker", "WorkerConfig"]

log = logging.getLogger(__name__)

POLL_MS: Final = 100
MAX_POLL_RECORDS: Final = 1_000
STATUS_EVERY_S: Final = 0.2
"""How often a worker says what it does: often enough for whoever asks for its health, seldom beside its turns."""


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Runs one agent on one cluster."""

    def __init__(self, connection: Connection, config: WorkerConfig) -> None:
        self._connection = connection
        self._config = config
        self._meters = config.meters or Meters(config.agent.name)
        self._session: Session = config.session or PinnedSession(config.signer)
        self._budget = Budget(config.max_in_flight)
        self._input = connection.topic(config.agent.topic)
        self._timers = connection.topic(topics.timers(config.agent.name).name)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._open: dict[int, PartitionProcessor] = {}
        self._served: set[PartitionProcessor] = set()  # those that are being opened, too
        self._paused: set[int] = set()
        self._joined = False
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._closing = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._shared: Shared | None = None
        self._unserved: set[int] = set()
        self._done = 0
        self._turned_at: float | None = None
        self._silence = Silence(config.agent.name, connection.bootstrap_servers)
        self._checking: asyncio.Task[None] | None = None
        self._policies = PolicyFeed(
            connection,
            config.agent,
            given=config.engine,
            trust=config.trust,
            meters=self._meters,
            swap=self._swap,
        )

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
        agent = self._config.agent
        tables = Tables(self._connection, agent.views, input_topic=agent.topic, ids=self._config.ids)
        calls = JournalWriter(self._connection, agent=agent.name)
        consumer = self._consumer = group_consumer(self._connection, group=agent.name)
        async with AsyncExitStack() as clients:  # each is stopped, whatever comes of the others
            clients.push_async_callback(tables.stop)
            clients.push_async_callback(calls.stop)
            clients.push_async_callback(self._policies.stop)
            clients.push_async_callback(self._session.stop)
            clients.push_async_callback(stop_quietly, consumer)
            clients.push_async_callback(lambda: to_its_end(self._leave()))
            if await self._unless_stopped(self._start(consumer, tables, calls)):
                with in_our_words(self._connection):
                    consumer.subscribe([self._input, self._timers], listener=self)
                    await self._poll(consumer, tables)
        if self._failure is not None:
            raise self._failure

    async def _leave(self) -> None:
        self._consumer = None  # what the group assigns from here on is not opened
        if self._checking is not None:
            await end_tasks([self._checking])
        async with self._closing:
            await self._close(list(self._tasks))

    async def _start(self, consumer: AIOKafkaConsumer, tables: Tables, calls: JournalWriter) -> None:
        """Everything before the group is joined: topics, views, what the partitions share."""
        config = self._config
        created = await ensure_agent_topics(self._connection, config.agent)
        if config.vault is not None:
            created += await ensure_topics(self._connection, topics.OF_VEILED_RECORDS)
        if created:
            log.info("topics created: %s", ", ".join(created))
        async with admin_client(self._connection) as client:
            cluster_id = (await client.describe_cluster())["cluster_id"]
        await self._session.start()
        await tables.start()
        await calls.start()
        self._shared = Shared(
            connection=self._connection,
            decider=Decider(
                agent=config.agent,
                reasoner=config.reasoner,
                engine=config.engine,
                tables=tables,
                cluster_id=cluster_id,
                clock=config.clock,
                code=config.code,
                ids=config.ids,
                tracing=config.tracing,
                trust=config.trust,
                permits=self._session.permits,
                vault=config.vault,
            ),
            signing=self._session.now,
            calls=calls,
            budget=self._budget,
            meters=self._meters,
            retry=config.retry,
            draw=config.draw,
            tracing=config.tracing,
            partitions=partial(self._partitions, consumer),
            awake=self._awake,
        )
        await self._policies.start(cluster_id=cluster_id)
        with in_our_words(self._connection):
            await consumer.start()

    def _swap(self, judges: Judges) -> None:
        """Let these judge what is taken into work from now on; what is in work keeps who it began with."""
        if self._shared is not None:
            shadow = None if judges.shadow is None else Shadow(judges.shadow, self._meters)
            self._shared.decider = replace(self._shared.decider, engine=judges.engine, shadow=shadow)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do this, unless the worker is asked to stop meanwhile; tell whether it was done."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            return working.done()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

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
        if not all(set(self._both(number)) <= set(partitions) for number in numbers or (0,)):
            self._check_topics()
        self._unserved.clear()
        for number in numbers:
            if not set(self._both(number)) <= set(partitions):
                self._unserved.add(number)
                # A topic that is not in the client's metadata yet, or no more; or a member of the group that does not
                # read the timers. The group gives partitions anew when that changes.
                log.error(
                    "partition not served agent=%s partition=%d: got it of only one of %s and %s, expected both; is"
                    " every member of the group a worker of this release?",
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
        """Close what the group takes away, before it goes on; what is being closed already is waited for."""
        async with self._closing:
            await self._close(sorted({partition.partition for partition in revoked}))

    def _check_topics(self) -> None:
        """Find out whether less was assigned than expected because a topic is gone."""

        async def check() -> None:
            try:
                await check_topics(self._connection, (self._input, self._timers))
            except StreamError as error:
                self._failure = self._failure or error

        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(check())

    def _both(self, number: int) -> tuple[TopicPartition, TopicPartition]:
        return TopicPartition(self._input, number), TopicPartition(self._timers, number)

    async def _poll(self, consumer: AIOKafkaConsumer, tables: Tables) -> None:
        loop = asyncio.get_running_loop()
        last_busy = loop.time()
        while not self._stopping.is_set() and self._failure is None:
            if not self._awake():
                for served in self._served:
                    served.doubt()
            self._turned_at = loop.time()
            taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
            for partition, records in taken.items():
                processor = self._open.get(partition.partition)
                if processor is not None:
                    processor.feed([record_of(record) for record in records])
            self._balance_flow(consumer)
            await self._tell(consumer, loop.time())
            failed = tables.failure or self._policies.failure or self._session.failure
            self._failure = failed or self._failure
            if taken or self._busy():
                last_busy = loop.time()
            limit = self._config.until_idle_s
            if limit is not None and loop.time() - last_busy >= limit:
                partitions = [partition for number in self._open for partition in self._both(number)]
                if await all_taken(self._connection, consumer, partitions):
                    return
                last_busy = loop.time()

    async def _tell(self, consumer: AIOKafkaConsumer, now: float) -> None:
        """Renew what is told of this worker, a few times a second."""
        told = self._meters.status
        if told is not None and now - told.at < STATUS_EVERY_S:
            return
        numbers = sorted({*self._tasks, *self._unserved})
        status = self._meters.status = await worker_status(
            consumer,
            self._input,
            self._timers,
            served={number: self._open.get(number) for number in numbers},
            paused=self._paused,
            joined=self._joined,
            now=now,
        )
        if status.heard_at is not None:
            self._silence.see(status.at - status.heard_at)

    def _partitions(self, consumer: AIOKafkaConsumer) -> int:
        """How many the input topic has, as the client knows it; it knows before it serves one."""
        known = consumer.partitions_for_topic(self._input)
        if not known:
            raise BrokerUnreachable(f"the client does not know the partitions of {self._input} now")
        return len(known)

    def _awake(self) -> bool:
        """Whether this worker's turns come often enough that the group cannot have given its partitions away."""
        now = asyncio.get_running_loop().time()
        return self._turned_at is None or now - self._turned_at < SESSION_TIMEOUT_MS / 1000

    def _busy(self) -> bool:
        opening = len(self._tasks) != len(self._open) or bool(self._unserved)
        return opening or not self._joined or any(processor.busy for processor in self._open.values())

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
        patience = Patience()
        while self._failure is None and self._shared is not None:
            processor = PartitionProcessor(number, self._shared)
            self._served.add(processor)
            try:
                starts = await processor.open()
                await self._policies.settled()
                for partition, start in starts.items():
                    await check_start(self._connection, consumer, partition, start)
                    consumer.seek(partition, start)
                self._open[number] = processor
                consumer.resume(*self._both(number))
                await processor.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised by `run` or waited out
                pause_s = patience.after(
                    error,
                    opened=number in self._open,
                    committed=bool(processor.committed_records),
                    now=asyncio.get_running_loop().time(),
                )
                self._meters.reopened(type(error).__name__)
                if pause_s is None:
                    self._failure = patience.given_up(error, topic=self._input, partition=number)
                    return
                log.log(
                    patience.level,
                    "partition failed agent=%s partition=%d again_in_s=%.0f: %s",
                    self._config.agent.name,
                    number,
                    pause_s,
                    error,
                )
                if self._tasks.get(number) is not asyncio.current_task():
                    return  # it failed while it was closed: its next owner opens it
            else:
                return
            finally:
                self._open.pop(number, None)
                self._served.discard(processor)
                self._paused.discard(number)
                self._done += processor.committed_records
                try:
                    await processor.abandon()
                finally:
                    self._shared.decider.tables.close_partition(number)
            consumer.pause(*self._both(number))
            await asyncio.sleep(pause_s)

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
        self._failure = self._failure or next((one for one in ended if isinstance(one, BaseException)), None)
