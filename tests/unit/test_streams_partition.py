"""An open partition without Kafka: what runs beside what, what waits, what is committed, and what is left behind."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from jurat.schemas.errors import ConfigurationError, PartitionFenced, ReopenPartition
from jurat.streams import partition as partition_module
from jurat.streams.batching import COMMIT_MAX_RECORDS, MAX_ENDED
from jurat.streams.intake import LOW_WATER, MAX_HELD_BYTES, MIN_HELD_RECORDS
from jurat.streams.kafka import KafkaRecord, TopicPartition
from jurat.streams.offsets import MAX_MAP_CHARS, MAX_SPAN, OffsetMap
from jurat.streams.partition import PartitionProcessor
from tests.partition_stage import INPUT, TIMERS, WITHIN_S, Stage, many, record, until

SOURCE = TopicPartition(INPUT, 0)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


class Gate:
    """Holds up the inputs of some keys until it is opened."""

    def __init__(self, *keys: str) -> None:
        self.keys = {key.encode() for key in keys}
        self.open = asyncio.Event()

    async def __call__(self, one: KafkaRecord, _attempt: int) -> None:
        if not self.keys or one.key in self.keys:
            await self.open.wait()


async def test_keys_run_beside_each_other_and_each_in_its_order(stage: Stage) -> None:
    gate = stage.decider.behaviour = Gate()
    async with stage.partition() as one:
        one.feed(many(range(200), 20))
        await until(lambda: stage.decider.most == 20)
        assert not stage.ends()
        gate.open.set()
        await until(lambda: len(stage.ends()) == 200)
        assert stage.decider.most == 20
        for key in range(20):
            assert [at for _, at in stage.ends() if at % 20 == key] == list(range(key, 200, 20))
        assert stage.transactions[0].log[-1].offsets[SOURCE] == (200, "")


async def test_a_slow_key_delays_only_itself(stage: Stage) -> None:
    gate = stage.decider.behaviour = Gate("k-0")
    async with stage.partition() as one:
        one.feed(many(range(1_000), 10))
        await until(lambda: len(stage.ends()) == 900)
        assert {at % 10 for _, at in stage.ends()} == set(range(1, 10))
        low, text = stage.transactions[0].log[-1].offsets[SOURCE]
        assert (low, len(OffsetMap.decode(low, text))) == (0, 900)
        gate.open.set()
        await until(lambda: len(stage.ends()) == 1_000)
        assert [at for _, at in stage.ends() if at % 10 == 0] == list(range(0, 1_000, 10))


async def test_a_key_is_one_lane_whichever_topic_its_inputs_are_on(stage: Stage) -> None:
    gate = stage.decider.behaviour = Gate("c-1")
    async with stage.partition() as one:
        one.feed([record(0, "c-1")])
        one.feed([record(0, "c-1", topic=TIMERS), record(1, "c-2", topic=TIMERS)])
        await until(lambda: stage.ends() == [(TIMERS, 1)])
        gate.open.set()
        await until(lambda: stage.ends() == [(TIMERS, 1), (INPUT, 0), (TIMERS, 0)])


@pytest.mark.parametrize("waits", [True, False])
async def test_the_bound_of_what_is_in_flight_holds_for_all_partitions_and_none_starves(
    monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    stage = Stage(monkeypatch, max_in_flight=3)

    async def work(_one: KafkaRecord, _attempt: int) -> None:
        if waits:
            await asyncio.sleep(0.001)

    stage.decider.behaviour = work
    async with stage.partition(0) as first, stage.partition(1) as second, stage.partition(2) as third:
        for number, one in enumerate((first, second, third)):
            one.feed([record(offset, f"k-{offset % 50}", partition=number) for offset in range(100)])
        await until(
            lambda: sum(len(stage.ends(number)) for number in range(3)) == 300, why="a partition starves"
        )
        assert stage.decider.most <= 3
    assert stage.budget.in_flight == 0


async def test_one_place_is_shared_fairly_by_two_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_in_flight=1)
    order: list[int] = []

    async def work(one: KafkaRecord, _attempt: int) -> None:
        order.append(one.partition)
        await asyncio.sleep(0)

    stage.decider.behaviour = work
    async with stage.partition(0) as first, stage.partition(1) as second:
        first.feed(many(range(100), 10))
        second.feed([record(offset, f"k-{offset}", partition=1) for offset in range(20)])
        await until(lambda: len(order) == 120)
        last = max(at for at, number in enumerate(order) if number == 1)
        assert last < 60, "the partition with less to do waited for all of the other"


async def test_a_place_that_the_next_in_turn_does_not_need_goes_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A partition that asked for a place may be closed, or find its work done, before it is called."""
    monkeypatch.setattr(partition_module, "DUE_POLL_S", 3600.0)  # nobody waits for the next look at the clock
    stage = Stage(monkeypatch, max_in_flight=1)
    gate = stage.decider.behaviour = Gate("k-0")
    async with stage.partition(0) as first, stage.partition(1) as second, stage.partition(2) as third:
        first.feed([record(0, "k-0")])
        await until(lambda: len(stage.decider.began) == 1)
        second.feed([record(0, "k-1", partition=1)])
        third.feed([record(0, "k-2", partition=2)])
        second._open.lanes.clear()  # type: ignore[union-attr]
        gate.open.set()
        await until(lambda: len(stage.ends(2)) == 1)


