"""The context stream against a real Kafka: profiles, poison, a crash in the middle, nothing that listens."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final
from uuid import uuid4

import psutil
import pytest
from confluent_kafka import Producer

from jurat.schemas.cloudevents import headers_for, read_headers
from jurat.schemas.codec import decode
from jurat.schemas.commerce import (
    CustomerProfile,
    OrderItem,
    OrderPlaced,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
)
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened
from jurat.schemas.model import Address, Event, Money
from jurat.streams import topics
from jurat.streams.context import CHANGELOG, GROUP, SOURCES
from jurat.streams.context_profile import ProfileState, Source, fold
from jurat.streams.kafka import Connection, KafkaRecord, admin_client
from jurat.streams.publisher import Publisher
from jurat.streams.reading import partitions_of, read_to_end
from jurat.streams.topic_admin import ensure_topics
from tests.broker_fixture import Kafka

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CUSTOMERS: Final = 40
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
COMMAND: Final = (sys.executable, "-c", "from jurat.cli.main import main; main()", "context")
WITHIN_S: Final = 120.0
"""The longest wait for anything in here; a killed member of the group alone holds it up for six seconds."""


@pytest.fixture
def connection(kafka: Kafka) -> Connection:
    return Connection(kafka.bootstrap_servers, f"context-{uuid4().hex[:8]}")


@pytest.fixture
def started(connection: Connection, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `jurat context`, and ends whatever of it is left."""
    running: list[subprocess.Popen[str]] = []
    environ = {
        **os.environ,
        "JURAT_BOOTSTRAP_SERVERS": connection.bootstrap_servers,
        "JURAT_NAMESPACE": connection.namespace,
        "JURAT_STATE_DIR": str(tmp_path / "state"),
    }

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environ,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def shopping(count: int, *, seed: int) -> Iterator[tuple[Event, datetime]]:
    """Orders, payments and disputes of a few customers, some in another currency, not in the order of time."""
    random = Random(seed)
    for number in range(count):
        amount = Money(
            amount_minor=random.randrange(1, 10_000), currency=random.choice(["EUR", "EUR", "USD"])
        )
        ids = {"order_id": f"o{number}", "customer_id": f"c{random.randrange(CUSTOMERS)}"}
        paid = {**ids, "payment_id": f"p{number}", "payment_method_id": "m1"}
        kind = random.randrange(5)
        event: Event
        if kind == 0:
            event = OrderPlaced(
                **ids,
                items=(OrderItem(item_id="i1", product_id="p1", name="Lamp", price=amount),),
                total=amount,
                ship_to=Address(
                    line1="1 Quay", city="Porto", region="Norte", postal_code="4000", country="PT"
                ),
                payment_method_id="m1",
            )
        elif kind == 1:
            event = PaymentCaptured(**paid, amount=amount)
        elif kind == 2:
            event = PaymentRefunded(**paid, amount=amount)
        elif kind == 3:
            event = PaymentFailed(**paid, amount=amount, failure_code="expired", attempt=1, fraud_score=3)
        else:
            event = DisputeOpened(
                **ids,
                dispute_id=f"d{number}",
                seller_id="s1",
                amount=amount,
                category=DisputeCategory.DAMAGED,
                statements=(),
                evidence=(),
                seller_dispute_rate_percent=1,
                buyer_prior_disputes=0,
            )
        yield event, EPOCH + timedelta(seconds=random.randrange(10**7))


async def publish(connection: Connection, count: int, *, seed: int) -> None:
    await ensure_topics(connection, SOURCES)
    async with Publisher(connection, source="/shop") as publisher:
        for number, (event, at) in enumerate(shopping(count, seed=seed)):
            # Without a time of its own, an event happened when Kafka took it.
            await publisher.publish(event, event_id=f"{seed}-{number}", time=at if number % 10 else None)


def produce_raw(
    connection: Connection, topic: str, records: list[tuple[bytes | None, bytes | None, object]]
) -> None:
    producer = Producer({"bootstrap.servers": connection.bootstrap_servers, "partitioner": "murmur2_random"})
    for key, value, headers in records:
        producer.produce(connection.topic(topic), value, key, headers=headers)
    assert producer.flush(WITHIN_S) == 0


