"""The mended transport: what may be committed, and when a flush is done. No broker is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, FutureMessage

from jurat.schemas.errors import StreamError
from jurat.streams import context_transport
from jurat.streams.context_transport import DurableProducer, LedgerConsumer, MendedTransport, PartitionLedger

ORDERS = TP("commerce.orders", 0)


def ledger(*delivered: int, done: Iterable[int] = ()) -> PartitionLedger:
    made = PartitionLedger()
    for offset in delivered:
        made.deliver(offset)
    for offset in done:
        made.finish(offset)
    return made


@pytest.mark.parametrize(
    ("delivered", "done", "position"),
    [
        ((), (), None),
        ((5,), (), 5),
        ((5,), (5,), 6),
        ((5, 6, 7), (6, 7), 5),
        ((5, 6, 7), (5, 7), 6),
        ((5, 6, 7), (7, 6, 5), 8),
        # No record has the offsets 6 and 7 (a transaction marker, compaction): 8 is not done, so 8 is next.
        ((5, 8), (5,), 8),
        ((5, 8), (5, 8), 9),
        ((5, 8), (8,), 5),
        # Reading went back: what was delivered behind that offset will come again.
        ((5, 6, 7, 5), (5, 6), 6),
        ((5, 6, 7, 6), (6, 7), 5),
        ((5, 6, 7, 6, 7), (5, 6, 7), 8),
    ],
)
def test_the_position_is_the_lowest_offset_not_done(
    delivered: tuple[int, ...], done: tuple[int, ...], position: int | None
) -> None:
    assert ledger(*delivered, done=done).position() == position


def test_after_a_seek_only_what_is_delivered_again_counts() -> None:
    made = ledger(5, 6, 7, done=(5, 7))
    made.rewind()
    assert made.position() is None
    made.finish(6)
    made.deliver(6)
    assert made.position() == 6
    made.deliver(7)
    made.finish(6)
    assert made.position() == 7


def test_nothing_is_committed_past_what_is_held() -> None:
    made = ledger(5, 6, 7)
    made.hold(6)
    for offset in (5, 6, 7):
        made.finish(offset)
    assert made.position() == 6
    made.rewind()
    made.deliver(9)
    made.finish(9)
    assert made.position() == 6


class _Committing:
    """A consumer with its surroundings; `committed` is what reached Kafka, in the order of events."""

    def __init__(self, folder: Path) -> None:
        self.committed: list[dict[TP, int]] = []
        self.fetched: dict[TP, list[Any]] = {}
        self.sought: list[int] = []
        self.app = faust.App("test", broker="aiokafka://127.0.0.1:1", datadir=folder, store="memory://")
        self.app.transport = MendedTransport(self.app.conf.broker_consumer, self.app)
        self.app.producer_transport = MendedTransport(self.app.conf.broker_producer, self.app)
        self.app.topics._acking_topics.add(ORDERS.topic)
        consumer = self.app.consumer
        assert isinstance(consumer, LedgerConsumer)
        self.consumer = consumer
        # The thread is never started here, and only a started one closes its event loop.
        self.consumer._thread.thread_loop.close()
        self.consumer._thread = SimpleNamespace(
            commit=self._commit,
            assignment=lambda: {ORDERS},
            getmany=self._fetch,
            seek_to_committed=self._seek_to_committed,
            seek=lambda _tp, offset: self.sought.append(offset),
            highwater=lambda _tp: 0,
        )
        self.consumer._active_partitions = {ORDERS}

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        self.committed.append(dict(offsets))
        return True

    def deliver(self, *offsets: int) -> Awaitable[list[Any]]:
        made: list[Any] = []
        for offset in offsets:
            record = SimpleNamespace(
                topic=ORDERS.topic,
                partition=0,
                offset=offset,
                timestamp=1,
                timestamp_type=0,
                headers=(),
                key=b"",
                value=b"",
                checksum=None,
                serialized_key_size=0,
                serialized_value_size=0,
            )
            made.append(record)
        self.fetched = {ORDERS: made}
        return self.delivered()

    async def delivered(self) -> list[Any]:
        messages = [message async for _, message in self.consumer.getmany(0.0)]
        for message in messages:
            message.incref()
        return messages

    async def _fetch(self, _active: object, _timeout: float) -> dict[TP, list[Any]]:
        fetched, self.fetched = self.fetched, {}
        return fetched

    async def _seek_to_committed(self) -> dict[TP, int]:
        return {}


@pytest.fixture
async def committing(tmp_path: Path) -> _Committing:
    return _Committing(tmp_path)


async def test_the_head_of_the_line_is_waited_for(committing: _Committing) -> None:
    # Unmended, with 31 committed, offset 31 unfinished and 32 done: 33 is committed and 31 is lost.
    committing.consumer._committed_offset[ORDERS] = 31
    first, second = await committing.deliver(31, 32)
    second.ack(committing.consumer)
    await committing.consumer.commit()
    assert committing.committed == []
    first.ack(committing.consumer)
    await committing.consumer.commit()
    assert committing.committed == [{ORDERS: 33}]


async def test_the_first_commit_of_a_group_waits_for_the_head_too(committing: _Committing) -> None:
    first, second = await committing.deliver(0, 1)
    second.ack(committing.consumer)
    await committing.consumer.commit()
    assert committing.committed in ([], [{ORDERS: 0}])
    first.ack(committing.consumer)
    await committing.consumer.commit()
    assert committing.committed[-1] == {ORDERS: 2}


async def test_a_gap_ends_before_the_record_behind_it(committing: _Committing) -> None:
    first, second = await committing.deliver(4, 7)
    await committing.consumer._add_gap(ORDERS, 5, 7)
    first.ack(committing.consumer)
    await committing.consumer.commit()
    assert committing.committed == [{ORDERS: 7}]
    second.ack(committing.consumer)
    await committing.consumer.commit()
    assert committing.committed[-1] == {ORDERS: 8}


async def test_a_revoked_partition_is_committed_before_it_is_forgotten(committing: _Committing) -> None:
    (message,) = await committing.deliver(4)
    message.ack(committing.consumer)
    committing.consumer._on_partitions_revoked = _nothing
    await committing.consumer.on_partitions_revoked({ORDERS})
    assert committing.committed == [{ORDERS: 5}]


async def test_records_below_the_reading_position_are_not_dropped(committing: _Committing) -> None:
    # Unmended, 5 counts as read because 6 was delivered before, and reaches no stream.
    committing.consumer._read_offset[ORDERS] = 6
    assert committing.consumer._read_offset[ORDERS] is None
    assert [message.offset for message in await committing.deliver(5)] == [5]


async def test_what_is_fetched_during_a_seek_is_fetched_again(committing: _Committing) -> None:
    async def fetch_while_seeking(_active: object, _timeout: float) -> dict[TP, list[Any]]:
        await committing.consumer.perform_seek()
        return await committing._fetch(_active, _timeout)

    committing.consumer._thread.getmany = fetch_while_seeking
    assert await committing.deliver(5, 6) == []
    # Once by the seek itself, as nothing was ever committed, and once for what it had fetched meanwhile.
    assert committing.sought == [0, 0]
    committing.consumer._committed_offset[ORDERS] = 5
    assert await committing.deliver(5, 6) == []
    assert committing.sought == [0, 0, 5]
    await committing.consumer.commit()
    assert committing.committed == []
    committing.consumer._thread.getmany = committing._fetch
    assert [message.offset for message in await committing.deliver(5, 6)] == [5, 6]


async def test_what_is_fetched_before_a_seek_ended_is_fetched_again_from_where_it_went(
    committing: _Committing,
) -> None:
    """Nobody knows what is committed before the seek has ended: it was read again from the start."""
    may_end, seeks = asyncio.Event(), []

    async def slowly() -> dict[TP, int]:
        await may_end.wait()
        return {ORDERS: 5}

    async def fetch_as_a_seek_begins(_active: object, _timeout: float) -> dict[TP, list[Any]]:
        seeks.append(asyncio.create_task(committing.consumer.perform_seek()))
        await asyncio.sleep(0)
        return await committing._fetch(_active, _timeout)

    committing.consumer._thread.seek_to_committed = slowly
    committing.consumer._thread.getmany = fetch_as_a_seek_begins
    fetch = asyncio.ensure_future(committing.deliver(5, 6))
    done, _ = await asyncio.wait({fetch}, timeout=0.05)
    assert not done
    assert committing.sought == []
    may_end.set()
    assert await fetch == []
    assert committing.sought == [5]
    await asyncio.gather(*seeks)


async def test_a_changelog_is_read_on_during_a_seek(committing: _Committing) -> None:
    async def fetch_while_seeking(_active: object, _timeout: float) -> dict[TP, list[Any]]:
        await committing.consumer.perform_seek()
        return await committing._fetch(_active, _timeout)

    committing.app.topics._acking_topics.clear()
    committing.consumer._thread.getmany = fetch_while_seeking
    assert [message.offset for message in await committing.deliver(5, 6)] == [5, 6]
    assert committing.sought == []


async def test_nothing_is_fetched_during_a_seek(committing: _Committing) -> None:
    may_end = asyncio.Event()

    async def slowly() -> dict[TP, int]:
        await may_end.wait()
        return {}

    committing.consumer._thread.seek_to_committed = slowly
    seek = asyncio.create_task(committing.consumer.perform_seek())
    await asyncio.sleep(0)
    fetch = asyncio.ensure_future(committing.deliver(5))
    done, _ = await asyncio.wait({fetch}, timeout=0.05)
    assert not done
    assert committing.fetched
    may_end.set()
    await seek
    assert [message.offset for message in await fetch] == [5]


async def test_a_held_message_is_never_committed(committing: _Committing) -> None:
    before, message = await committing.deliver(5, 6)
    committing.consumer.hold(message)
    before.ack(committing.consumer)
    message.ack(committing.consumer)
    await committing.consumer.commit()
    assert committing.committed == [{ORDERS: 6}]


async def test_a_failed_send_stops_the_commit_and_the_app(committing: _Committing) -> None:
    producer = committing.app.producer
    assert isinstance(producer, DurableProducer)
    sent = FutureMessage(SimpleNamespace())
    producer.send_soon(sent)
    sent.set_exception(ConnectionError("the broker is gone"))
    (message,) = await committing.deliver(5)
    message.ack(committing.consumer)
    assert await committing.consumer.commit() is False
    assert committing.committed == []
    assert isinstance(committing.consumer.crash_reason, StreamError)


async def test_a_flush_waits_for_every_record_sent_before_it(committing: _Committing) -> None:
    producer = committing.app.producer
    records = [FutureMessage(SimpleNamespace()) for _ in range(2)]
    for record in records:
        producer.send_soon(record)
    flush = asyncio.create_task(producer.flush())
    # Unmended, a flush gives up after 100 ms, though nothing has been acknowledged.
    done, _ = await asyncio.wait({flush}, timeout=0.3)
    assert not done
    later = FutureMessage(SimpleNamespace())
    producer.send_soon(later)
    for record in records:
        record.set_result(SimpleNamespace())
    await asyncio.wait_for(flush, 60)
    later.set_result(SimpleNamespace())


async def test_a_flush_that_takes_too_long_is_an_error(
    committing: _Committing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_transport, "FLUSH_WITHIN_S", 0.05)
    monkeypatch.setattr(context_transport, "FLUSH_POLL_S", 0.01)
    never = FutureMessage(SimpleNamespace())
    committing.app.producer.send_soon(never)
    with pytest.raises(StreamError, match="1 records were not acknowledged"):
        await committing.app.producer.flush()


async def test_a_record_that_the_client_does_not_take_is_an_error_at_once(committing: _Committing) -> None:
    producer = committing.app.producer
    producer.send_soon(FutureMessage(SimpleNamespace()))
    producer.buffer._crash(AssertionError("need a key or a value"))
    with pytest.raises(StreamError, match="could not be handed"):
        await asyncio.wait_for(producer.flush(), 60)


async def test_the_producer_is_idempotent_and_waits_for_all_replicas(committing: _Committing) -> None:
    settings = committing.app.producer._settings_extra()
    assert settings == {"acks": "all", "enable_idempotence": True}


async def test_the_reader_sees_committed_records_only(committing: _Committing) -> None:
    levels = []
    for thread in (
        committing.consumer._new_consumer_thread(),
        driver.AIOKafkaConsumerThread(committing.consumer),
    ):
        client = thread._create_worker_consumer(committing.app.transport)
        levels.append(client._isolation_level)
        client._closed = True
        thread.thread_loop.close()
    assert levels == ["read_committed", "read_uncommitted"]


async def _nothing(*_arguments: object, **_options: object) -> None:
    pass
