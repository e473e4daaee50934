"""One input partition without Kafka: its queue's bounds, records that go back, and closing after a failure."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.keys import Signer
from jurat.schemas.errors import ReasonerUnavailable
from jurat.streams.deciding import Decider
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.partition import (
    CLOSE_GRACE_S,
    LOW_WATER,
    MAX_QUEUED_BYTES,
    MAX_QUEUED_RECORDS,
    PartitionProcessor,
    ReopenPartition,
)


async def fails(*_: object) -> Any:
    raise ReasonerUnavailable("got no answer")


def processor() -> PartitionProcessor:
    decider = SimpleNamespace(agent=PAYMENT_RETRIER, decide=fails)
    return PartitionProcessor(
        Connection("nowhere:1"),
        TopicPartition("commerce.payments", 2),
        decider=cast("Decider", decider),
        signer=cast("Signer", None),
    )


def records(*offsets: int, size: int = 1) -> list[KafkaRecord]:
    return [KafkaRecord("commerce.payments", 2, offset, 0, None, b"x" * size) for offset in offsets]


def test_the_queue_is_bounded_by_records_and_by_bytes() -> None:
    one = processor()
    one.feed(records(*range(MAX_QUEUED_RECORDS - 1)))
    assert (one.full, one.drained, one.busy) == (False, False, True)
    one.feed(records(MAX_QUEUED_RECORDS))
    assert one.full
    heavy = processor()
    heavy.feed(records(0, size=MAX_QUEUED_BYTES))
    assert (heavy.full, heavy.drained) == (True, False)
    light = processor()
    light.feed(records(*range(int(MAX_QUEUED_RECORDS * LOW_WATER))))
    assert (light.full, light.drained) == (False, True)
    assert not processor().busy


async def test_gaps_are_taken_and_going_back_opens_the_partition_anew() -> None:
    """Kafka leaves gaps (compaction, transaction markers) but never goes back, unless the topic is another one."""
    one = processor()
    one.feed(records(3, 5, 9))
    assert not one.full
    one.feed(records(4))
    with pytest.raises(ReopenPartition, match="offset 4 after 9"):
        await one.run()


async def test_closing_after_a_failure_does_not_wait_for_work_that_has_ended() -> None:
    one = processor()
    one.feed(records(0, 1))
    with pytest.raises(ReasonerUnavailable):
        await one.run()
    start = time.monotonic()
    await one.close()
    assert time.monotonic() - start < CLOSE_GRACE_S / 2


async def test_closing_an_idle_partition_ends_its_run() -> None:
    one = processor()
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    await one.close()
    await asyncio.wait_for(task, 1)
    one.feed(records(7))
    assert not one.busy, "what comes after closing is not taken"