async def records(connection: Connection, *names: str) -> list[KafkaRecord]:
    partitions = await partitions_of(connection, [connection.topic(name) for name in names])
    return [record async for record in read_to_end(connection, partitions)]


async def expected(connection: Connection) -> dict[str, CustomerProfile]:
    """What the pure fold makes of the sources, one topic after the other."""
    states: dict[str, ProfileState] = {}
    for topic in SOURCES:
        for record in await records(connection, topic.name):
            if dict(record.headers).get("ce_id") in (None, b"poison"):
                continue
            event = decode(record.value)
            at = read_headers(record.headers).time or datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
            source = Source(topic.name, record.partition, record.offset)
            states[event.key()] = fold(states.get(event.key()), event, at=at, source=source)
    return {customer_id: state.profile() for customer_id, state in states.items()}


async def published(connection: Connection) -> dict[str, CustomerProfile]:
    found: dict[str, CustomerProfile] = {}
    for record in await records(connection, topics.CONTEXT_CUSTOMERS.name):
        profile = decode(record.value, expected=CustomerProfile)
        assert isinstance(profile, CustomerProfile)
        assert record.key == profile.customer_id.encode()
        found[profile.customer_id] = profile
    return found


async def lag(connection: Connection) -> int:
    """Events after the committed offsets."""
    partitions = await partitions_of(connection, [connection.topic(topic.name) for topic in SOURCES])
    counts = dict.fromkeys(partitions, 0)
    for topic in SOURCES:
        for record in await records(connection, topic.name):
            for partition in partitions:
                if (partition.topic, partition.partition) == (record.topic, record.partition):
                    counts[partition] = record.offset + 1
    async with admin_client(connection) as client:
        committed = await client.list_consumer_group_offsets(connection.group(GROUP))
    return sum(
        end - (committed[partition].offset if partition in committed else 0)
        for partition, end in counts.items()
    )


def listening(process: subprocess.Popen[str]) -> list[object]:
    return [
        socket.laddr
        for socket in psutil.Process(process.pid).net_connections(kind="inet")
        if socket.status == psutil.CONN_LISTEN
    ]


def output_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            break
    return "".join(lines)


