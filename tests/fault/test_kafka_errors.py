"""What Kafka answers when it does not do as it is asked: what passes is waited out, the rest ends with a clear word.

Missing ACLs are shown in `tests/integration/test_security.py`; every error of the client in `tests/unit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient

from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.schemas.errors import RecordTooLarge, StreamError, TopicMissing
from jurat.streams import committing, journal_writer, kafka, local_broker, topics
from jurat.streams.committing import Transactions
from jurat.streams.kafka import ConfigResource, ConfigResourceType, admin_client, stop_quietly
from jurat.streams.reading import partitions_of, start_reader
from jurat.streams.worker import Worker
from tests.broker_fixture import skip_without_kafka
from tests.command import Shell, beside, new_shell
from tests.fault.test_worker_faults import delete, findings, publish, running, worker_of
from tests.runtime_stage import WITHIN_S, until, until_committed

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quiet_loop")]
AGENT = PAYMENT_RETRIER


class PaidReasoner(HeuristicReasoner):
    """One whose calls belong in the journal."""

    deterministic = False

    async def propose(self, request: ProposalRequest) -> Proposal:
        return await super().propose(request)


async def ended(shell: Shell, task: asyncio.Task[None], *, fed_from: int | None) -> tuple[BaseException, int]:
    """What ended a worker that gets inputs until then, from this number on, and the number after the last one.

    What was changed reaches the partitions of a topic some time after it was answered: until then they take records.
    """
    number, deadline = fed_from or 0, time.monotonic() + 2 * WITHIN_S
    while not task.done():
        assert time.monotonic() < deadline, f"the worker in {shell.connection.namespace} goes on"
        if fed_from is not None:
            await publish(shell, 6, customers=6, first=number)
            number += 6
        await asyncio.wait({task}, timeout=0.2)
    error = task.exception()
    assert error is not None, "the worker ended as if all were well"
    return error, number


GONE = [
    topics.decisions(AGENT.name).name,
    topics.AUDIT.name,
    topics.state(AGENT.name).name,
    topics.timers(AGENT.name).name,
    topics.journal(AGENT.name).name,
    AGENT.topic,
]


async def test_a_topic_that_is_deleted_under_a_worker_ends_it_by_name(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "TRANSACTION_S", 5.0)
    monkeypatch.setattr(journal_writer, "ACKNOWLEDGED_S", 5.0)

    async def without(topic: str) -> None:
        mine = beside(shell, topic.replace(".", "-"))
        await publish(mine, 6, customers=6)
        worker = worker_of(mine)
        worker._config = replace(worker._config, reasoner=PaidReasoner())
        async with running(worker) as task:
            await until_committed(mine, AGENT.name, 6)
            await delete(mine, topic)
            error, _ = await ended(mine, task, fed_from=None if topic == AGENT.topic else 6)
        assert isinstance(error, TopicMissing), f"{topic}: {error!r}"
        assert mine.connection.topic(topic) in str(error)
        assert "jurat topics apply" in str(error) or "does not exist any more" in str(error)

    async with asyncio.TaskGroup() as group:
        for topic in GONE:
            group.create_task(without(topic))


async def works_on(shell: Shell) -> bool:
    """Whether a worker decides all that is there; where the setting is still the old one it does not."""
    with contextlib.suppress(RecordTooLarge):
        await worker_of(shell, until_idle_s=0.2).run()
        return True
    return False


async def test_a_topic_that_takes_smaller_records_ends_the_worker_with_the_setting_to_mend(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def narrow(topic: str) -> None:
        mine = beside(shell, topic.replace(".", "-"))
        await publish(mine, 3, customers=3)
        worker = worker_of(mine)
        worker._config = replace(worker._config, reasoner=PaidReasoner())
        async with running(worker) as task:
            await until_committed(mine, AGENT.name, 3)
            full = mine.connection.topic(topic)
            async with admin_client(mine.connection) as client:
                await client.alter_configs(
                    [ConfigResource(ConfigResourceType.TOPIC, full, configs={"max.message.bytes": "90"})]
                )
            error, number = await ended(mine, task, fed_from=3)
        assert isinstance(error, RecordTooLarge), repr(error)
        assert f"{full} as too large" in str(error)
        assert "max.message.bytes" in str(error)
        # What it was about is decided by the next worker, when the setting is mended.
        async with admin_client(mine.connection) as client:
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, full, configs={})])
        await until(partial(works_on, mine), within_s=2 * WITHIN_S)
        found = await findings(mine)
        assert found.faults == []
        assert len(found.decisions) == number

    async with asyncio.TaskGroup() as group:
        for topic in (topics.AUDIT.name, topics.journal(AGENT.name).name):
            group.create_task(narrow(topic))


async def some_transaction_ended(shell: Shell) -> bool:
    """Whether readers of decisions see an end of anything: of a first transaction, that it was committed or aborted."""
    partitions = await partitions_of(
        shell.connection, [shell.connection.topic(topics.decisions(AGENT.name).name)]
    )
    reader = await start_reader(shell.connection, partitions)
    try:
        return any((await reader.end_offsets(list(partitions))).values())
    finally:
        await stop_quietly(reader)


async def test_a_transaction_that_took_too_long_is_decided_again(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker ends it after its time-out, looking every ten seconds."""
    monkeypatch.setattr(kafka, "TRANSACTION_TIMEOUT_MS", 1_000)
    end, slept = Transactions._end, []

    async def late(self: Transactions, producer: Any) -> None:
        if not slept:
            slept.append(self.transactional_id)
            await until(partial(some_transaction_ended, shell))
        await end(self, producer)

    monkeypatch.setattr(Transactions, "_end", late)
    await publish(shell, 12, customers=1)
    async with running(worker_of(shell)) as task:
        await until_committed(shell, AGENT.name, 12)
        assert not task.done()
    assert slept
    assert "the broker ended a transaction that took too long" in caplog.text
    found = await findings(shell)
    assert found.faults == []
    assert len(found.decisions) == 12


