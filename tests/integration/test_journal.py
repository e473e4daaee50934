"""The journal of model calls on a real Kafka: restored after a crash, tombstoned in transactions, kept short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import PartitionFenced
from jurat.streams import topics
from jurat.streams.journal import Journal, JournalWriter
from jurat.streams.kafka import (
    AIOKafkaProducer,
    Connection,
    NewTopic,
    admin_client,
    in_our_words,
    transactional_producer,
)
from jurat.streams.topic_admin import ensure_topics
from tests.command import Shell
from tests.journal_stage import PARTITION, WHERE, Meters, Paid, ask, doer, opened, proposal

pytestmark = pytest.mark.integration
AGENT = doer()
JOURNAL = topics.journal(AGENT.name)


@pytest.fixture
async def connection(shell: Shell) -> Connection:
    await ensure_topics(shell.connection, [JOURNAL])
    return shell.connection


@pytest.fixture
async def writer(connection: Connection) -> AsyncIterator[JournalWriter]:
    writer = JournalWriter(connection, agent=AGENT.name)
    await writer.start()
    yield writer
    await writer.stop()


async def restored(connection: Connection, writer: JournalWriter, meters: Meters | None = None) -> Journal:
    journal = opened(writer, connection=connection, meters=meters)
    await journal.restore()
    return journal


async def committing(connection: Connection, name: str = "committer") -> AIOKafkaProducer:
    producer = transactional_producer(connection, transactional_id=name)
    await producer.start()
    return producer


async def tombstone(connection: Connection, producer: AIOKafkaProducer, keys: Sequence[bytes]) -> None:
    for key in keys:
        await producer.send(connection.topic(JOURNAL.name), None, key=key, partition=PARTITION)


def at(offset: int) -> InputRef:
    return WHERE.model_copy(update={"offset": offset})


class Endless(Paid):
    """A reasoner in the middle of whose work the worker ends."""

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        await super().propose(request)
        await asyncio.Event().wait()
        return None


async def test_a_worker_that_crashed_at_any_step_buys_nothing_that_it_had(
    connection: Connection, writer: JournalWriter
) -> None:
    journal = opened(writer, connection=connection)
    await ask(journal, Paid(proposal(1)), where=at(1))  # crashed with the answer, before the commit
    working = asyncio.create_task(ask(journal, slow := Endless(None), where=at(2)))
    while not slow.calls:  # noqa: ASYNC110 - the reasoner says when
        await asyncio.sleep(0.01)
    working.cancel()  # crashed in the middle of a call; and for input 3 before it wrote an intent
    await asyncio.gather(working, return_exceptions=True)
    meters, reasoner = Meters(), Paid(proposal(9))
    again = await restored(connection, writer, meters)
    answers = [await ask(again, reasoner, where=at(offset)) for offset in (1, 2, 3)]
    assert answers == [proposal(1), proposal(9), proposal(9)]
    assert (reasoner.calls, meters.both) == (2, (1, 1))
    third = await restored(connection, writer, meters)
    assert [await ask(third, reasoner, where=at(offset)) for offset in (1, 2, 3)] == answers
    assert (reasoner.calls, meters.both) == (2, (4, 1))


async def test_tombstones_count_when_their_transaction_commits_and_not_before(
    connection: Connection, writer: JournalWriter
) -> None:
    journal = opened(writer, connection=connection)
    for offset in (1, 2):
        await ask(journal, Paid(proposal(offset)), where=at(offset))
    producer = await committing(connection)
    await producer.begin_transaction()
    await tombstone(connection, producer, journal.tombstones(at(1)))
    await producer.abort_transaction()
    assert len(await restored(connection, writer)) == 2
    await producer.begin_transaction()
    await tombstone(connection, producer, journal.tombstones(at(1)))
    await producer.commit_transaction()
    again = await restored(connection, writer)
    assert (again.tombstones(at(1)), again.tombstones(at(2))) == ([], journal.tombstones(at(2)))
    await producer.stop()


async def test_what_a_crashed_worker_left_open_hides_nothing_once_it_is_fenced(
    connection: Connection, writer: JournalWriter
) -> None:
    journal = opened(writer, connection=connection)
    await ask(journal, Paid(proposal(1)), where=at(1))
    crashed = await committing(connection)
    await crashed.begin_transaction()
    await tombstone(connection, crashed, journal.tombstones(at(1)))
    await crashed.flush()
    await ask(journal, Paid(proposal(2)), where=at(2))  # acknowledged behind the open transaction
    owner = await committing(connection)
    assert len(await restored(connection, writer)) == 2
    await owner.stop()
    with pytest.raises(PartitionFenced), in_our_words(connection):
        await crashed.commit_transaction()
    await crashed.stop()


async def test_a_zombies_late_write_is_found_and_goes_with_the_next_commit(
    connection: Connection, writer: JournalWriter
) -> None:
    zombie = opened(writer, connection=connection)
    await ask(zombie, Paid(proposal(1)), where=at(1))
    owner = await restored(connection, writer)
    reasoner = Paid(proposal(9))
    assert await ask(owner, reasoner, where=at(1)) == proposal(1)
    producer = await committing(connection)
    await producer.begin_transaction()
    await tombstone(connection, producer, owner.tombstones(at(1)))
    await producer.commit_transaction()
    await ask(zombie, Paid(proposal(2)), where=at(1), number=1)  # it wakes after the end of its input
    next_owner = await restored(connection, writer)
    assert len(next_owner) == 1
    late = next_owner.stale(lambda where: where == at(1))
    assert (len(late), len(next_owner), reasoner.calls) == (1, 0, 0)
    await producer.begin_transaction()
    await tombstone(connection, producer, late)
    await producer.commit_transaction()
    assert len(await restored(connection, writer)) == 0
    await producer.stop()


SHORTER = {"max.compaction.lag.ms": "1000", "delete.retention.ms": "1000", "segment.bytes": str(1024 * 1024)}
"""What the journal's settings say in minutes and megabytes, so that a test sees them at work."""


