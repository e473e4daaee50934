"""A worker whose partition fails while it is being closed leaves it to the next owner."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.schemas.errors import PartitionFenced
from jurat.streams import worker as worker_module
from jurat.streams.kafka import Connection, TopicPartition
from jurat.streams.worker import Worker, WorkerConfig

PARTITION = [TopicPartition("commerce.payments", 0), TopicPartition("timers.payment-retrier", 0)]
AT_ONCE_S = 60.0
"""Shorter than the wait before a partition is opened anew, as it is here."""


class FencedOnClosing:
    """A partition that hears of its fencing with the last commit."""

    opened = 0
    committed_records = 0

    def __init__(self, _number: int, _shared: Any) -> None:
        self._closed = asyncio.Event()

    async def open(self) -> dict[TopicPartition, int]:
        FencedOnClosing.opened += 1
        return {}

    async def run(self) -> None:
        await self._closed.wait()
        raise PartitionFenced("another worker took this partition over")

    async def close(self) -> None:
        self._closed.set()

    async def abandon(self) -> None:
        pass


class Nothing:
    """Whatever is called on it does nothing."""

    def __getattr__(self, _name: str) -> Any:
        return Nothing()

    def __call__(self, *_args: Any, **_named: Any) -> None:
        pass


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(worker_module, "PartitionProcessor", FencedOnClosing)
    monkeypatch.setattr(FencedOnClosing, "opened", 0)
    nothing = cast("Any", Nothing())
    config = WorkerConfig(
        agent=PAYMENT_RETRIER, reasoner=nothing, engine=nothing, signer=nothing, clock=nothing, code="test"
    )
    made = Worker(Connection("nowhere:1"), config)
    made._consumer = made._shared = nothing
    monkeypatch.setattr(made._policies, "settled", at_once)
    return made


async def at_once() -> None:
    """Nothing is activated."""


async def test_a_partition_is_not_read_before_it_is_known_which_policies_are_active(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = asyncio.Event()
    monkeypatch.setattr(worker._policies, "settled", known.wait)
    await worker.on_partitions_assigned(PARTITION)
    await asyncio.sleep(0.01)
    assert (FencedOnClosing.opened, list(worker._open)) == (1, [])
    known.set()
    await asyncio.sleep(0.01)
    assert list(worker._open) == [0]
    await worker.on_partitions_revoked(PARTITION)


async def test_a_partition_that_fails_while_it_is_closed_is_not_opened_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jurat.streams.patience.REOPEN_BACKOFF_S", 2 * AT_ONCE_S)
    await worker.on_partitions_assigned(PARTITION)
    await asyncio.sleep(0)
    assert list(worker._open) == [0]
    async with asyncio.timeout(AT_ONCE_S):
        await worker.on_partitions_revoked(PARTITION)
    assert FencedOnClosing.opened == 1
    assert not worker._tasks
