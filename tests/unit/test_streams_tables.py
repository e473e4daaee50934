"""Views: folded record by record; what cannot be read is counted, what cannot be folded is heard of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from jurat.agents.agent import ContextTable, GlobalTable, View
from jurat.agents.shop_views import CUSTOMERS, profile_keys
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import CustomerProfile
from jurat.schemas.errors import BrokerUnreachable, StreamError, TopicMismatch
from jurat.schemas.model import Event, Model
from jurat.streams import tables as tables_module
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.logs import fields_of
from jurat.streams.tables import Tables, digest_of
from tests.fake_consumer import FakeConsumer
from tests.shop import profile

CONNECTION = Connection("nowhere:1", "ns")
TOPIC = "ns.context.customers"
INPUT = "ns.commerce.orders"
KEY = "c-1"
GLOBAL = GlobalTable(
    name="customers",
    topics=CUSTOMERS.topics,
    keys=profile_keys,
    fold=CUSTOMERS.fold,
    document=CustomerProfile,
)
Make = Callable[..., Tables]


def record_of(event: Event, *, partition: int = 0) -> KafkaRecord:
    headers = tuple(headers_for(event, event_id="e-1", source="/test"))
    return KafkaRecord(TOPIC, partition, 0, 0, event.key().encode(), encode(event), headers)


def orders_of(tables: Tables, *, partition: int = 0) -> int | None:
    held = tables.get("customers", KEY, partition=partition)
    return cast("CustomerProfile", held.model).orders if held else None


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeConsumer:
    made = FakeConsumer()
    made.serve(monkeypatch)
    return made


@pytest.fixture
async def tables_of(monkeypatch: pytest.MonkeyPatch, cluster: FakeConsumer) -> AsyncIterator[Make]:
    """Makes the tables of some views; every topic has so many partitions as `counts` says, one by default."""
    counts: dict[str, int] = {}
    made: list[Tables] = []

    async def partitions(_connection: Connection, topics: list[str]) -> tuple[TopicPartition, ...]:
        return tuple(
            TopicPartition(topic, number) for topic in topics for number in range(counts.get(topic, 1))
        )

    def make(*views: View, **partition_counts: int) -> Tables:
        names = {"input": INPUT, "context": TOPIC}
        counts.update({names[name]: count for name, count in partition_counts.items()})
        made.append(Tables(CONNECTION, views, input_topic="commerce.orders"))
        return made[-1]

    monkeypatch.setattr(tables_module, "partitions_of", partitions)
    yield make
    for tables in made:
        await tables.stop()
    assert cluster.stopped == cluster.started, "nothing is left running"


async def test_a_started_table_has_read_everything_and_knows_from_where(
    tables_of: Make, cluster: FakeConsumer
) -> None:
    for count in (1, 2, 3):
        cluster.write(record_of(profile(orders=count)))
    tables = tables_of(GLOBAL)
    await tables.start()
    held = tables.get("customers", KEY, partition=5)
    assert held is not None
    assert orders_of(tables) == 3
    assert (held.topic, held.partition, held.offset) == (TOPIC, 0, 2)
    assert held.sha256 == digest_of(held.model)
    assert tables.get("customers", "c-2", partition=0) is None
    assert tables.restoring == {}


async def test_what_comes_later_is_followed_and_nothing_is_folded_twice(
    tables_of: Make, cluster: FakeConsumer
) -> None:
    folded: list[int] = []

    def fold(document: Model | None, event: Event, key: str) -> Model:
        folded.append(cast("CustomerProfile", event).orders)
        return CUSTOMERS.fold(document, event, key)

    cluster.write(record_of(profile(orders=1)))
    cluster.write(record_of(profile(orders=2)))
    tables = tables_of(replace(GLOBAL, fold=fold))
    await tables.start()
    cluster.write(record_of(profile(orders=9)))
    assert await tables.caught_up(1)
    assert orders_of(tables) == 9
    assert folded == [1, 2, 9]


async def test_records_that_cannot_be_read_are_counted_and_blind_nobody(
    tables_of: Make, cluster: FakeConsumer
) -> None:
    good = record_of(profile(orders=1))
    for record in (replace(good, value=b"{"), replace(good, value=None), replace(good, key=b"x"), good):
        cluster.write(record)
    tables = tables_of(GLOBAL)
    await tables.start()
    assert tables.unreadable == 3
    assert orders_of(tables) == 1


def odd_at(orders: int, result: Callable[[], Model]) -> Callable[[Model | None, Event, str], Model]:
    def fold(document: Model | None, event: Event, key: str) -> Model:
        folded = CUSTOMERS.fold(document, event, key)
        return result() if getattr(folded, "orders", 0) == orders else folded

    return fold


class NotDeclared(Model):
    """A document of another class."""


def defect() -> Model:
    raise KeyError("defect")


@pytest.mark.parametrize("result", [defect, NotDeclared])
async def test_one_odd_record_is_skipped_and_counted_and_the_others_are_read(
    tables_of: Make, cluster: FakeConsumer, result: Callable[[], Model]
) -> None:
    for orders in (1, 2):
        cluster.write(record_of(profile(orders=orders)))
    tables = tables_of(replace(GLOBAL, fold=odd_at(2, result)))
    await tables.start()
    assert orders_of(tables) == 1, "the document before the odd record stands"
    assert tables.unreadable == 1
    cluster.write(record_of(profile(orders=3)))
    assert await tables.caught_up(2)
    assert orders_of(tables) == 3
    assert tables.failure is None


async def test_a_reading_that_fails_ends_the_start_at_once(tables_of: Make, cluster: FakeConsumer) -> None:
    cluster.write(record_of(profile(orders=1)))
    cluster.failure = BrokerUnreachable("gone")
    with pytest.raises(BrokerUnreachable):
        async with asyncio.timeout(60):
            await tables_of(GLOBAL).start()
    assert cluster.stopped == cluster.started == 2


async def test_a_following_that_fails_is_heard_of(tables_of: Make, cluster: FakeConsumer) -> None:
    tables = tables_of(GLOBAL)
    await tables.start()
    cluster.failure = BrokerUnreachable("gone")
    cluster.write(record_of(profile(orders=1)))
    with pytest.raises(BrokerUnreachable):
        await tables.caught_up(2)
    assert isinstance(tables.failure, BrokerUnreachable)


async def test_tables_that_do_not_get_there_say_so(tables_of: Make, cluster: FakeConsumer) -> None:
    tables = tables_of(GLOBAL)
    await tables.start()
    cluster.go_on.clear()
    cluster.write(record_of(profile(orders=1)))
    assert not await tables.caught_up(0.05)
    cluster.go_on.set()


async def test_an_agent_without_views_needs_no_kafka(tables_of: Make, cluster: FakeConsumer) -> None:
    tables = tables_of()
    await tables.start()
    await tables.open_partition(0)
    assert await tables.caught_up(partition=0)
    assert tables.failure is None
    tables.close_partition(0)
    assert cluster.started == 0


async def test_a_context_table_is_read_by_the_partition(tables_of: Make, cluster: FakeConsumer) -> None:
    for partition in (0, 1, 2):
        cluster.write(record_of(profile(orders=partition + 10), partition=partition))
    tables = tables_of(CUSTOMERS, input=3, context=3)
    await tables.start()
    with pytest.raises(StreamError, match="not open for partition 1"):
        tables.get("customers", KEY, partition=1)
    await asyncio.gather(tables.open_partition(1), tables.open_partition(2))
    assert (orders_of(tables, partition=1), orders_of(tables, partition=2)) == (11, 12)
    with pytest.raises(StreamError, match="not open for partition 0"):
        tables.get("customers", KEY, partition=0)
    cluster.write(record_of(profile(orders=21), partition=1))
    cluster.write(record_of(profile(orders=20), partition=0))
    assert await tables.caught_up(1, partition=1)
    assert orders_of(tables, partition=1) == 21
    with pytest.raises(StreamError):
        await tables.caught_up(1, partition=0)


async def test_a_partition_that_is_closed_is_forgotten_and_read_anew(
    tables_of: Make, cluster: FakeConsumer
) -> None:
    cluster.write(record_of(profile(orders=1)))
    tables = tables_of(CUSTOMERS)
    await tables.start()
    await tables.open_partition(0)
    started = cluster.started
    await tables.open_partition(0)
    assert cluster.started == started, "what is open is not read again"
    tables.close_partition(0)
    tables.close_partition(0)
    cluster.write(record_of(profile(orders=2)))
    with pytest.raises(StreamError, match="not open"):
        tables.get("customers", KEY, partition=0)
    await tables.open_partition(0)
    assert orders_of(tables) == 2
    cluster.write(record_of(profile(orders=3)))
    assert await tables.caught_up(1, partition=0)
    assert orders_of(tables) == 3


async def test_an_opening_that_is_cancelled_leaves_the_partition_closed(
    tables_of: Make, cluster: FakeConsumer
) -> None:
    cluster.write(record_of(profile(orders=1)))
    tables = tables_of(CUSTOMERS)
    await tables.start()
    cluster.go_on.clear()
    opening = asyncio.create_task(tables.open_partition(0))
    await asyncio.sleep(0.01)
    assert [one.total for one in tables.restoring.values()] in ([0], [1])
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert tables.restoring == {}
    with pytest.raises(StreamError, match="not open"):
        tables.get("customers", KEY, partition=0)
    cluster.go_on.set()
    await tables.open_partition(0)
    assert orders_of(tables) == 1


async def test_a_tombstone_forgets_the_document_of_a_context_table(
    tables_of: Make, cluster: FakeConsumer
) -> None:
    good = record_of(profile(orders=1))
    cluster.write(good)
    tables = tables_of(CUSTOMERS)
    await tables.start()
    await tables.open_partition(0)
    cluster.write(replace(good, value=None, headers=()))
    assert await tables.caught_up(1, partition=0)
    assert (orders_of(tables), tables.unreadable) == (None, 0)


async def test_a_context_table_that_is_partitioned_otherwise_is_refused(tables_of: Make) -> None:
    with pytest.raises(TopicMismatch, match=r"ns\.commerce\.orders, which has 6 partitions, but .* has 3"):
        await tables_of(CUSTOMERS, input=6, context=3).start()
    await tables_of(GLOBAL, input=6, context=3).start()


async def test_a_context_table_holds_documents_of_the_events_key_only(
    tables_of: Make, cluster: FakeConsumer
) -> None:
    cluster.write(record_of(profile(orders=1)))
    tables = tables_of(cast("ContextTable", replace(CUSTOMERS, keys=lambda _event: ("another",))))
    await tables.start()
    await tables.open_partition(0)
    assert tables.get("customers", "another", partition=0) is None
    assert tables.unreadable == 1


def test_a_digest_is_that_of_the_canonical_form() -> None:
    assert digest_of(profile(orders=1)) == digest_of(cast("Any", profile(orders=1)).model_copy())
    assert digest_of(profile(orders=1)) != digest_of(profile(orders=2))


async def test_what_was_read_and_how_long_it_took_are_fields_of_the_log_line(
    tables_of: Make, caplog: pytest.LogCaptureFixture
) -> None:
    tables = tables_of(GLOBAL)
    with caplog.at_level(logging.INFO, "jurat.streams.tables"):
        await tables.start()
    (line,) = [fields_of(record) for record in caplog.records if "views read" in record.message]
    assert line["topics"] == f"{TOPIC}/0"
    assert isinstance(line["seconds"], float)
