"""Following a set of partitions that changes: each record once, from where it was said, none of what was removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jurat.schemas.errors import StreamError
from jurat.streams.following import Follower
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from tests.fake_consumer import FakeConsumer

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


def write(consumer: FakeConsumer, partition: TopicPartition, count: int) -> None:
    for _ in range(count):
        consumer.write(KafkaRecord(partition.topic, partition.partition, 0, 0, b"k", b"v"))


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> FakeConsumer:
    made = FakeConsumer()
    made.serve(monkeypatch)
    return made


@pytest.fixture
async def seen() -> list[tuple[int, int]]:
    return []


@pytest.fixture
async def follower(consumer: FakeConsumer, seen: list[tuple[int, int]]) -> AsyncIterator[Follower]:
    made = Follower(
        Connection("nowhere:1"), lambda record: seen.append((record.partition, record.offset)), what="it"
    )
    await made.start()
    yield made
    await made.stop()
    assert consumer.stopped == 1


async def test_it_follows_from_where_it_was_told(
    follower: Follower, consumer: FakeConsumer, seen: list[tuple[int, int]]
) -> None:
    write(consumer, ONE, 3)
    follower.add({ONE: 2})
    assert await follower.caught_up([ONE], 1)
    assert seen == [(0, 2)]
    write(consumer, TWO, 1)
    follower.add({TWO: 0})
    write(consumer, ONE, 1)
    assert await follower.caught_up([ONE, TWO], 1)
    assert sorted(seen[1:]) == [(0, 3), (1, 0)]


async def test_what_was_fetched_before_a_change_comes_once(
    follower: Follower, consumer: FakeConsumer, seen: list[tuple[int, int]]
) -> None:
    follower.add({ONE: 0})
    write(consumer, ONE, 5)
    consumer.go_on.clear()
    consumer.polled.clear()
    await consumer.polled.wait()  # fetched, not handed over
    write(consumer, TWO, 1)
    follower.add({TWO: 0})
    consumer.go_on.set()
    assert await follower.caught_up([ONE, TWO], 1)
    assert sorted(seen) == [*((0, offset) for offset in range(5)), (1, 0)]


async def test_nothing_comes_of_what_was_removed_and_only_the_rest_of_what_is_added_again(
    follower: Follower, consumer: FakeConsumer, seen: list[tuple[int, int]]
) -> None:
    follower.add({ONE: 0})
    write(consumer, ONE, 5)
    consumer.go_on.clear()
    consumer.polled.clear()
    await consumer.polled.wait()
    follower.remove([ONE])
    with pytest.raises(StreamError, match="not followed"):
        await follower.caught_up([ONE], 1)
    follower.add({ONE: 4})  # somebody else has read up to here
    consumer.go_on.set()
    assert await follower.caught_up([ONE], 1)
    assert seen == [(0, 4)]


async def test_control_records_at_the_end_are_passed(follower: Follower, consumer: FakeConsumer) -> None:
    write(consumer, ONE, 1)
    consumer.logs[ONE].append(None)
    follower.add({ONE: 0})
    assert await follower.caught_up([ONE], 1)


async def test_who_waits_for_what_does_not_come_is_told_so(
    follower: Follower, consumer: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer.go_on.clear()
    write(consumer, ONE, 1)
    follower.add({ONE: 0})
    assert not await follower.caught_up([ONE], 0.05)


async def test_who_waits_for_a_partition_that_is_removed_hears_of_it(
    follower: Follower, consumer: FakeConsumer
) -> None:
    follower.add({ONE: 0, TWO: 0})
    assert await follower.caught_up([TWO], 1)
    consumer.logs[ONE] = []

    async def ends(*_: object) -> dict[TopicPartition, int]:
        return {ONE: 10}

    consumer.end_offsets = ends  # type: ignore[method-assign, assignment]
    waiting = asyncio.create_task(follower.caught_up([ONE], 120))
    await asyncio.sleep(0.01)
    follower.remove([ONE])
    with pytest.raises(StreamError, match="given up"):
        await asyncio.wait_for(waiting, 60)


async def test_a_record_that_cannot_be_taken_ends_the_following_and_is_heard_of(
    consumer: FakeConsumer,
) -> None:
    def broken(_record: KafkaRecord) -> None:
        raise KeyError("defect")

    follower = Follower(Connection("nowhere:1"), broken, what="the view x")
    await follower.start()
    write(consumer, ONE, 1)
    follower.add({ONE: 0})
    with pytest.raises(StreamError, match="the view x cannot be followed: folding failed with KeyError"):
        await follower.caught_up([ONE], 1)
    assert isinstance(follower.failure, KeyError)
    await follower.stop()
    with pytest.raises(StreamError, match="not followed any more"):
        await follower.ends([ONE])


async def test_a_partition_that_is_removed_while_its_position_is_asked_for_stays_removed(
    follower: Follower,
    consumer: FakeConsumer,
    seen: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def position(reader: FakeConsumer, partition: TopicPartition) -> int:
        asked.set()
        await answer.wait()
        return reader.positions[partition]

    monkeypatch.setattr(FakeConsumer, "position", position)
    follower.add({ONE: 0, TWO: 0})
    await asked.wait()
    follower.remove([ONE])
    answer.set()
    write(consumer, ONE, 1)
    write(consumer, TWO, 1)
    assert await follower.caught_up([TWO], 1)
    assert seen == [(1, 0)]
    with pytest.raises(StreamError, match="not followed"):
        await follower.caught_up([ONE], 1)


async def test_a_partition_that_is_followed_from_elsewhere_while_its_position_is_asked_for_begins_there(
    follower: Follower,
    consumer: FakeConsumer,
    seen: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def position(reader: FakeConsumer, partition: TopicPartition) -> int:
        asked.set()
        at = reader.positions[partition]
        await answer.wait()
        return at

    monkeypatch.setattr(FakeConsumer, "position", position)
    write(consumer, ONE, 3)
    follower.add({ONE: 2})
    await asked.wait()
    follower.remove([ONE])
    follower.add({ONE: 0})
    answer.set()
    assert await follower.caught_up([ONE], 1)
    assert seen == [(0, 2), (0, 0), (0, 1), (0, 2)]
