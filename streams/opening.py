"""Opening a partition: fenced first, then read back, then checked against what stands in Kafka.

Rules upheld here: nothing is read before the predecessor is fenced; nobody decides on top of what does not fit. Not
here: what is compared (`restore_checks.py`), groups, reading inputs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jurat.agents.agent import Agent
from jurat.audit.keys import Signing
from jurat.streams import topics
from jurat.streams.committing import Output, Transactions
from jurat.streams.deciding import Decider
from jurat.streams.intake import Budget
from jurat.streams.journal import Journal, JournalWriter
from jurat.streams.kafka import Connection, TopicPartition
from jurat.streams.metrics import Meters
from jurat.streams.outputs import Writer
from jurat.streams.reading import Progress
from jurat.streams.restore_checks import check_restored, committed_of
from jurat.streams.retries import RetryPolicy
from jurat.streams.state import PartitionState
from jurat.streams.tracing import Tracing
from jurat.streams.turns import Turns

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the partitions of a worker have in common.

    Attributes:
        connection: the cluster and namespace.
        decider: who decides what is taken into work from now on; another one once other policies are activated.
        signing: who signs the next record.
        calls: where the journals of model calls are written.
        budget: what all partitions may hold together.
        meters: what is counted.
        retry: how long to wait after a failure.
        draw: numbers from 0 to 1 for the waits' jitter.
        tracing: who makes spans.
        partitions: how many the agent's topic has now.
        awake: False when this worker slept for so long that its partitions may be with others.
        turns: whose answers are followed up when.
    """

    connection: Connection
    decider: Decider
    signing: Callable[[], Signing]
    calls: JournalWriter
    budget: Budget
    meters: Meters
    retry: RetryPolicy
    draw: Callable[[], float]
    tracing: Tracing
    partitions: Callable[[], int]
    awake: Callable[[], bool]
    turns: Turns = field(default_factory=Turns)

    @property
    def agent(self) -> Agent[Any]:
        """The agent."""
        return self.decider.agent


@dataclass(frozen=True, slots=True)
class Opened:
    """An open partition: its producer, what it remembers, and who writes for it.

    Attributes:
        stale: ends of journal entries that a predecessor left behind; to be written with the first commit.
    """

    transactions: Transactions
    state: PartitionState
    journal: Journal
    writer: Writer
    stale: list[Output]

    async def stop(self) -> None:
        """Stop the producer and let go of what is kept outside of memory."""
        try:
            await self.transactions.stop()
        finally:
            self.state.close()


async def open_partition(number: int, shared: Shared, *, check_ours: Callable[[], None]) -> Opened:
    """Fence and restore the partition with this number.

    Args:
        number: the number.
        shared: what the worker's partitions have in common.
        check_ours: raises when the partition may be somebody else's by now.

    Raises:
        StreamError: Kafka refused, or the changelog cannot be read.
        TopicMismatch: the changelog lost records.
    """
    agent, connection = shared.agent, shared.connection
    topic = connection.topic(agent.topic)
    transactions = Transactions(
        connection,
        transactional_id=f"{agent.name}-{topic}-{number}",
        group=agent.name,
        meters=shared.meters,
    )
    state = PartitionState(
        agent.state_model,
        input_topic=topic,
        timer_topic=connection.topic(topics.timers(agent.name).name),
        partition=number,
    )
    try:
        await transactions.fence()  # 1
        check_ours()  # who slept meanwhile has fenced its successor: it must not go on as the owner
        # Before the changelog: whoever fences us meanwhile moves both on, and only the offsets may be behind.
        committed = await committed_of(connection, agent.name, list(state.sources.values()))
        journal = await _restore(number, shared, state, check_ours)  # 2
        await check_restored(connection, agent.name, state, committed)
    except BaseException:
        try:
            await transactions.stop()
        finally:
            state.close()  # even if we are cancelled meanwhile: its folder would stay
        raise
    writer = Writer(
        connection=connection,
        agent=agent.name,
        partition=number,
        signing=shared.signing,
        cluster_id=shared.decider.cluster_id,
        ids=shared.decider.ids,
        vault=shared.decider.vault,
    )
    stale = [writer.tombstone(key) for key in journal.stale(state.ended)]
    return Opened(transactions, state, journal, writer, stale)


async def _restore(
    number: int, shared: Shared, state: PartitionState, check_ours: Callable[[], None]
) -> Journal:
    agent, connection = shared.agent, shared.connection
    began = time.monotonic()
    changelog = TopicPartition(connection.topic(topics.state(agent.name).name), number)
    entries = await state.restore(
        connection,
        changelog,
        now=shared.decider.clock(),
        progress=Progress(f"the changelog {changelog.topic}, partition {number}"),
    )
    journal = Journal(
        connection,
        agent=agent,
        partition=number,
        writer=shared.calls,
        clock=shared.decider.clock,
        meters=shared.meters,
        partitions=shared.partitions,
        check_ours=check_ours,
    )
    await journal.restore()
    await shared.decider.tables.open_partition(number)
    took_s = time.monotonic() - began
    shared.meters.restored(entries, took_s)
    main = state.sources[state.input_topic]
    log.info(
        "partition open agent=%s topic=%s partition=%d offset=%d seq=%d entries=%d parked=%d timers=%d took_s=%.2f",
        agent.name,
        state.input_topic,
        number,
        main.offsets.low,
        main.head.next_seq,
        entries,
        len(state.parking),
        len(state.timers),
        took_s,
    )
    return journal
