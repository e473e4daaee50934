"""The worker under faults that a kill does not show: fenced, frozen, its broker restarted, its topic made anew."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.key_store import load_signer
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.errors import StreamError, TopicMismatch
from jurat.streams import intake, local_broker, restore_checks, topics
from jurat.streams.kafka import (
    SESSION_TIMEOUT_MS,
    idempotent_producer,
    stop_quietly,
    transactional_producer,
)
from jurat.streams.publisher import Publisher
from jurat.streams.replay import replay
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.worker import Worker, WorkerConfig
from tests import runtime_stage
from tests.broker_fixture import skip_without_kafka
from tests.command import Shell, new_shell
from tests.oracle import Findings, examine
from tests.runtime_stage import WITHIN_S, committed, delete, until, until_committed
from tests.shop import shop_engine

pytestmark = pytest.mark.integration
AGENT = PAYMENT_RETRIER


def failed(number: int, customer: str) -> PaymentFailed:
    return PaymentFailed.model_validate(
        {
            "payment_id": f"pay-{number}",
            "order_id": f"o-{number}",
            "customer_id": customer,
            "payment_method_id": "card-1",
            "amount": {"amount_minor": 1_999, "currency": "EUR"},
            "failure_code": "insufficient_funds",
            "attempt": 1,
            "fraud_score": 3,
        }
    )


async def publish(shell: Shell, count: int, *, customers: int, first: int = 0) -> None:
    """Failed payments, spread over so many customers (keys)."""
    await ensure_topics(shell.connection, [topics.PAYMENTS])
    async with Publisher(shell.connection, source="/test") as publisher:
        for number in range(first, first + count):
            await publisher.publish(failed(number, f"c-{number % customers}"), event_id=f"e-{number}")


async def findings(shell: Shell) -> Findings:
    return await runtime_stage.findings(shell, agent=AGENT)


def worker_of(shell: Shell, *, until_idle_s: float | None = None, max_in_flight: int = 1_000) -> Worker:
    config = WorkerConfig(
        agent=AGENT,
        reasoner=HeuristicReasoner(),
        engine=shop_engine(),
        signer=load_signer(shell.keys, AGENT.name),
        clock=lambda: datetime.now(UTC),
        code="jurat test",
        until_idle_s=until_idle_s,
        max_in_flight=max_in_flight,
    )
    return Worker(shell.connection, config)


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """A worker for the length of a block."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        await asyncio.wait({task}, timeout=WITHIN_S)
        if not task.done():  # left behind, its clients would be what the next test complains of
            task.cancel()
            await asyncio.wait({task})
            pytest.fail(f"the worker did not stop within {WITHIN_S:.0f} s")


async def busiest_partition(shell: Shell) -> int:
    """The partition that most inputs are in."""
    counts: dict[int, int] = {}
    async for record in replay(shell.connection, [shell.connection.topic(AGENT.topic)]):
        counts[record.partition] = counts.get(record.partition, 0) + 1
    return max(counts, key=lambda number: counts[number])


