"""Dead letters on a real Kafka: found, shown, dropped, and replayed once, whoever else is at work or crashes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from jurat.agents.catalogue import AGENTS
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import AfterSalesRequested, CustomerRegistered, OrderPlaced
from jurat.schemas.model import Event
from jurat.streams import topics
from jurat.streams.dead_letter_box import How, Place, Resolution
from jurat.streams.dead_letter_resolving import resolution_headers
from jurat.streams.dead_letters import dead_letter
from jurat.streams.kafka import (
    AIOKafkaProducer,
    KafkaRecord,
    idempotent_producer,
    transactional_producer,
)
from jurat.streams.publisher import Publisher
from jurat.streams.replay import replay
from jurat.streams.topic_admin import ensure_topics
from tests.command import LIMIT_S, Shell
from tests.examples import EXAMPLES, WHEN
from tests.oracle import examine

pytestmark = pytest.mark.integration
AGENT = AGENTS["after-sales"]
INPUTS = topics.AFTER_SALES_REQUESTS.name
LETTERS = topics.dead_letters(AGENT.name).name
ESCAPE = "\x1b[2J\x1b]0;owned\x07\u202e\r\nDROPPED"


def example(kind: type[Event]) -> Event:
    return next(event for event in EXAMPLES if type(event) is kind)


REQUEST = AfterSalesRequested(
    request_id="r-1",
    customer_id="c-1",
    action="cancel_pending_order",
    args={"order_id": "o-1", "reason": "no longer needed"},
)


@asynccontextmanager
async def producing(shell: Shell) -> AsyncIterator[AIOKafkaProducer]:
    await ensure_topics(shell.connection, [topics.AFTER_SALES_REQUESTS, *topics.of_agent(AGENT.name)])
    producer = idempotent_producer(shell.connection)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def read(shell: Shell, topic: str) -> list[KafkaRecord]:
    return [record async for record in replay(shell.connection, [shell.connection.topic(topic)])]


async def poison(shell: Shell, *values: bytes, key: bytes = b"c-1") -> None:
    """Inputs that no worker can decode."""
    async with producing(shell) as producer:
        headers = [(name, value) for name, value in envelope("bad") if name != "content-type"]
        for value in values:
            topic = shell.connection.topic(INPUTS)
            await producer.send_and_wait(topic, value, key=key, headers=headers)


async def letters_in(shell: Shell, count: int, *, partition: int = 0) -> list[str]:
    """Letters as a worker writes them, without a worker, of inputs that are there."""
    topic = shell.connection.topic(INPUTS)
    async with producing(shell) as producer:
        addresses = []
        for number in range(count):
            value = f"value {number}".encode()
            there = await producer.send_and_wait(topic, value, key=b"c-1", partition=partition)
            origin = KafkaRecord(topic, there.partition, there.offset, 0, b"c-1", value, (("ce_id", b"e"),))
            letter = dead_letter(origin, error="DecodeError", reason="for the test")
            at = await producer.send_and_wait(
                shell.connection.topic(LETTERS),
                letter.value,
                key=letter.key,
                partition=partition,
                headers=letter.headers,
            )
            addresses.append(f"{at.partition}/{at.offset}")
    return addresses


def envelope(event_id: str) -> list[tuple[str, bytes]]:
    return headers_for(REQUEST, event_id=event_id, source="/test")


def run_worker(shell: Shell) -> None:
    shell.run("worker", AGENT.name, "--reasoner", "requested", "--until-idle", "200ms")


def listed(shell: Shell, *options: str) -> list[dict[str, object]]:
    out = shell.run("dead-letters", "list", AGENT.name, "--json", *options).stdout
    return [json.loads(line) for line in out.splitlines()]


async def test_a_replay_after_what_was_missing_is_there_ends_as_a_decision(shell: Shell) -> None:
    async with Publisher(shell.connection, source="/test") as publisher, producing(shell):
        await publisher.publish(REQUEST, event_id="e-1", traceparent=None)
    run_worker(shell)
    (one,) = listed(shell)
    address = str(one["letter"])
    assert one["error"] == "InputRejected"
    assert "publish it first" in str(one["reason"])
    shown = shell.run("dead-letters", "show", AGENT.name, address).stdout.decode()
    assert "ce_id: e-1" in shown
    raw = shell.run("dead-letters", "show", AGENT.name, address, "--raw").stdout
    assert raw == encode(REQUEST)

    async with Publisher(shell.connection, source="/test") as publisher:
        await publisher.publish(example(CustomerRegistered), event_id="c")
        await publisher.publish(example(OrderPlaced), event_id="o")
    done = shell.run("dead-letters", "replay", AGENT.name, address, "--by", "anna")
    first, second = await read(shell, INPUTS)
    assert done.stdout.decode() == f"{address} replayed as {INPUTS} {second.partition}/{second.offset}\n"
    assert done.stderr == b"1 replayed, 0 left out\n"
    assert (second.partition, second.key, second.value) == (first.partition, first.key, first.value)
    assert second.headers == first.headers
    run_worker(shell)
    found = await examine(shell.connection, AGENT, shell.trust)
    assert found.faults == []
    assert sum(found.outcomes[each] for each in ("decided", "denied", "escalated")) == 1
    assert found.outcomes["rejected"] == 1
    assert found.decisions[0].input.offset == second.offset

    assert listed(shell) == []
    (gone,) = listed(shell, "--all-states")
    assert (gone["state"], gone["by"]) == ("replayed", "anna")
    assert gone["now_at"] == {
        "topic": shell.connection.topic(INPUTS),
        "partition": second.partition,
        "offset": second.offset,
    }
    again = shell.run("dead-letters", "replay", AGENT.name, address, expect=1).stderr.decode()
    assert f"{address} was replayed by anna at " in again
    assert len(await read(shell, INPUTS)) == 2


async def test_poison_that_is_replayed_is_another_letter_and_drop_ends_it(shell: Shell) -> None:
    await poison(shell, b"{one", b"{two", b"{three")
    run_worker(shell)
    assert [one["error"] for one in listed(shell)] == ["DecodeError"] * 3
    done = shell.run("dead-letters", "replay", AGENT.name, "--all", "--error", "DecodeError")
    assert done.stderr == b"3 replayed, 0 left out\n"
    run_worker(shell)
    values = [record.value for record in await read(shell, INPUTS)]
    assert values == [b"{one", b"{two", b"{three"] * 2, "the order of a key was not kept"
    waiting = listed(shell)
    assert len(waiting) == 3
    assert len(listed(shell, "--all-states")) == 6
    found = await examine(shell.connection, AGENT, shell.trust)
    assert found.faults == []
    assert len(found.dead_letters) == 6

    first = str(waiting[0]["letter"])
    dropped = shell.run("dead-letters", "drop", AGENT.name, first, "--by", "anna")
    assert dropped.stdout.decode() == f"{first} dropped\n"
    refused = shell.run("dead-letters", "drop", AGENT.name, first, str(waiting[1]["letter"]), expect=1)
    assert f"{first} was dropped by anna" in refused.stderr.decode()
    assert len(listed(shell)) == 2, "a command that is refused does nothing at all"
    assert shell.run("dead-letters", "drop", AGENT.name, "--all", "--error", "Other").stdout == b""
    shell.run("dead-letters", "drop", AGENT.name, "--all")
    assert listed(shell) == []
    nothing = shell.run("dead-letters", "list", AGENT.name)
    assert (nothing.stdout, nothing.stderr) == (b"", b"no letter of after-sales waits\n")
    assert len(await read(shell, INPUTS)) == 6


async def test_what_cannot_be_replayed_is_refused_and_all_leaves_it_out(shell: Shell) -> None:
    (good,) = await letters_in(shell, 1)
    whole = KafkaRecord(shell.connection.topic(INPUTS), 0, 7, 0, b"c-1", b"x" * 2_100_000)
    foreign = KafkaRecord(shell.connection.topic("commerce.orders"), 0, 7, 0, b"c-1", b"x")
    elsewhere = KafkaRecord(shell.connection.topic(INPUTS), 99, 7, 0, b"c-1", b"x")
    large = KafkaRecord(shell.connection.topic(INPUTS), 0, 7, 0, b"c-1", b"x" * 1_500_000)
    async with producing(shell) as producer:
        for record in (whole, foreign, elsewhere, large):
            letter = dead_letter(record, error="DecodeError", reason="r")
            await producer.send_and_wait(
                shell.connection.topic(LETTERS),
                letter.value,
                key=letter.key,
                partition=0,
                headers=letter.headers,
            )
        await producer.send_and_wait(shell.connection.topic(LETTERS), b"what is this", partition=0)
    said = shell.run("dead-letters", "replay", AGENT.name, good, "0/1", "0/2", "0/3", "0/6", expect=1)
    assert said.stdout == b""
    lines = said.stderr.decode().splitlines()
    assert lines[0] == "jurat: these letters cannot be resolved, and nothing was done for the others:"
    for place, why in (
        ("0/1", "first 65539 of its 2100003 bytes"),
        ("0/2", "commerce.orders"),
        ("0/3", "no partition 99"),
        ("0/6", "no letter"),
    ):
        assert any(place in line and why in line for line in lines), (place, lines)
    assert [record.value for record in await read(shell, INPUTS)] == [b"value 0"]

    done = shell.run("dead-letters", "replay", AGENT.name, "--all", expect=1)
    assert done.stdout.decode().startswith(f"{good} replayed as {INPUTS} 0/")
    assert done.stderr.endswith(b"1 replayed, 4 left out\n")
    assert b"0/4 cannot be replayed: the broker at" in done.stderr
    assert [record.value for record in await read(shell, INPUTS)] == [b"value 0"] * 2
    listing = shell.run("dead-letters", "list", AGENT.name)
    assert listing.stderr == b"1 records are neither letters nor resolutions, the first at 0/5\n"
    assert shell.run("dead-letters", "drop", AGENT.name, "--all").stderr == b"4 dropped, 0 left out\n"
    missing = shell.run("dead-letters", "show", AGENT.name, "3/0", expect=1).stderr.decode()
    assert missing.startswith("jurat: there is no letter of after-sales at 3/0; ")


BEFORE_COMMIT = dedent(
    """
    import sys, time
    from pathlib import Path
    from aiokafka import AIOKafkaProducer
    here, go = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
    commit = AIOKafkaProducer.commit_transaction
    async def held(self):
        here.touch()
        while not go.exists():
            time.sleep(0.02)
        await commit(self)
    AIOKafkaProducer.commit_transaction = held
    from jurat.cli.main import main
    main()
    """
)
"""The command, held where everything is sent and nothing committed."""


def stopped_before_commit(shell: Shell, folder: Path, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
    here, go = folder / "here", folder / "go"
    operator = subprocess.Popen(
        [sys.executable, "-c", BEFORE_COMMIT, str(here), str(go), "dead-letters", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shell.environment,
    )
    deadline = time.monotonic() + LIMIT_S
    while not here.exists():
        assert operator.poll() is None, operator.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return operator, go


async def test_killed_before_the_commit_nothing_is_sent_and_the_letter_waits(
    shell: Shell, tmp_path: Path
) -> None:
    addresses = await letters_in(shell, 2)
    operator, _ = stopped_before_commit(shell, tmp_path, "replay", AGENT.name, "--all")
    operator.kill()
    operator.communicate(timeout=LIMIT_S)
    # The next operator aborts what was left open, and does it all.
    done = shell.run("dead-letters", "replay", AGENT.name, addresses[0])
    assert done.stderr == b"1 replayed, 0 left out\n"
    values = [record.value for record in await read(shell, INPUTS)]
    assert values == [b"value 0", b"value 1", b"value 0"]
    assert [one["letter"] for one in listed(shell)] == addresses[1:]


async def test_of_two_operators_at_once_the_later_one_goes_on(shell: Shell, tmp_path: Path) -> None:
    addresses = await letters_in(shell, 3)
    first, go = stopped_before_commit(shell, tmp_path, "replay", AGENT.name, "--all", "--by", "early")
    try:
        second = shell.run("dead-letters", "replay", AGENT.name, "--all", "--by", "late")
        assert second.stderr == b"3 replayed, 0 left out\n"
        go.touch()
        out, said = first.communicate(timeout=LIMIT_S)
    finally:
        first.kill()
    assert (first.returncode, out) == (1, b"")
    assert said.startswith(b"jurat: another operator began to resolve letters of after-sales")
    assert said.count(b"\n") == 1
    values = [record.value for record in await read(shell, INPUTS)]
    assert values == [b"value 0", b"value 1", b"value 2"] * 2
    gone = listed(shell, "--all-states")
    assert [(one["letter"], one["by"]) for one in gone] == [(address, "late") for address in addresses]


async def test_a_resolution_behind_an_open_transaction_is_not_overlooked(shell: Shell) -> None:
    """A worker's open transaction hides what stands behind it from readers; an operator must wait for it."""
    (address,) = await letters_in(shell, 1)
    worker = transactional_producer(shell.connection, transactional_id="a-worker")
    anna = transactional_producer(shell.connection, transactional_id=f"{AGENT.name}-dead-letters")
    await worker.start()
    await anna.start()
    try:
        await worker.begin_transaction()
        await worker.send_and_wait(shell.connection.topic(LETTERS), b"", partition=0, headers=[("x", b"")])
        one = Resolution(letter=Place.parse(address), how=How.DROPPED, by="anna", at=WHEN)
        async with anna.transaction():
            headers = resolution_headers(one)
            await anna.send_and_wait(shell.connection.topic(LETTERS), b"", partition=0, headers=headers)
        second = shell.start("dead-letters", "drop", AGENT.name, address, "--by", "ben")
        await asyncio.sleep(4)
        assert second.poll() is None, "it did not wait for the open transaction"
        await worker.abort_transaction()
        assert await asyncio.to_thread(second.wait, LIMIT_S) == 1, "a letter was resolved twice"
    finally:
        await worker.stop()
        await anna.stop()
    (gone,) = listed(shell, "--all-states")
    assert gone["by"] == "anna"