async def test_reading_pauses_at_the_high_mark_and_goes_on_at_the_low_one(stage: Stage) -> None:
    gate = stage.decider.behaviour = Gate()
    async with stage.partition() as one:
        one.feed(many(range(MIN_HELD_RECORDS - 1), 10))
        assert (one.full, one.drained, one.busy) == (False, False, True)
        one.feed(many(range(MIN_HELD_RECORDS - 1, MIN_HELD_RECORDS), 10))
        assert one.full
        gate.open.set()
        await until(lambda: one.drained)
        assert one._held_records <= MIN_HELD_RECORDS * LOW_WATER
        await until(lambda: not one.busy)
        assert not one.full
        assert stage.budget.bytes == 0


async def test_reading_pauses_by_bytes_in_the_partition_that_holds_more_than_its_share(stage: Stage) -> None:
    gate = stage.decider.behaviour = Gate()
    stage.budget.partitions = 2
    async with stage.partition(0) as heavy, stage.partition(1) as light:
        light.feed([record(0, "k-1", partition=1)])
        heavy.feed([record(0, size=MAX_HELD_BYTES // 2), record(1, "k-2", size=MAX_HELD_BYTES // 2)])
        assert (heavy.full, light.full) == (True, False)
        gate.open.set()
        await until(lambda: heavy.drained)
    assert stage.budget.bytes == 0


async def test_one_stuck_key_holds_up_others_only_at_the_end_of_the_span(stage: Stage) -> None:
    gate = stage.decider.behaviour = Gate("stuck")
    count = 50_000
    async with stage.partition() as one:
        one.feed([record(0, "stuck")])
        paused = False
        for start in range(1, count, 1_000):
            one.feed(many(range(start, min(start + 1_000, count)), 97))
            await until(lambda: not one.full or len(stage.ends()) == MAX_SPAN - 1)
            paused = one.full
            if paused:
                break
        assert paused
        await until(lambda: len(stage.ends()) == MAX_SPAN - 1)
        assert not one.drained, "it is read on though nothing more can be admitted"
        assert one.status(lag=0, now=0.0).span == MAX_SPAN
        assert stage.transactions[0].log[-1].offsets[SOURCE][0] == 0
        gate.open.set()
        for at in range(start + 1_000, count, 1_000):
            one.feed(many(range(at, min(at + 1_000, count)), 97))
            await until(lambda: not one.full)
        await until(lambda: len(stage.ends()) == count)
        assert all(
            len(text) <= MAX_MAP_CHARS
            for each in stage.transactions[0].log
            for _, text in each.offsets.values()
        )
        assert Counter(stage.ends()).most_common(1)[0][1] == 1


async def test_gaps_are_taken_and_going_back_opens_the_partition_anew(stage: Stage) -> None:
    """Kafka leaves gaps (compaction, transaction markers) but never goes back, unless the topic is another one."""
    one = PartitionProcessor(0, stage.shared)
    await one.open()
    one.feed([record(offset) for offset in (3, 5, 9)])
    assert not one.full
    one.feed([record(4)])
    with pytest.raises(ReopenPartition, match="offset 4 after 9"):
        await one.run()
    await one.abandon()


@pytest.mark.parametrize("error", [PartitionFenced("another has it"), ReopenPartition("not confirmed")])
async def test_a_commit_that_fails_ends_the_partition_and_closing_does_not_wait(
    stage: Stage, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "CLOSE_GRACE_S", 3600.0)
    one = PartitionProcessor(0, stage.shared)
    await one.open()
    stage.transactions[0].failure = error
    one.feed(many(range(10), 10))
    with pytest.raises(type(error)):
        await asyncio.wait_for(one.run(), WITHIN_S)
    await asyncio.wait_for(one.close(), WITHIN_S)
    assert (stage.budget.in_flight, stage.budget.bytes) == (0, 0)
    assert stage.state(0).sources[INPUT].head.next_seq == 0, "the head moved without a commit"


async def test_a_fault_that_does_not_pass_ends_the_partition(stage: Stage) -> None:
    async def broken(_one: KafkaRecord, _attempt: int) -> None:
        raise ConfigurationError("got a view that nobody declared")

    stage.decider.behaviour = broken
    one = PartitionProcessor(0, stage.shared)
    await one.open()
    one.feed([record(0)])
    with pytest.raises(ConfigurationError):
        await asyncio.wait_for(one.run(), WITHIN_S)
    await one.abandon()


async def test_a_partition_whose_abandoning_is_cancelled_stops_its_producer(stage: Stage) -> None:
    """So it goes where several partitions fail at once: the worker's end cancels those that are being abandoned."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow_to_end(_one: KafkaRecord, _attempt: int) -> None:
        began.set()
        try:
            await go_on.wait()
        finally:
            await go_on.wait()

    stage.decider.behaviour = slow_to_end
    one = PartitionProcessor(0, stage.shared)
    await one.open()
    running = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    one.feed([record(0)])
    await began.wait()
    abandoning = asyncio.create_task(one.abandon())
    await asyncio.sleep(0.01)
    abandoning.cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.wait([abandoning, running])
    assert not stage.transactions[0].open


async def test_closing_commits_what_ends_within_the_grace_and_drops_the_rest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "CLOSE_GRACE_S", 1.0)
    never, closing = asyncio.Event(), asyncio.Event()

    async def work(one: KafkaRecord, _attempt: int) -> None:
        await (never.wait() if one.key == b"k-0" else closing.wait())

    stage.decider.behaviour = work
    async with stage.partition() as one:
        one.feed(many(range(20), 10))
        await until(lambda: len(stage.decider.began) == 10)
        start = time.monotonic()
        asyncio.get_running_loop().call_soon(closing.set)
        await one.close()
        assert time.monotonic() - start > 0.9, "it gave up on what was in work"
        assert sorted(at for _, at in stage.ends()) == list(range(1, 10)), "nothing may begin while it closes"
        low, text = stage.transactions[0].log[-1].offsets[SOURCE]
        assert (low, len(OffsetMap.decode(low, text))) == (0, 9)
        assert not stage.transactions[0].open
        one.feed([record(20)])
        assert not one.busy, "what comes after closing is not taken"
    assert (stage.budget.in_flight, stage.budget.bytes) == (0, 0)


async def test_closing_an_idle_partition_ends_its_run(stage: Stage) -> None:
    one = PartitionProcessor(0, stage.shared)
    await one.open()
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    await one.close()
    await asyncio.wait_for(task, WITHIN_S)
    one.feed([record(7)])
    assert not one.busy


async def test_a_partition_that_is_never_run_closes_at_once(stage: Stage) -> None:
    one = PartitionProcessor(0, stage.shared)
    await one.open()
    one.feed(many(range(10), 10))
    start = time.monotonic()
    await one.close()
    assert time.monotonic() - start < partition_module.CLOSE_GRACE_S / 2
    assert stage.budget.bytes == 0


async def test_cancelling_leaves_nothing_behind(stage: Stage) -> None:
    stage.decider.behaviour = Gate()
    before = asyncio.all_tasks()
    one = PartitionProcessor(0, stage.shared)
    await one.open()
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    one.feed(many(range(100), 10))
    await until(lambda: len(stage.decider.began) == 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await one.abandon()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before
    assert (stage.budget.in_flight, stage.budget.bytes, stage.budget.starved) == (0, 0, False)


async def test_a_closed_partition_gives_its_turn_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_in_flight=1)
    gate = stage.decider.behaviour = Gate("k-0")
    async with stage.partition(0) as first, stage.partition(2) as third:
        async with stage.partition(1) as second:
            first.feed([record(0, "k-0")])
            await until(lambda: len(stage.decider.began) == 1)
            second.feed([record(0, "k-1", partition=1)])
            third.feed([record(0, "k-2", partition=2)])
        gate.open.set()
        await until(lambda: len(stage.ends(2)) == 1)
    assert stage.ends(1) == []


async def test_what_was_done_before_a_restart_is_not_decided_again(stage: Stage) -> None:
    stage.state(0).sources[INPUT].offsets = OffsetMap(10, {12, 14})
    async with stage.partition() as one:
        assert one.next_offset(INPUT) == 10
        one.feed(many(range(10, 20), 10))
        await until(lambda: len(stage.ends()) == 8)
        assert sorted(at for _, at in stage.ends()) == [10, 11, 13, 15, 16, 17, 18, 19]
        await until(lambda: stage.transactions[0].log[-1].offsets[SOURCE] == (20, ""))
        assert stage.budget.bytes == 0
        assert not one.busy


async def test_a_batch_writes_what_ended_in_its_order_with_offsets_and_ends_of_calls(stage: Stage) -> None:
    async with stage.partition() as one:
        one.feed(many(range(3), 3))
        await until(lambda: len(stage.ends()) == 3)
        outputs = [output for each in stage.transactions[0].log for output in each.outputs]
        assert [output.key for output in outputs if output.topic == "journal"] == [
            b"call/0",
            b"call/1",
            b"call/2",
        ]
        assert sorted(stage.journal.forgotten) == [0, 1, 2]
        assert f"chain/{INPUT}" in stage.changelog()
        assert one.committed_records == 3


async def test_ends_that_wait_for_a_slow_commit_are_bounded(stage: Stage) -> None:
    stage.transactions[0].gate.clear()
    async with stage.partition() as one:
        one.feed(many(range(3_900), 3_900))
        await asyncio.sleep(0.3)
        assert len(stage.decider.ended) <= MAX_ENDED + COMMIT_MAX_RECORDS + stage.max_in_flight
        stage.transactions[0].gate.set()
        await until(lambda: len(stage.ends()) == 3_900)
