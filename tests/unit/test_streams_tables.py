"""Views: folded record by record; what cannot be read is counted, what cannot be folded is heard of."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from jurat.agents.agent import View
from jurat.agents.shop_views import CUSTOMERS
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import CustomerProfile
from jurat.schemas.errors import StreamError
from jurat.schemas.model import Event, Model
from jurat.streams import tables as tables_module
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.tables import Tables, digest_of
from tests.shop import profile

CONNECTION = Connection("nowhere:1", "ns")
TOPIC = "ns.context.customers"


def record_of(event: Event, offset: int) -> KafkaRecord:
    headers = tuple(headers_for(event, event_id=f"e-{offset}", source="/test"))
    return KafkaRecord(TOPIC, 0, offset, 0, event.key().encode(), encode(event), headers)


class FakeConsumer:
    """The seam to Kafka: one partition whose records are there from the start, or come later."""

    def __init__(self, records: list[KafkaRecord]) -> None:
        self.records = records
        self.taken = 0
        self.stopped = False

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[KafkaRecord]]:
        await asyncio.sleep(0.001)
        fresh = self.records[self.taken : self.taken + max_records]
        self.taken += len(fresh)
        return {TopicPartition(TOPIC, 0): fresh} if fresh else {}

    async def end_offsets(self, _partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {TopicPartition(TOPIC, 0): len(self.records)}

    async def position(self, _partition: TopicPartition) -> int:
        return self.taken

    async def seek_to_beginning(self, *_partitions: TopicPartition) -> None:
        self.taken = 0

    async def stop(self) -> None:
        self.stopped = True


def tables_over(
    monkeypatch: pytest.MonkeyPatch, records: list[KafkaRecord], *views: View
) -> tuple[Tables, FakeConsumer]:
    consumer = FakeConsumer(records)

    async def partitions(*_: object) -> tuple[TopicPartition, ...]:
        return (TopicPartition(TOPIC, 0),)

    async def started(*_: object) -> FakeConsumer:
        return consumer

    monkeypatch.setattr(tables_module, "partitions_of", partitions)
    monkeypatch.setattr(tables_module, "start_reader", started)
    monkeypatch.setattr(tables_module, "record_of", lambda record: record)
    return Tables(CONNECTION, views or (CUSTOMERS,)), consumer


async def test_a_started_table_has_read_everything_and_knows_from_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [record_of(profile(orders=count), offset) for offset, count in enumerate((1, 2, 3))]
    tables, consumer = tables_over(monkeypatch, records)
    await tables.start()
    held = tables.get("customers", "c-1")
    assert held is not None
    assert isinstance(held.model, CustomerProfile)
    assert (held.model.orders, held.topic, held.offset) == (3, TOPIC, 2)
    assert held.sha256 == digest_of(held.model)
    assert tables.get("customers", "c-2") is None
    await tables.stop()
    assert consumer.stopped
    assert tables.get("customers", "c-1") == held, "documents stay readable"


async def test_what_comes_later_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, consumer = tables_over(monkeypatch, [])
    await tables.start()
    consumer.records.append(record_of(profile(orders=9), 0))
    assert await tables.caught_up()
    assert tables.get("customers", "c-1") is not None
    await tables.stop()


async def test_records_that_cannot_be_read_are_counted_and_blind_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = record_of(profile(orders=1), 3)
    bad = [
        replace(good, offset=0, value=b"{"),
        replace(good, offset=1, value=None),
        replace(good, offset=2, key=b"another"),
    ]
    tables, _ = tables_over(monkeypatch, [*bad, good])
    await tables.start()
    assert tables.unreadable == 3
    assert tables.get("customers", "c-1") is not None
    await tables.stop()


async def test_one_odd_record_is_skipped_and_counted_and_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fold(document: Model | None, event: Event, key: str) -> Model:
        folded = CUSTOMERS.fold(document, event, key)
        if getattr(folded, "orders", 0) == 2:
            raise KeyError("defect")
        return folded

    records = [record_of(profile(orders=orders), offset) for offset, orders in enumerate((1, 2))]
    tables, consumer = tables_over(monkeypatch, records, replace(CUSTOMERS, fold=fold))
    await tables.start()
    kept = tables.get(CUSTOMERS.name, profile(orders=1).customer_id)
    assert kept is not None
    assert kept.model == profile(orders=1), "the document before the odd record stands"
    assert tables.unreadable == 1
    consumer.records.append(record_of(profile(orders=3), 2))
    assert await tables.caught_up(2)
    after = tables.get(CUSTOMERS.name, profile(orders=1).customer_id)
    assert after is not None
    assert after.model == profile(orders=3)
    assert tables.failure is None
    await tables.stop()


async def test_a_reading_that_fails_ends_the_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, consumer = tables_over(monkeypatch, [record_of(profile(orders=1), 0)])

    async def broken(**_: object) -> object:
        raise KeyError("defect")

    monkeypatch.setattr(consumer, "getmany", broken)
    monkeypatch.setattr(consumer, "position", _never_there)
    with pytest.raises(StreamError, match="KeyError"):
        async with asyncio.timeout(2):
            await tables.start()
    assert consumer.stopped, "nothing is left running"


async def _never_there(_partition: TopicPartition) -> int:
    return 0


async def test_tables_that_do_not_get_there_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, consumer = tables_over(monkeypatch, [record_of(profile(orders=1), 0)])
    await tables.start()
    monkeypatch.setattr(consumer, "position", _never_there)
    assert not await tables.caught_up(0.05)
    await tables.stop()


async def test_an_agent_without_views_needs_no_kafka() -> None:
    tables = Tables(CONNECTION, ())
    await tables.start()
    assert await tables.caught_up()
    assert tables.failure is None
    await tables.stop()


def test_a_digest_is_that_of_the_canonical_form() -> None:
    assert digest_of(profile(orders=1)) == digest_of(cast("Any", profile(orders=1)).model_copy())
    assert digest_of(profile(orders=1)) != digest_of(profile(orders=2))