ANSWERS = {
    "InitProducerId": (14, 15, 16, 51),
    "AddPartitionsToTxn": (49, 16, 51, 3, 47, 48, 52, 90),
    "AddOffsetsToTxn": (16, 51, 49, 48),
    "TxnOffsetCommit": (16, 14, 7, 15, 47, 25),
    "EndTxn": (16, 51, 48, 49, 47),
    "Produce": (59, 45, 6, 5, 19, 20, 56, 2, 47, 7),
}
"""Kafka's error codes, by the requests that may be answered with them."""


def swap(response: Any, code: int) -> Any:
    """The same answer with this error everywhere."""
    if hasattr(response, "error_code"):
        response.error_code = code
        return response
    name = "errors" if hasattr(response, "errors") else "topics"
    setattr(
        response,
        name,
        [
            (topic, [(number, code, *rest) for number, _code, *rest in partitions])
            for topic, partitions in getattr(response, name)
        ],
    )
    return response


async def test_the_worker_survives_what_coordinators_and_leaders_answer(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request has its effect, and its answer is another one than was sent: the worst of both."""
    swaps: list[tuple[str, str, list[int]]] = []
    due: dict[str, float] = {}
    send = AIOKafkaClient.send

    async def other(self: AIOKafkaClient, node: int, request: Any, **named: Any) -> Any:
        response = await send(self, node, request, **named)
        name, its = type(request).__name__, getattr(request, "_transactional_id", None) or ""
        for namespace, kind, codes in swaps:
            asked = name == f"{kind}Request" and its.startswith(namespace)
            if asked and codes and time.monotonic() >= due.get(namespace, 0.0):
                # A pause lets something commit between; a producer starts too seldom for that.
                due[namespace] = time.monotonic() + (0.0 if kind == "InitProducerId" else 0.3)
                return swap(response, codes.pop(0))
        return response

    monkeypatch.setattr(AIOKafkaClient, "send", other)
    monkeypatch.setattr("jurat.streams.patience.REOPEN_BACKOFF_S", 0.1)

    async def answered(kind: str) -> None:
        mine, codes, number = beside(shell, kind), list(ANSWERS[kind]), 60
        await publish(mine, number, customers=12)
        swaps.append((mine.connection.namespace, kind, codes))
        async with running(worker_of(mine)) as task:
            async with asyncio.timeout(2 * WITHIN_S):
                while codes and not task.done():
                    await publish(mine, 6, customers=12, first=number)
                    number += 6
                    await asyncio.sleep(0.2)
            assert not task.done(), task.exception()
            await until_committed(mine, AGENT.name, number)
        found = await findings(mine)
        assert found.faults == []
        assert len(found.decisions) == number

    async with asyncio.TaskGroup() as group:
        for kind in ANSWERS:
            group.create_task(answered(kind))


STOP_BOUND_S = 30.0
"""A client left to itself tries for ever; on an idle machine it takes some ten seconds."""


async def test_a_worker_without_a_broker_says_so_waits_and_stops_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    skip_without_kafka()
    monkeypatch.setattr(committing, "TRANSACTION_S", 5.0)
    monkeypatch.setattr("jurat.streams.patience.SILENCE_S", 3.0)
    caplog.set_level(logging.WARNING)
    broker = local_broker.start(data_dir=tmp_path / "data")
    shell = new_shell(broker.bootstrap_servers, "gone", tmp_path / "keys")
    try:
        await publish(shell, 2_000, customers=60)
        busy = worker_of(shell)
        async with running(busy) as task:
            await until_committed(shell, AGENT.name, 1)
            await asyncio.to_thread(local_broker.stop_node, broker, 1)
            await said(caplog, "no broker answers", within_s=WITHIN_S)
            await said(caplog, "got no answer from a Kafka broker", within_s=WITHIN_S)
            broker = await asyncio.to_thread(local_broker.start_node, broker, 1)
            await until_committed(shell, AGENT.name, 2_000)
            assert not task.done()
            await asyncio.to_thread(local_broker.stop_node, broker, 1)
            assert await stopped_after(busy, task) < STOP_BOUND_S
    finally:
        local_broker.stop(broker, within_s=1)


async def said(caplog: pytest.LogCaptureFixture, words: str, *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while words not in caplog.text:
        assert time.monotonic() < deadline, f"it did not say {words!r} within {within_s:.0f} s"
        await asyncio.sleep(0.1)


async def stopped_after(worker: Worker, task: asyncio.Task[None]) -> float:
    began = time.monotonic()
    worker.stop()
    with contextlib.suppress(StreamError):
        await asyncio.wait_for(asyncio.shield(task), STOP_BOUND_S + 5)
    return time.monotonic() - began
