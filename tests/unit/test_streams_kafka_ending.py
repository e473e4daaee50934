"""Kafka clients are stopped, whoever is cancelled meanwhile and whatever their tasks do."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient

from jurat.streams import kafka_consumer, kafka_ending, kafka_security
from jurat.streams.kafka import Connection, stop_quietly, table_consumer
from jurat.streams.kafka_ending import to_its_end
from jurat.streams.kafka_security import start_client

NOWHERE = Connection("127.0.0.1:1")


class Client:
    """A client that takes its time to stop."""

    def __init__(self, *, raises: BaseException | None = None) -> None:
        self.stopping, self.go_on = asyncio.Event(), asyncio.Event()
        self.stopped = False
        self._raises = raises

    async def stop(self) -> None:
        self.stopping.set()
        await self.go_on.wait()
        self.stopped = True
        if self._raises is not None:
            raise self._raises


async def test_a_client_is_stopped_though_who_stops_it_is_cancelled_twice() -> None:
    client = Client()
    task = asyncio.create_task(stop_quietly(client))
    await client.stopping.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    client.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.stopped


@pytest.mark.parametrize("error", [RuntimeError("odd"), asyncio.CancelledError(), OSError("gone")])
async def test_what_a_client_raises_when_it_stops_is_nobodys_concern(error: BaseException) -> None:
    client = Client(raises=error)
    client.go_on.set()
    await stop_quietly(client)
    assert client.stopped


async def test_a_client_that_does_not_stop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_ending, "STOP_S", 0.01)
    client = Client()
    await stop_quietly(client)
    assert not client.stopped


async def test_what_is_done_to_its_end_raises_its_own_error() -> None:
    async def work() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        await to_its_end(work())


class Part:
    """A part of a consumer, that does not end by itself."""

    def __init__(self) -> None:
        self._coordination_task = asyncio.create_task(asyncio.sleep(60))
        self._heartbeat_task = asyncio.create_task(asyncio.sleep(60))

    async def close(self) -> None:
        await self._coordination_task


class Link:
    """A connection."""

    closed = 0

    def close(self, **_reason: object) -> asyncio.Future[None]:
        self.closed += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def consumer_with(part: object) -> tuple[Any, Link]:
    consumer, link = table_consumer(NOWHERE), Link()
    consumer._coordinator = part
    consumer._client._conns["one"] = link
    return consumer, link


async def test_a_consumer_that_cannot_leave_its_group_ends_with_all_its_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_consumer, "LEAVE_S", 0.01)
    part = Part()
    consumer, link = await consumer_with(part)
    await stop_quietly(consumer)
    assert part._coordination_task.cancelled()
    assert part._heartbeat_task.cancelled(), "its heartbeats would connect anew"
    assert link.closed


async def test_a_consumer_hangs_up_though_one_of_its_parts_fails() -> None:
    class Broken(Part):
        async def close(self) -> None:
            self._coordination_task.cancel()
            await self._coordination_task

    part = Broken()
    consumer, link = await consumer_with(part)
    await stop_quietly(consumer)
    assert part._heartbeat_task.cancelled()
    assert link.closed


async def test_connections_are_closed_though_the_clients_own_task_had_failed() -> None:
    async def fail() -> None:
        raise ValueError("odd metadata")

    client, link = AIOKafkaClient(), Link()
    client._sync_task = asyncio.create_task(fail())
    client._conns["one"] = link
    await asyncio.sleep(0)
    await kafka_ending.hang_up(client)
    assert link.closed


async def test_a_start_that_is_cancelled_twice_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_security, "CUT_OFF_S", 60)
    began, ended = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(cast("Any", start_client(start, NOWHERE)))
    await began.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert ended.is_set()