async def finish(
    connection: Connection, writer: JournalWriter, producer: AIOKafkaProducer, offsets: Sequence[int]
) -> None:
    """Make calls and end their inputs, as a worker does."""
    journal = opened(writer, connection=connection)
    await asyncio.gather(*(ask(journal, Paid(proposal()), where=at(offset)) for offset in offsets))
    await producer.begin_transaction()
    for offset in offsets:
        await tombstone(connection, producer, journal.tombstones(at(offset)))
        journal.forget(at(offset))
    await producer.commit_transaction()
    assert len(journal) == 0


async def test_the_journal_stays_as_short_as_what_is_in_work(shell: Shell) -> None:
    connection, count = shell.connection, 4_000
    settings = JOURNAL.configs(replication=1) | SHORTER
    async with admin_client(connection) as client:
        await client.create_topics(
            [NewTopic(connection.topic(JOURNAL.name), JOURNAL.partitions, 1, topic_configs=settings)]
        )
    writer = JournalWriter(connection, agent=AGENT.name)
    await writer.start()
    producer = await committing(connection)
    under_way = opened(writer, connection=connection)
    await ask(under_way, Paid(proposal(7)), where=at(count + 1))
    for begin in range(0, count, 1_000):
        await finish(connection, writer, producer, range(begin, begin + 1_000))
    read = 3 * count
    deadline = time.monotonic() + 120
    while read > count // 4:
        assert time.monotonic() < deadline, f"{read} records are left of {count} finished calls"
        await asyncio.sleep(1)
        await finish(connection, writer, producer, [count])  # the open segment is rolled by a write
        journal = opened(writer, connection=connection)
        read = await journal.restore()
    assert journal.tombstones(at(count + 1)) == under_way.tombstones(at(count + 1))
    reasoner = Paid(proposal(9))
    assert await ask(journal, reasoner, where=at(count + 1)) == proposal(7)
    assert (len(journal), reasoner.calls) == (1, 0), "what is in work is not compacted away"
    await producer.stop()
    await writer.stop()
