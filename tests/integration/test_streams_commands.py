"""Publish, subscribe and decide on a real Kafka, as a user does it: by commands, with and without a registry."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.schemas.cloudevents import read_headers
from jurat.schemas.codec import encode
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.decision import Decision
from jurat.streams import topics
from jurat.streams.kafka import Connection, KafkaRecord, idempotent_producer
from jurat.streams.publisher import Publisher
from jurat.streams.replay import replay
from jurat.streams.subscriber import subscribe
from jurat.streams.topic_admin import ensure_topics
from tests.command import JURAT, LIMIT_S, Shell
from tests.oracle import examine
from tests.registry_server import RegistryServer, registry_server

pytestmark = pytest.mark.integration
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TOPIC = topics.PAYMENTS.name
SAID_WITHIN_S = 15
"""It takes three seconds on an idle machine, most of them Python's start; a client left to itself tries for ever."""
DECISIONS = topics.decisions(PAYMENT_RETRIER.name).name


def failed(number: int) -> PaymentFailed:
    return PaymentFailed.model_validate(
        {
            "payment_id": f"pay-{number}",
            "order_id": f"o-{number}",
            "customer_id": f"c-{number % 3}",
            "payment_method_id": "card-1",
            "amount": {"amount_minor": 1_999, "currency": "EUR"},
            "failure_code": "insufficient_funds",
            "attempt": 1,
            "fraud_score": 3,
        }
    )


def lines_of(*numbers: int) -> bytes:
    return b"".join(failed(number).model_dump_json().encode() + b"\n" for number in numbers)


async def send(connection: Connection, value: bytes | None, *, key: bytes, headers: dict[str, str]) -> None:
    await ensure_topics(connection, [topics.PAYMENTS])
    producer = idempotent_producer(connection)
    await producer.start()
    try:
        pairs = [(name, text.encode()) for name, text in headers.items()]
        await producer.send_and_wait(connection.topic(TOPIC), value, key=key, headers=pairs)
    finally:
        await producer.stop()


async def read(connection: Connection, topic: str) -> list[KafkaRecord]:
    return [record async for record in replay(connection, [connection.topic(topic)])]


def test_bad_lines_are_left_out_or_stop_and_subscribers_get_the_rest(shell: Shell) -> None:
    lines = lines_of(1) + b"{oops\n" + lines_of(2)
    words = ("publish", TOPIC, "--type", "PaymentFailed")
    skipped = shell.run(*words, "-", stdin=lines, expect=1).stderr.decode()
    assert skipped.startswith("line 2: got JSON that is not a jurat.commerce.PaymentFailed")
    assert f"2 published to {shell.connection.topic(TOPIC)}, 1 bad" in skipped
    stopped = shell.run(*words, "--on-error", "stop", stdin=lines, expect=1).stderr.decode()
    assert "1 published" in stopped
    listen = ("subscribe", TOPIC, "--from-beginning", "--until-idle", "200ms")
    out = shell.run(*listen, "--format", "jsonl").stdout
    received = [json.loads(line) for line in out.splitlines()]
    assert sorted(one["data"]["payment_id"] for one in received) == ["pay-1", "pay-1", "pay-2"]
    assert {one["type"] for one in received} == {"jurat.commerce.PaymentFailed"}
    assert len({one["id"] for one in received}) == 3
    table = shell.run(*listen).stdout.decode().splitlines()
    assert len(table) == 3
    assert all("jurat.commerce.PaymentFailed" in row for row in table)


def test_what_cannot_be_read_goes_to_standard_error_and_the_exit_code(shell: Shell) -> None:
    shell.run("publish", TOPIC, "--type", "PaymentFailed", stdin=lines_of(1))
    asyncio.run(send(shell.connection, b"garbage", key=b"c-1", headers={}))
    done = shell.run(
        "subscribe", TOPIC, "--from-beginning", "--until-idle", "200ms", "--format", "jsonl", expect=1
    )
    assert len(done.stdout.splitlines()) == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"{shell.connection.topic(TOPIC)} ")
    assert "ce_id" in line


def test_a_topic_that_is_not_there_is_named(shell: Shell) -> None:
    done = shell.run("subscribe", "commerce.orders", "--until-idle", "200ms", expect=1)
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("jurat: ")
    assert shell.connection.topic("commerce.orders") in line
    assert "jurat topics apply" in line


def test_a_broker_that_is_not_there_is_said_within_seconds(shell: Shell) -> None:
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        nobody = Shell(Connection(f"127.0.0.1:{taken.getsockname()[1]}", "n"), shell.keys)
        for words in (("publish", "marketplace.searches"), ("worker", "payment-retrier")):
            start = time.monotonic()
            done = nobody.run(*words, expect=1)
            assert time.monotonic() - start < SAID_WITHIN_S
            (line,) = done.stderr.decode().splitlines()
            assert line.startswith("jurat: got no answer from a Kafka broker")


