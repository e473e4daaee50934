"""Time and memory to restore the state of one partition from its changelog, beside a bare read of the same topic.

Rules upheld here: every reading is a process of its own, and they take turns; each reads the same partition of the same
changelog, from the beginning to its end, with the same client settings; the bare one decodes nothing and keeps nothing.
What a process takes is the growth of its resident memory from before the reading to after it, so that imports do
not count. Run as a process, `python -m benchmarks.restore PLAN`, it makes one reading and prints its figures.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import psutil

from benchmarks.stage import ROOT, RUN_S, BenchmarkFailedError, Stage
from jurat.schemas.commerce import CustomerProfile
from jurat.schemas.model import Money
from jurat.streams import kafka
from jurat.streams.keyed_state import STATE_BYTES, KeyedState
from jurat.streams.reading import MAX_POLL_RECORDS, POLL_MS, read_to_end
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.topics import Topic

CHANGELOG: Final = Topic("state.restored", partitions=1, compacted=True)
PREFIX: Final = "state/commerce.payments/"
NO_BOUND: Final = 1 << 40
WAYS: Final = {
    "bare read": 0,
    "restored, in memory": NO_BOUND,
    f"restored, {STATE_BYTES >> 20} MiB": STATE_BYTES,
}
"""What each reading keeps, and how many bytes of it in memory."""

BARE: Final = next(iter(WAYS))
AT: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the changelog: wall and processor seconds, and what memory it took."""

    seconds: float
    cpu_s: float
    grown_mib: float


@dataclass(frozen=True, slots=True)
class Restored:
    """All readings, by way; `value_bytes` is the mean size of an entry's value."""

    entries: int
    value_bytes: int
    readings: dict[str, list[Reading]]


async def measure(stage: Stage, *, entries: int, rounds: int) -> Restored:
    """Write a changelog and read it in every way.

    Raises:
        BenchmarkFailedError: a reading failed or left entries out.
    """
    await ensure_topics(stage.connection, [CHANGELOG])
    value_bytes = await _write(stage, entries)
    readings: dict[str, list[Reading]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            readings[way].append(_read(stage, way, entries))
    return Restored(entries, value_bytes, readings)


def report(found: Restored) -> list[str]:
    """Say what was measured."""
    bare, rounds = found.readings[BARE], len(found.readings[BARE])
    lines = [
        f"restore: {found.entries} state entries of {found.value_bytes} bytes, {rounds} round(s), medians",
        f"  {'':22}{'seconds':>10}{'ratio':>8}{'CPU us/entry':>14}{'memory grown':>16}",
    ]
    for way, readings in found.readings.items():
        seconds = median(one.seconds for one in readings)
        ratio = median(one.seconds / base.seconds for one, base in zip(readings, bare, strict=True))
        grown = median(one.grown_mib for one in readings)
        cpu_us = median(one.cpu_s for one in readings) / found.entries * 1e6
        lines.append(f"  {way:22}{seconds:>10.2f}{ratio:>8.1f}{cpu_us:>14.1f}{grown:>12.0f} MiB")
    return lines


def _document(number: int) -> CustomerProfile:
    spent = Money(amount_minor=number * 37 % 1_000_000, currency="EUR")
    return CustomerProfile(
        customer_id=f"customer-{number:08d}-of-a-shop-with-long-names-for-everybody-it-knows",
        orders=number % 1_000,
        spend=spent,
        refunds=number % 7,
        refunded=spent,
        failed_charges=number % 5,
        disputes=number % 3,
        first_seen=AT,
        last_seen=AT,
    )


async def _write(stage: Stage, entries: int) -> int:
    """Write the changelog as agents' state is printed; returns the mean size of a value."""
    topic = stage.connection.topic(CHANGELOG.name)
    producer = kafka.idempotent_producer(stage.connection)
    printer = KeyedState(CustomerProfile, max_bytes=0, max_hot_bytes=0)
    written = 0
    await producer.start()
    try:
        for number in range(entries):
            value = printer.put("any", _document(number))
            written += len(value)
            await producer.send(topic, value, key=f"{PREFIX}customer-{number:08d}".encode(), partition=0)
        await producer.flush()
    finally:
        await producer.stop()
        printer.close()
    return written // entries


def _read(stage: Stage, way: str, entries: int) -> Reading:
    plan = {
        "bootstrap_servers": stage.connection.bootstrap_servers,
        "topic": stage.connection.topic(CHANGELOG.name),
        "way": way,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.restore", json.dumps(plan)],
        cwd=ROOT,
        env=stage.environment,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    if done.returncode:
        raise BenchmarkFailedError(f"{way} ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    said = json.loads(done.stdout)
    if said["entries"] != entries:
        raise BenchmarkFailedError(f"{way} found {said['entries']} of {entries} entries")
    return Reading(said["seconds"], said["cpu_s"], said["grown_mib"])


async def read(plan: dict[str, Any]) -> dict[str, Any]:
    """Make one reading in this process."""
    connection = kafka.Connection(plan["bootstrap_servers"])
    partition = kafka.TopicPartition(plan["topic"], 0)
    process = psutil.Process()
    before = process.memory_info().rss
    began, used = time.perf_counter(), time.process_time()
    if plan["way"] == BARE:
        entries, state = await _bare(connection, partition), None
    else:
        state = KeyedState(CustomerProfile, max_bytes=WAYS[plan["way"]])
        async for record in read_to_end(connection, [partition]):
            state.restore((record.key or b"").decode().removeprefix(PREFIX), record.value)
        entries = len(state)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - used
    grown = process.memory_info().rss - before
    if state is not None:
        state.close()
    return {"entries": entries, "seconds": seconds, "cpu_s": cpu_s, "grown_mib": grown / 2**20}


async def _bare(connection: kafka.Connection, partition: kafka.TopicPartition) -> int:
    """The client alone, counting records."""
    consumer = kafka.table_consumer(connection)
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        records = 0
        while await consumer.position(partition) < end:
            taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
            records += sum(len(found) for found in taken.values())
        return records
    finally:
        await consumer.stop()


def main(words: Sequence[str]) -> None:
    """Make the reading of the command line."""
    print(json.dumps(asyncio.run(read(json.loads(words[0])))))


if __name__ == "__main__":
    main(sys.argv[1:])