async def test_a_fenced_worker_that_still_owns_the_partition_recovers_with_its_whole_backlog(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backlog is larger than the queue, so that the partition is paused when its processor fails."""
    held, count = 500, 4_000
    monkeypatch.setattr(intake, "MIN_HELD_RECORDS", held)
    await publish(shell, count, customers=1)
    number = await busiest_partition(shell)
    async with running(worker_of(shell, max_in_flight=held // intake.HELD_PER_IN_FLIGHT)) as task:
        await until_committed(shell, AGENT.name, 1)
        topic = shell.connection.topic(AGENT.topic)
        other = transactional_producer(shell.connection, transactional_id=f"{AGENT.name}-{topic}-{number}")
        try:
            await other.start()
        finally:
            await stop_quietly(other)
        at = await committed(shell, AGENT.name)
        assert at < count - 2 * held, "the backlog was done before the fence: publish more"
        await until_committed(shell, AGENT.name, count)
        assert not task.done(), "the worker did not survive"
    found = await findings(shell)
    assert found.faults == []
    assert len(found.decisions) == count


def frozen(process: subprocess.Popen[bytes]) -> contextlib.AbstractContextManager[None]:
    """Stop a process for the length of a block."""

    @contextlib.contextmanager
    def stopped() -> Iterator[None]:
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    return stopped()


async def test_what_a_worker_does_after_a_long_sleep_never_becomes_visible(shell: Shell) -> None:
    await publish(shell, 4_000, customers=60)
    zombie = shell.start("worker", AGENT.name)
    successor: subprocess.Popen[bytes] | None = None
    try:
        await until_committed(shell, AGENT.name, 1, by=zombie)
        with frozen(zombie):
            at = await committed(shell, AGENT.name)
            assert at < 4_000, "it was frozen too late"
            successor = shell.start("worker", AGENT.name)
            await asyncio.sleep(SESSION_TIMEOUT_MS / 1000 + 1)
            await until_committed(shell, AGENT.name, 4_000, by=successor)
        await publish(shell, 500, customers=60, first=4_000)
        await until_committed(shell, AGENT.name, 4_500)
        assert zombie.poll() is None, "the sleeper did not find its way back into the group"
        for process in (zombie, successor):
            process.terminate()
            assert process.wait(WITHIN_S) == 0
    finally:
        for left in (zombie, successor):
            if left is not None:
                left.kill()
                left.wait(10)
    found = await findings(shell)
    assert found.faults == []
    assert len(found.decisions) == 4_500


async def test_a_worker_goes_on_after_its_broker_was_restarted(tmp_path: Path) -> None:
    skip_without_kafka()
    broker = local_broker.start(data_dir=tmp_path / "data")
    shell = new_shell(broker.bootstrap_servers, "restart", tmp_path / "keys")
    worker = None
    try:
        await publish(shell, 4_000, customers=60)
        worker = shell.start("worker", AGENT.name)
        await until_committed(shell, AGENT.name, 1, by=worker)
        at = await committed(shell, AGENT.name)
        local_broker.stop_node(broker, 1)
        assert at < 4_000, "it was stopped too late"
        await asyncio.sleep(1)
        broker = local_broker.start_node(broker, 1)
        await until_committed(shell, AGENT.name, 4_000, by=worker)
        assert worker.poll() is None, "the worker did not survive"
        worker.terminate()
        assert worker.wait(WITHIN_S) == 0
        found = await findings(shell)
        assert found.faults == []
        assert len(found.decisions) == 4_000
    finally:
        if worker is not None:
            worker.kill()
            worker.wait(10)
        local_broker.stop(broker, within_s=1)


async def recreate(shell: Shell) -> None:
    """Delete the input topic and make it again."""
    await delete(shell, AGENT.topic)

    async def made() -> bool:
        with contextlib.suppress(StreamError):
            await ensure_topics(shell.connection, [topics.PAYMENTS])
            return True
        return False

    await until(made)


async def test_a_topic_that_was_made_anew_ends_a_starting_worker(shell: Shell) -> None:
    await publish(shell, 30, customers=6)
    await worker_of(shell, until_idle_s=0.2).run()
    await recreate(shell)
    await publish(shell, 6, customers=6)
    with pytest.raises(TopicMismatch, match="recreated"):
        await worker_of(shell, until_idle_s=0.2).run()


async def test_a_topic_that_was_made_anew_is_known_by_its_events_where_it_is_as_long_as_before(
    shell: Shell,
) -> None:
    await publish(shell, 30, customers=6)
    await worker_of(shell, until_idle_s=0.2).run()
    await recreate(shell)
    await publish(shell, 60, customers=6, first=100)
    with pytest.raises(TopicMismatch, match="another event at offset"):
        await worker_of(shell, until_idle_s=0.2).run()


async def test_a_worker_does_not_go_on_with_chains_that_are_gone(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_checks, "OPEN_TRANSACTION_S", 1.0)
    await publish(shell, 30, customers=6)
    await worker_of(shell, until_idle_s=0.2).run()
    await delete(shell, topics.AUDIT.name)
    await publish(shell, 6, customers=6, first=30)
    with pytest.raises(TopicMismatch, match=r"has written \d+ records there"):
        await worker_of(shell, until_idle_s=0.2).run()


async def test_a_topic_that_is_made_anew_ends_a_running_worker(shell: Shell) -> None:
    """Its new events have the offsets of old ones: taking them for decided would lose them silently."""
    await publish(shell, 300, customers=30)
    async with running(worker_of(shell)) as task:
        await until_committed(shell, AGENT.name, 300)
        await recreate(shell)
        await publish(shell, 30, customers=30)
        with pytest.raises(TopicMismatch, match="recreated"):
            await asyncio.wait_for(asyncio.shield(task), 2 * WITHIN_S)


async def decided(shell: Shell, count: int) -> None:
    await publish(shell, count, customers=4)
    await worker_of(shell, until_idle_s=0.2).run()
    found = await findings(shell)
    assert found.faults == []
    assert len(found.decisions) == count


async def seen(shell: Shell) -> Findings:
    """What the oracle says at once: what it is to find wrong does not pass."""
    return await examine(shell.connection, AGENT, shell.trust)


async def copy_again(shell: Shell, topic: str, *, change: bytes | None = None) -> None:
    """Write the first record of a topic once more, as a worker without transactions would after a crash."""
    full = shell.connection.topic(topic)
    (record, *_) = [one async for one in replay(shell.connection, [full])]
    value = record.value or b""
    producer = idempotent_producer(shell.connection)
    try:
        await producer.start()
        await producer.send_and_wait(
            full,
            value if change is None else value.replace(change, change[::-1], 1),
            key=record.key,
            partition=record.partition,
            headers=list(record.headers),
        )
    finally:
        await stop_quietly(producer)


async def test_the_oracle_bites(shell: Shell) -> None:
    """What it calls clean is worth nothing unless it sees a repeated, a foreign and a missing record."""
    await decided(shell, 12)
    await copy_again(shell, topics.decisions(AGENT.name).name)
    faults = (await seen(shell)).faults
    assert any("appears 2 times" in fault for fault in faults), faults
    assert any("came after a later one" in fault for fault in faults), faults
    await copy_again(shell, topics.AUDIT.name)
    assert any("repeated or out of order" in fault for fault in (await seen(shell)).faults)
    await publish(shell, 1, customers=1, first=12)
    assert any("no record of the input" in fault for fault in (await seen(shell)).faults)
    await copy_again(shell, topics.decisions(AGENT.name).name, change=b"pay-")
    assert any("not the one that was recorded" in fault for fault in (await seen(shell)).faults)
    await copy_again(shell, AGENT.topic)
    before = len((await seen(shell)).faults)
    await delete(shell, topics.decisions(AGENT.name).name)
    await ensure_topics(shell.connection, [topics.decisions(AGENT.name)])
    faults = (await seen(shell)).faults
    assert before
    assert sum("recorded but not published" in fault for fault in faults) == 12, faults