async def test_more_letters_than_one_transaction_holds(shell: Shell) -> None:
    addresses = [*await letters_in(shell, 130), *await letters_in(shell, 130, partition=3)]
    done = shell.run("dead-letters", "replay", AGENT.name, "--all")
    assert done.stderr == b"260 replayed, 0 left out\n"
    assert sorted(line.split()[0] for line in done.stdout.decode().splitlines()) == sorted(addresses)
    for partition in (0, 3):
        values = [one.value for one in await read(shell, INPUTS) if one.partition == partition]
        assert values == [f"value {number}".encode() for number in range(130)] * 2
    assert listed(shell) == []


async def test_hostile_letters_do_not_steer_the_terminal(shell: Shell) -> None:
    raw = ESCAPE.encode()
    headers = ((ESCAPE, raw), ("jurat-resolved", b"dropped"), ("jurat-truncated", b"1"))
    origin = KafkaRecord(shell.connection.topic(INPUTS), 0, 0, 0, raw, raw, headers)
    letter = dead_letter(origin, error=f"Error{ESCAPE}", reason=f"got {ESCAPE}")
    async with producing(shell) as producer:
        await producer.send_and_wait(
            shell.connection.topic(LETTERS), letter.value, key=letter.key, partition=0, headers=letter.headers
        )
    for words in (("list",), ("list", "--json"), ("show", "0/0")):
        done = shell.run("dead-letters", words[0], AGENT.name, *words[1:])
        for line in done.stdout.decode().splitlines():
            assert line.isprintable(), (words, line)
        assert not any(line.startswith("DROPPED") for line in done.stdout.decode().splitlines())
    assert shell.run("dead-letters", "show", AGENT.name, "0/0", "--raw").stdout == raw
    (one,) = listed(shell)
    assert one["original_bytes"] is None
    shell.run("dead-letters", "replay", AGENT.name, "0/0", "--by", f"eve{ESCAPE}")
    said = shell.run("dead-letters", "replay", AGENT.name, "0/0", expect=1).stderr.decode()
    assert all(line.isprintable() for line in said.splitlines())


def test_an_agent_that_never_ran_has_no_letters_yet(shell: Shell) -> None:
    for words in (("list",), ("replay", "--all"), ("show", "0/0")):
        done = shell.run("dead-letters", words[0], AGENT.name, *words[1:], expect=1)
        assert b"jurat topics apply" in done.stderr