async def test_profiles_equal_the_fold_of_the_events(
    connection: Connection, started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    await publish(connection, 300, seed=1)
    first = started("--until-idle", "500ms")
    output, _ = first.communicate(timeout=WITHIN_S)
    assert first.returncode == 0, output
    assert await published(connection) == await expected(connection)
    assert await lag(connection) == 0

    await publish(connection, 100, seed=2)
    second = started("--until-idle", "500ms")
    output, _ = second.communicate(timeout=WITHIN_S)
    assert second.returncode == 0, output
    assert await published(connection) == await expected(connection)
    # The second run read on where the first had stopped, and published nothing twice.
    assert len(await records(connection, topics.CONTEXT_CUSTOMERS.name)) == 400, output
    assert [path.name for path in tmp_path.iterdir()] == ["state"]  # noqa: ASYNC240 - a test may wait


async def test_profiles_are_events_in_the_partition_of_their_sources(
    connection: Connection, started: Callable[..., subprocess.Popen[str]]
) -> None:
    await publish(connection, 50, seed=3)
    process = started("--until-idle", "500ms")
    process.communicate(timeout=WITHIN_S)
    homes = {
        record.key: record.partition for topic in SOURCES for record in await records(connection, topic.name)
    }
    profiles = await records(connection, topics.CONTEXT_CUSTOMERS.name)
    assert profiles
    seen = set()
    for record in profiles:
        attributes = read_headers(record.headers)
        assert attributes.type == CustomerProfile.event_type()
        assert attributes.source == "/jurat/context"
        assert attributes.subject is not None
        assert attributes.subject.encode() == record.key
        assert record.partition == homes[record.key]
        seen.add(attributes.id)
    assert len(seen) == len(profiles)


async def test_poison_is_put_aside_and_the_stream_goes_on(
    connection: Connection, started: Callable[..., subprocess.Popen[str]]
) -> None:
    await publish(connection, 60, seed=4)
    event, at = next(shopping(1, seed=5))
    headers = headers_for(event, event_id="poison", source="/shop", time=at)
    produce_raw(
        connection,
        topics.ORDERS.name,
        [
            (b"c1", b"not avro", headers),
            (b"c1", b"\xc3\x01" + bytes(40), headers),
            (None, b"no key, no headers", None),
            (b"c1", None, headers),
            (None, None, None),
        ],
    )
    await publish(connection, 60, seed=6)
    process = started("--until-idle", "500ms")
    output, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, output
    assert await published(connection) == await expected(connection)
    assert await lag(connection) == 0
    dead = await records(connection, topics.CONTEXT_DEAD_LETTERS.name)
    assert {(record.key, record.value) for record in dead} == {
        (b"c1", b"not avro"),
        (b"c1", b"\xc3\x01" + bytes(40)),
        (b"c1", None),
        (None, b"no key, no headers"),
        # A record with neither key nor value cannot be written by every client, an empty value can.
        (None, b""),
    }
    for record in dead:
        reasons = dict(record.headers)
        assert reasons["jurat-reason"]
        assert reasons["jurat-topic"] == connection.topic(topics.ORDERS.name).encode()
        assert int(reasons["jurat-offset"]) >= 0
    kept = [dict(record.headers) for record in dead if record.value == b"not avro"]
    assert kept[0]["ce_id"] == b"poison"
    assert "not avro" not in output
    assert output.count("dead letter: ") == 5


EVENTS = 6_000


async def stopped_before_a_commit(connection: Connection, process: subprocess.Popen[str]) -> None:
    """Stop it at a moment when it has published profiles of events that it has not committed."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        process.send_signal(signal.SIGSTOP)
        made = len(await records(connection, topics.CONTEXT_CUSTOMERS.name))
        if made > EVENTS + 1 - await lag(connection):  # the poison is an event, too
            return
        assert time.monotonic() < deadline_s, "it commits everything before it publishes it"
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.1)


async def test_a_crash_in_the_middle_counts_nothing_twice(
    connection: Connection, started: Callable[..., subprocess.Popen[str]]
) -> None:
    await publish(connection, EVENTS, seed=7)
    produce_raw(connection, topics.PAYMENTS.name, [(b"c1", b"poison", None)])
    process = started()
    output_until(process, "ready after")
    await stopped_before_a_commit(connection, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for kill in range(2):
        process = started()
        output_until(process, "ready after")
        await asyncio.sleep(0.4 + 0.5 * kill)  # wherever it is by then
        process.send_signal(signal.SIGKILL)
        process.communicate()
    await publish(connection, 200, seed=8)
    process = started("--until-idle", "500ms")
    output, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, output
    assert await published(connection) == await expected(connection)
    assert await lag(connection) == 0
    # More were published than there were events: some came twice, and none was counted twice.
    assert len(await records(connection, topics.CONTEXT_CUSTOMERS.name)) > EVENTS + 200
    dead = await records(connection, topics.CONTEXT_DEAD_LETTERS.name)
    assert {record.value for record in dead} == {b"poison"}


STOPPED_WITHIN_S = 5
"""It takes a second on an idle machine; who stops it waits for it."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_listens_nowhere_and_stops_when_told(
    connection: Connection, started: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = started()
    output = output_until(process, "ready after")
    assert "ready after" in output
    assert listening(process) == []
    await publish(connection, 30, seed=9)
    deadline_s = time.monotonic() + WITHIN_S
    while await published(connection) != await expected(connection):
        assert time.monotonic() < deadline_s
    process.send_signal(number)
    began_s = time.monotonic()
    rest, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, rest
    assert time.monotonic() - began_s < STOPPED_WITHIN_S
    assert await lag(connection) == 0
    # Two lines of ours, nothing of the libraries.
    assert len((output + rest).splitlines()) == 2


async def test_it_makes_its_changelog_and_no_other_topic_than_declared(
    connection: Connection, started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started("--until-idle", "500ms")
    process.communicate(timeout=WITHIN_S)
    async with admin_client(connection) as client:
        found = {name for name in await client.list_topics() if name.startswith(f"{connection.namespace}.")}
    declared = (*SOURCES, topics.CONTEXT_CUSTOMERS, topics.CONTEXT_DEAD_LETTERS, CHANGELOG)
    assert found == {connection.topic(topic.name) for topic in declared}


def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--bootstrap-servers", "127.0.0.1:1"],
        env={**os.environ, "JURAT_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ended.returncode == 1
    assert "got no answer from a Kafka broker at 127.0.0.1:1" in ended.stderr
    assert "Traceback" not in ended.stderr
