"""Opening a partition: fenced first, then read back, then checked against what the group has committed.

Rules upheld here: nothing is read before the predecessor is fenced; a changelog that knows less than the group
committed has lost records, and nobody decides on top of that. Not here: groups, reading inputs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jurat.agents.agent import Agent
from jurat.audit.keys import Signer
from jurat.schemas.errors import TopicMismatch
from jurat.streams import topics
from jurat.streams.committing import Output, Transactions
from jurat.streams.deciding import Decider
from jurat.streams.intake import Budget
from jurat.streams.journal import Journal, JournalWriter
from jurat.streams.kafka import Connection, TopicPartition, admin_client, in_our_words
from jurat.streams.metrics import Meters
from jurat.streams.offsets import OffsetMap
from jurat.streams.outputs import Writer
from jurat.streams.reading import Progress
from jurat.streams.retries import RetryPolicy
from jurat.streams.state import PartitionState, Source
from jurat.streams.tracing import Tracing
from jurat.streams.turns import Turns

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the partitions of a worker have in common.

    Attributes:
        connection: the cluster and namespace.
        decider: who decides what is taken into work from now on; another one once other policies are activated.
        signer: the agent's signing identity.
        calls: where the journals of model calls are written.
        budget: what all partitions may hold together.
        meters: what is counted.
        retry: how long to wait after a failure.
        draw: numbers from 0 to 1 for the waits' jitter.
        tracing: who makes spans.
        awake: False when this worker slept for so long that its partitions may be with others.
        turns: whose answers are followed up when.
    """

    connection: Connection
    decider: Decider
    signer: Signer
    calls: JournalWriter
    budget: Budget
    meters: Meters
    retry: RetryPolicy
    draw: Callable[[], float]
    tracing: Tracing
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
        committed = await _committed(shared, state)
        journal = await _restore(number, shared, state, check_ours)  # 2
        for source, offset, text in committed:
            _check_source(source, offset, text, agent.name)
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
        signer=shared.signer,
        cluster_id=shared.decider.cluster_id,
        ids=shared.decider.ids,
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


async def _committed(shared: Shared, state: PartitionState) -> list[tuple[Source, int, str]]:
    """The committed offset and map of each source that has any."""
    connection = shared.connection
    partitions = [source.partition for source in state.sources.values()]
    async with admin_client(connection) as client:
        with in_our_words(connection):
            found = await client.list_consumer_group_offsets(
                connection.group(shared.agent.name), partitions=partitions
            )
    # -1 is Kafka's "none committed".
    return [
        (source, at.offset, at.metadata or "")
        for source in state.sources.values()
        if (at := found.get(source.partition)) is not None and at.offset >= 0
    ]


def _check_source(source: Source, offset: int, text: str, agent: str) -> None:
    known = source.offsets
    if offset < known.low:
        return  # older, or moved back by a tool that writes metadata of its own
    committed = OffsetMap.decode(offset, text)
    if known.covers(committed):
        return
    raise TopicMismatch(
        f"inputs of {source.partition.topic}, partition {source.partition.partition}, are committed up to offset"
        f" {offset} and {len(committed)} above it, but the changelog of {agent} knows of {known.low} and"
        f" {len(known)}: it lost records, or the group's offsets were moved forward. Deciding on would start the audit"
        " chain anew and forget state; restore the changelog, or move the group's offsets back",
        topic=source.partition.topic,
        partition=source.partition.partition,
    )
