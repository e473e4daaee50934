"""Context tables on a real Kafka: more documents than fit, joined by key, each worker with its own partitions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial

import pytest

from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.agents.shop_views import CUSTOMERS
from jurat.schemas.commerce import CustomerProfile
from jurat.schemas.errors import StreamError, TopicMismatch
from jurat.schemas.model import Money
from jurat.streams import topics
from jurat.streams.kafka import NewTopic, TopicPartition, admin_client, describe_topic_partitions
from jurat.streams.publisher import Publisher
from jurat.streams.reading import partitions_of, read_to_end
from jurat.streams.tables import Tables, digest_of
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.topics import Topic
from tests.command import Shell
from tests.runtime_stage import until

pytestmark = pytest.mark.integration
CUSTOMERS_COUNT = 3_000
BOUND = 64 * 1024
"""Some 120 of the 500 documents of a partition."""

HALVES = ((0, 1, 2), (3, 4, 5))
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def profile(customer: str, *, orders: int) -> CustomerProfile:
    none = Money(amount_minor=0, currency="EUR")
    return CustomerProfile(
        customer_id=customer,
        orders=orders,
        spend=none,
        refunds=0,
        refunded=none,
        failed_charges=0,
        disputes=0,
        first_seen=NOW,
        last_seen=NOW,
    )


async def publish(shell: Shell, profiles: list[CustomerProfile]) -> None:
    async with Publisher(shell.connection, source="/test") as publisher:
        for number, one in enumerate(profiles):
            await publisher.publish(one, event_id=f"{one.customer_id}-{one.orders}-{number}", time=NOW)


def tables_of(shell: Shell) -> Tables:
    return Tables(
        shell.connection,
        [CUSTOMERS],
        input_topic=FULFILMENT_ROUTER.topic,
        max_bytes=BOUND,
        max_hot_bytes=BOUND,
    )


async def partition_by_customer(shell: Shell) -> dict[str, int]:
    """Where a publisher of orders with these keys would write: where its profiles are."""
    where = await partitions_of(shell.connection, [shell.connection.topic(topics.CONTEXT_CUSTOMERS.name)])
    return {
        (record.key or b"").decode(): record.partition
        async for record in read_to_end(shell.connection, where)
    }


async def test_two_workers_join_by_key_what_neither_could_hold_in_memory(shell: Shell) -> None:
    await ensure_topics(shell.connection, [topics.ORDERS, topics.CONTEXT_CUSTOMERS])
    names = [f"customer-{number}" for number in range(CUSTOMERS_COUNT)]
    await publish(shell, [profile(name, orders=1) for name in names])
    await publish(shell, [profile(name, orders=2) for name in names[::3]])
    expected = {name: profile(name, orders=1) for name in names}
    expected |= {name: profile(name, orders=2) for name in names[::3]}
    partitions = await partition_by_customer(shell)
    workers = [tables_of(shell) for _ in HALVES]
    try:
        for worker, half in zip(workers, HALVES, strict=True):
            await worker.start()
            await asyncio.gather(*(worker.open_partition(number) for number in half))
        found = {}
        for name in names:
            worker = workers[0 if partitions[name] in HALVES[0] else 1]
            held = worker.get(CUSTOMERS.name, name, partition=partitions[name])
            assert held is not None
            assert (held.partition, held.sha256) == (partitions[name], digest_of(held.model))
            found[name] = held.model
        assert found == expected
        for worker, half in zip(workers, HALVES, strict=True):
            assert worker.bytes_in_memory <= len(half) * 2 * BOUND
            assert worker.unreadable == 0
            with pytest.raises(StreamError, match="not open"):
                worker.get(CUSTOMERS.name, names[0], partition=(half[0] + 3) % 6)

        # What comes later is followed, also by who takes a partition over, and forgotten by who gave it up.
        moved = HALVES[0][0]
        workers[0].close_partition(moved)
        late = [profile(name, orders=3) for name in names[:300]]
        await publish(shell, late)
        await workers[1].open_partition(moved)
        served = {number: workers[0] if number in (1, 2) else workers[1] for number in range(6)}
        for number, worker in served.items():
            assert await worker.caught_up(60, partition=number)
        for one in late:
            number = partitions[one.customer_id]
            held = served[number].get(CUSTOMERS.name, one.customer_id, partition=number)
            assert held is not None
            assert held.model == one
        with pytest.raises(StreamError, match="not open"):
            workers[0].get(CUSTOMERS.name, names[0], partition=moved)
    finally:
        await asyncio.gather(*(worker.stop() for worker in workers))


async def test_a_reading_tells_how_far_it_is(shell: Shell) -> None:
    await ensure_topics(shell.connection, [topics.CONTEXT_CUSTOMERS])
    await publish(shell, [profile(f"c-{number}", orders=1) for number in range(2_500)])
    where = await partitions_of(shell.connection, [shell.connection.topic(topics.CONTEXT_CUSTOMERS.name)])
    told: list[tuple[int, int]] = []
    read = read_to_end(shell.connection, where, progress=lambda *said: told.append(said))
    records = [record async for record in read]
    assert (len(records), told[-1]) == (2_500, (2_500, 2_500))
    assert len(told) > 1
    assert told == sorted(told)
    assert await _empty(shell) == [(0, 0)]


async def _empty(shell: Shell) -> list[tuple[int, int]]:
    await ensure_topics(shell.connection, [topics.ORDERS])
    told: list[tuple[int, int]] = []
    where = [TopicPartition(shell.connection.topic(topics.ORDERS.name), 0)]
    read = read_to_end(shell.connection, where, progress=lambda *said: told.append(said))
    assert [record async for record in read] == []
    return told


async def known(shell: Shell, topic: Topic) -> bool:
    name = shell.connection.topic(topic.name)
    async with admin_client(shell.connection) as client:
        return name in await describe_topic_partitions(client, [name])


async def test_topics_that_are_partitioned_otherwise_are_refused(shell: Shell) -> None:
    await ensure_topics(shell.connection, [topics.ORDERS])
    async with admin_client(shell.connection) as client:
        await client.create_topics([NewTopic(shell.connection.topic(topics.CONTEXT_CUSTOMERS.name), 3, 1)])
    await until(partial(known, shell, topics.CONTEXT_CUSTOMERS))
    with pytest.raises(TopicMismatch, match=r"commerce\.orders, which has 6 partitions, but .* has 3"):
        await tables_of(shell).start()