async def test_a_subscription_without_from_beginning_gets_only_what_comes(shell: Shell) -> None:
    connection = shell.connection
    await ensure_topics(connection, [topics.PAYMENTS])
    async with Publisher(connection, source="/test") as publisher:
        await publisher.publish(failed(1), event_id="old")
        await publisher.flush()
        listening = subscribe(connection, TOPIC)
        first = asyncio.ensure_future(anext(listening))
        async with asyncio.timeout(LIMIT_S):
            number = 0
            while not first.done():
                await publisher.publish(failed(2), event_id=f"new-{number}")
                number += 1
                await asyncio.sleep(0.1)
        one = await first
        assert isinstance(listening, AsyncGenerator)
        await listening.aclose()
    assert one.attributes is not None
    assert one.attributes.id.startswith("new-")


async def test_a_trace_goes_through_and_json_without_avro_is_decided(shell: Shell) -> None:
    connection = shell.connection
    event = failed(7)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "from-elsewhere",
        "ce_source": "/php/shop",
        "ce_type": "jurat.commerce.PaymentFailed",
        "ce_time": "2026-03-02T09:00:00+01:00",
        "content-type": "application/json",
        "traceparent": TRACE,
    }
    await send(connection, event.model_dump_json().encode(), key=event.key().encode(), headers=headers)
    shell.run("worker", PAYMENT_RETRIER.name, "--until-idle", "200ms")
    found = await examine(connection, PAYMENT_RETRIER, shell.trust)
    assert found.faults == []
    (record,) = found.records.values()
    assert record.trace == TRACE
    assert record.inputs[0].event_id == "from-elsewhere"
    assert record.inputs[0].schema_id == "json"
    (raw,) = await read(connection, DECISIONS)
    attributes = read_headers(raw.headers)
    assert attributes.traceparent == TRACE
    assert attributes.id == record.decision_id
    assert found.decisions[0].request_id == "from-elsewhere"


@dataclass(frozen=True)
class RegistryShell(Shell):
    """A shell of a user who has a Schema Registry."""

    registry: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"JURAT_SCHEMA_REGISTRY_URL": self.registry}


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


def test_with_a_schema_registry_everything_is_in_the_wire_format(
    shell: Shell, registry: RegistryServer
) -> None:
    user = RegistryShell(shell.connection, shell.keys, registry.url)
    user.run("publish", TOPIC, "--type", "PaymentFailed", stdin=lines_of(1, 2, 3))
    user.run("worker", PAYMENT_RETRIER.name, "--until-idle", "200ms")
    for topic, count in ((TOPIC, 3), (DECISIONS, 3), (topics.AUDIT.name, 3)):
        records = asyncio.run(read(user.connection, topic))
        assert len(records) == count
        assert {(one.value or b"")[:1] for one in records} == {b"\x00"}, topic
        assert {int.from_bytes((one.value or b"")[1:5], "big") for one in records} <= set(registry.schemas)
    assert set(registry.subjects) >= {
        "jurat.commerce.PaymentFailed",
        "jurat.decisions.Decision",
        "jurat.audit.SignedRecord",
    }
    listen = ("subscribe", DECISIONS, "--from-beginning", "--until-idle", "200ms", "--format", "jsonl")
    out = [json.loads(line) for line in user.run(*listen).stdout.splitlines()]
    assert sorted(one["subject"] for one in out) == ["pay-1", "pay-2", "pay-3"]
    verdict = user.run("audit", "verify", "--trust", str(user.keys / "trust.json")).stdout
    assert verdict.startswith(b"VALID"), verdict
    # Who has no registry is told what is missing.
    without = shell.run(*listen, expect=1)
    assert without.stderr.count(b"JURAT_SCHEMA_REGISTRY_URL") == 3
    assert len(registry.requests) < 40, "an id is asked for once, not for every record"


def test_a_schema_registry_that_is_away_is_one_line(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        user = RegistryShell(shell.connection, shell.keys, f"http://127.0.0.1:{taken.getsockname()[1]}")
        done = user.run("publish", TOPIC, "--type", "PaymentFailed", stdin=lines_of(1, 2, 3), expect=1)
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("jurat: the Schema Registry at ")


def test_a_reader_that_goes_away_ends_the_command_quietly(shell: Shell) -> None:
    shell.run("publish", TOPIC, "--type", "PaymentFailed", stdin=lines_of(*range(200)))
    read_end, write_end = os.pipe()
    os.close(read_end)
    words = ["subscribe", TOPIC, "--from-beginning", "--until-idle", "200ms"]
    with os.fdopen(write_end, "wb") as closed:
        done = subprocess.run(
            [JURAT, *words],
            stdout=closed,
            stderr=subprocess.PIPE,
            env=shell.environment,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_decision_values_are_what_the_record_names(shell: Shell) -> None:
    """A decision event decodes and encodes to the same bytes, which is what its digest relies on."""
    shell.run("publish", TOPIC, "--type", "PaymentFailed", stdin=lines_of(1))
    shell.run("worker", PAYMENT_RETRIER.name, "--until-idle", "200ms")
    found = asyncio.run(examine(shell.connection, PAYMENT_RETRIER, shell.trust))
    (raw,) = asyncio.run(read(shell.connection, DECISIONS))
    (decision,) = found.decisions
    assert isinstance(decision, Decision)
    assert encode(decision) == raw.value
