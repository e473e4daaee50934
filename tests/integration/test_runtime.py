"""The decision runtime on a real Kafka: order, concurrency, attempts, timers, repeats, layouts, rebalances, floods."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jurat.audit.record import Outcome
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import decode, encode
from jurat.schemas.timers import TimerFired
from jurat.streams import topics
from jurat.streams.dead_letters import ERROR, OFFSET, REASON
from jurat.streams.duplicates import WINDOW_S
from jurat.streams.kafka import (
    TopicPartition,
    admin_client,
    describe_topic_partitions,
    idempotent_producer,
    partition_of_key,
)
from jurat.streams.offsets import MAX_MAP_CHARS
from jurat.streams.retries import MAX_ATTEMPTS, RetryPolicy
from tests.command import Shell
from tests.oracle import Findings, repeats
from tests.runtime_stage import (
    EAGER,
    PLAIN,
    Clock,
    Plan,
    Sent,
    Thinking,
    failed,
    findings,
    prepare,
    publish,
    publish_many,
    read,
    running,
    until,
    worker_of,
)

pytestmark = pytest.mark.integration


def in_order(found: Findings) -> dict[str, list[int]]:
    """Per key the offsets of its decisions, as subscribers read them."""
    ends: dict[str, list[int]] = {}
    for decision in found.decisions:
        ends.setdefault(decision.subject, []).append(decision.input.offset)
    return ends


async def test_keys_are_decided_beside_each_other_and_each_in_its_order(shell: Shell) -> None:
    await prepare(shell)
    await publish_many(shell, range(200), customers=20)
    gate = asyncio.Event()
    reasoner = Thinking(gate=gate)
    worker = worker_of(shell, reasoner)
    async with running(worker):
        await until(
            lambda: reasoner.now == 20
        )  # none has been answered: only beside each other they get so far
        gate.set()
        await until(lambda: worker.committed_records == 200)
    assert reasoner.most == 20
    found = await findings(shell)
    assert found.faults == []
    assert all(offsets == sorted(offsets) and len(offsets) == 10 for offsets in in_order(found).values())


async def test_no_more_are_in_flight_than_allowed_and_every_partition_gets_its_share(shell: Shell) -> None:
    await prepare(shell)
    await publish_many(shell, range(300), customers=60)
    reasoner = Thinking(0.01)
    worker = worker_of(shell, reasoner, max_in_flight=4)
    async with running(worker):
        await until(lambda: worker.committed_records == 300)
    assert reasoner.most == 4
    assert (await findings(shell)).faults == []


async def test_a_failure_that_passes_delays_its_key_alone(shell: Shell) -> None:
    await prepare(shell)
    await publish_many(shell, range(100), customers=10)
    reasoner = Thinking(failures={"pay-0": -1})
    worker = worker_of(shell, reasoner, retry=RetryPolicy(attempts=MAX_ATTEMPTS, base_s=0.5, cap_s=0.5))
    async with running(worker):
        await until(lambda: worker.committed_records >= 90 and reasoner.counts["pay-0"] >= 3)
        assert "pay-10" not in reasoner.asked, "a follower overtook the input that is tried again"
        reasoner.failures["pay-0"] = 0
        await until(lambda: worker.committed_records == 100)
    assert reasoner.counts["pay-0"] >= 4
    found = await findings(shell)
    assert found.faults == []
    assert found.outcomes == {"decided": 100}
    assert all(offsets == sorted(offsets) for offsets in in_order(found).values())


async def test_attempts_survive_restarts_and_the_last_one_ends_in_a_dead_letter(shell: Shell) -> None:
    """The count, the bytes and the headers come back with another worker; what waited is decided afterwards."""
    await prepare(shell)
    poison = failed(0, "c-0")
    await publish(shell, [Sent(poison, "e-0"), *(Sent(failed(n, "c-0"), f"e-{n}") for n in range(1, 6))])
    slow, clock = RetryPolicy(attempts=4, base_s=3600.0, cap_s=3600.0), Clock()
    reasoner = Thinking(failures={"pay-0": -1})
    for tries in (1, 2):
        async with running(worker_of(shell, reasoner, retry=slow, clock=clock)):
            await until(lambda tries=tries: reasoner.counts["pay-0"] == tries)
            await until(lambda: parked(shell, 6))
        clock.ahead += timedelta(hours=1)  # it is due when the next worker comes
    quick = RetryPolicy(attempts=4, base_s=0.05, cap_s=0.05)
    async with running(worker := worker_of(shell, reasoner, retry=quick, clock=clock)):
        await publish(shell, [Sent(failed(n, "c-0"), f"e-{n}") for n in range(6, 9)])
        await until(lambda: worker.committed_records == 9)
    assert reasoner.counts["pay-0"] == 4
    assert reasoner.asked[4:] == [f"pay-{n}" for n in range(1, 9)]
    found = await findings(shell)
    assert found.faults == []
    assert found.outcomes == {"rejected": 1, "decided": 8}
    (letter,) = found.dead_letters
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (b"c-0", encode(poison))
    assert (headers[ERROR], headers[OFFSET], headers["ce_id"]) == (b"ReasonerUnavailable", b"0", b"e-0")
    assert headers[REASON].startswith(b"tried 4 times")


async def parked(shell: Shell, count: int) -> bool:
    """Whether so many inputs wait in the changelog."""
    live = {}
    for record in await read(shell, topics.state(PLAIN.name).name):
        live[record.key] = record.value
    return sum(1 for key, value in live.items() if key and key.startswith(b"parked/") and value) == count


async def test_a_timer_fires_once_after_a_restart_and_may_set_the_next_one(shell: Shell) -> None:
    await prepare(shell)
    agent = Plan({"insufficient_funds": {"first": 3600.0}}, {"first": {"second": 0.3}, "second": {}}).agent()
    clock = Clock()
    await publish_many(shell, range(12), customers=12)
    async with running(worker := worker_of(shell, Thinking(), agent=agent, clock=clock)):
        await until(lambda: worker.committed_records == 12)
    assert await read(shell, topics.timers(agent.name).name) == []
    reasoner = Thinking()
    clock.ahead = timedelta(hours=1)
    async with running(worker := worker_of(shell, reasoner, agent=agent, clock=clock)):
        await until(lambda: worker.committed_records == 24)
    assert reasoner.counts == {"first": 12, "second": 12}
    await worker_of(shell, reasoner, agent=agent, until_idle_s=0.5, clock=clock).run()
    found = await findings(shell, agent=agent)
    assert found.faults == []
    assert (found.inputs, found.outcomes) == (36, {"decided": 36})
    fired = [record for record in found.events.values() if ".timers." in record.topic]
    assert len({dict(record.headers)["ce_id"] for record in fired}) == 24
    for record in fired:
        event = decode(record.value, expected=TimerFired)
        assert isinstance(event, TimerFired)
        setter = found.events[event.set_by.topic, event.set_by.partition, event.set_by.offset]
        assert (setter.key, setter.partition) == (record.key, record.partition), "it fires where it was set"
        assert event.due_at <= clock()
    assert not [key for _, key in found.state if key.startswith("timer/")]


async def test_a_timer_that_a_later_decision_takes_back_or_moves_does_not_fire(shell: Shell) -> None:
    await prepare(shell)
    plan = Plan({"insufficient_funds": {"remind": 3600.0}, "moved": {"remind": 7200.0}, "settled": {}})
    agent, reasoner, clock = plan.agent(), Thinking(), Clock()
    async with running(worker := worker_of(shell, reasoner, agent=agent, clock=clock)):
        first = [Sent(failed(n, f"c-{n}"), f"e-{n}") for n in range(3)]
        then = [Sent(failed(3, "c-0", code="settled"), "e-3"), Sent(failed(4, "c-1", code="moved"), "e-4")]
        await publish(shell, [*first, *then])
        await until(lambda: worker.committed_records == 5)
        clock.ahead = timedelta(hours=1, minutes=30)
        await until(lambda: worker.committed_records == 6)
        assert reasoner.counts["remind"] == 1, "what was moved fired where it had been"
        clock.ahead = timedelta(hours=3)
        await until(lambda: worker.committed_records == 7)
        await asyncio.sleep(0.3)  # for what should not come
    found = await findings(shell, agent=agent)
    assert found.faults == []
    fired = [record for record in found.events.values() if ".timers." in record.topic]
    assert sorted(record.key or b"" for record in fired) == [b"c-1", b"c-2"]
    assert reasoner.counts["remind"] == 2


async def test_an_event_that_comes_twice_is_decided_once_also_after_a_restart(shell: Shell) -> None:
    await prepare(shell)
    one, other = Sent(failed(0, "c-0"), "e-0"), Sent(failed(1, "c-0"), "e-1")
    reasoner = Thinking()
    await publish(shell, [one, one, other])
    await worker_of(shell, reasoner, until_idle_s=0.2).run()
    await publish(shell, [one, other, Sent(failed(2, "c-0"), "e-2")])
    await worker_of(shell, reasoner, until_idle_s=0.2).run()
    found = await findings(shell)
    assert found.faults == []
    assert repeats(found) == []
    assert reasoner.counts == {"pay-0": 1, "pay-1": 1, "pay-2": 1}
    assert found.outcomes == {"decided": 3, "duplicate": 3}
    named = [
        (place[2], read.uri.rpartition("/")[2])
        for place, record in sorted(found.records.items())
        if record.outcome is Outcome.DUPLICATE
        for read in record.context
        if read.uri
    ]
    assert named == [(1, "0"), (3, "0"), (4, "2")]


async def test_a_repeat_outside_of_the_window_and_one_of_a_rejected_event_are_decided(shell: Shell) -> None:
    await prepare(shell)
    old_ms = int((time.time() - WINDOW_S - 60) * 1000)
    event = failed(0, "c-0")
    headers = headers_for(event, event_id="e-0", source="/test")
    producer = idempotent_producer(shell.connection)
    await producer.start()
    try:
        for value, stamp in (
            (b"{", None),
            (encode(event), old_ms),
            (encode(event), None),
            (encode(event), None),
        ):
            await producer.send_and_wait(
                shell.connection.topic(PLAIN.topic), value, key=b"c-0", headers=headers, timestamp_ms=stamp
            )
    finally:
        await producer.stop()
    await worker_of(shell, Thinking(), until_idle_s=0.2).run()
    found = await findings(shell)
    assert found.faults == []
    ends = [record.outcome for _place, record in sorted(found.records.items())]
    assert ends == [Outcome.REJECTED, Outcome.DECIDED, Outcome.DECIDED, Outcome.DUPLICATE]


async def test_an_input_that_is_too_old_expires(shell: Shell) -> None:
    await prepare(shell)
    agent = replace(PLAIN, expires_after=timedelta(minutes=5))
    now = datetime.now(UTC)
    ages = (timedelta(minutes=6), timedelta(0), timedelta(days=3))
    await publish(shell, [Sent(failed(n, "c-0"), f"e-{n}", now - age) for n, age in enumerate(ages)])
    reasoner = Thinking()
    await worker_of(shell, reasoner, agent=agent, until_idle_s=0.2).run()
    found = await findings(shell, agent=agent)
    assert found.faults == []
    ends = [record.outcome for _place, record in sorted(found.records.items())]
    assert ends == [Outcome.EXPIRED, Outcome.DECIDED, Outcome.EXPIRED]
    assert reasoner.asked == ["pay-1"]


@pytest.mark.parametrize("partitions", [1, 64])
async def test_the_agents_own_topics_follow_the_partitions_of_its_input(
    shell: Shell, partitions: int
) -> None:
    await prepare(shell, partitions=partitions)
    agent = Plan({"insufficient_funds": {"soon": 0.1}}, {"soon": {}}).agent()
    count = 2 * partitions
    await publish_many(shell, range(count), customers=count)
    async with running(worker := worker_of(shell, Thinking(), agent=agent)):
        await until(lambda: worker.committed_records == 2 * count, within_s=60)
    own = [topic for topic in topics.of_agent(agent.name) if topic not in topics.OF_ALL_AGENTS]
    names = [shell.connection.topic(topic.name) for topic in own]
    async with admin_client(shell.connection) as client:
        assert set((await describe_topic_partitions(client, names)).values()) == {partitions}
    found = await findings(shell, agent=agent)
    assert found.faults == []
    assert found.inputs == 2 * count


async def test_a_rebalance_with_calls_in_flight_loses_and_repeats_nothing(shell: Shell) -> None:
    await prepare(shell)
    await publish_many(shell, range(180), customers=60)
    fail_once = {f"pay-{n}": 1 for n in range(0, 180, 9)}
    first, second = Thinking(1.0, failures=fail_once), Thinking(1.0, failures=fail_once)
    async with running(one := worker_of(shell, first)):
        await until(lambda: first.now > 20)
        async with running(two := worker_of(shell, second)):
            await until(lambda: second.now > 5)
            await publish_many(shell, range(180, 240), customers=60)
            await until(lambda: one.committed_records + two.committed_records >= 200)
        await until(lambda: one.committed_records + two.committed_records >= 240)
    found = await findings(shell)
    assert found.faults == []
    assert repeats(found) == []
    assert found.outcomes == {"decided": 240}
    assert all(offsets == sorted(offsets) for offsets in in_order(found).values())


async def test_a_poison_flood_does_not_stop_the_rest(shell: Shell) -> None:
    await prepare(shell)
    flood, good = 5_000, 200
    topic = shell.connection.topic(PLAIN.topic)
    stuck = next(n for n in range(100) if partition_of_key(f"c-{n}".encode(), 6) == 0)
    await publish(shell, [Sent(failed(9_999, f"c-{stuck}"), "e-stuck")])
    producer = idempotent_producer(shell.connection)
    await producer.start()
    try:
        for number in range(flood):
            value = [b"", b"{", b"\xff" * 500, b"\xc3\x01" + b"\x00" * 8][number % 4]
            key = None if number % 3 == 0 else f"p-{number}".encode()
            await producer.send(topic, value, key=key, partition=0)
            if number % (flood // good) == 0:
                await publish_one(producer, topic, number)
        await producer.flush()
    finally:
        await producer.stop()
    reasoner = Thinking(failures={"pay-9999": 0})
    gate = asyncio.Event()
    slow = Slow(reasoner, gate, "pay-9999")
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with running(worker := worker_of(shell, slow)):
        await until(lambda: worker.committed_records == flood + good, within_s=60)
        low, text = await committed_map(shell, TopicPartition(topic, 0))
        assert (low, 0 < len(text) <= MAX_MAP_CHARS) == (0, True), (
            "one input holds up the offset of all the others"
        )
        gate.set()
        await until(lambda: worker.committed_records == flood + good + 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 150_000
    assert await committed_map(shell, TopicPartition(topic, 0)) != (0, text)
    found = await findings(shell)
    assert found.faults == []
    assert found.outcomes == {"rejected": flood, "decided": good + 1}
    assert len(found.dead_letters) == flood


class Slow:
    """Thinks about one payment until the gate is open."""

    name = "slow"
    deterministic = True

    def __init__(self, other: Thinking, gate: asyncio.Event, payment: str) -> None:
        self.other, self.gate, self.payment = other, gate, payment

    async def propose(self, request):  # type: ignore[no-untyped-def]
        if request.situation.event.payment_id == self.payment:
            await self.gate.wait()
        return await self.other.propose(request)


async def publish_one(producer, topic: str, number: int) -> None:  # type: ignore[no-untyped-def]
    """A good event in partition 0, whatever its key says: the flood's partition."""
    event = failed(number, f"good-{number}")
    headers = headers_for(event, event_id=f"e-{number}", source="/test")
    await producer.send(topic, encode(event), key=event.key().encode(), headers=headers, partition=0)


async def committed_map(shell: Shell, partition: TopicPartition) -> tuple[int, str]:
    async with admin_client(shell.connection) as client:
        found = await client.list_consumer_group_offsets(
            shell.connection.group(PLAIN.name), partitions=[partition]
        )
    return found[partition].offset, found[partition].metadata


async def test_a_backlog_of_one_dead_reasoner_ends_in_dead_letters_and_nothing_is_lost(shell: Shell) -> None:
    """Every key fails at once, and for good."""
    await prepare(shell)
    await publish_many(shell, range(300), customers=100)
    reasoner = Thinking(failures={f"pay-{n}": -1 for n in range(300)})
    async with running(worker := worker_of(shell, reasoner, retry=EAGER)):
        await until(lambda: worker.committed_records == 300)
    assert set(reasoner.counts.values()) == {EAGER.attempts}
    found = await findings(shell)
    assert found.faults == []
    assert found.outcomes == {"rejected": 300}
