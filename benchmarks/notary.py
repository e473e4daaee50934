"""A notary that catches up with a log, beside a bare read of the same topic.

Rules upheld here: every reading is a process of its own, and they take turns; each reads all six partitions of the same
audit topic from the beginning to its end, `read_committed`, with the same settings of fetches. The bare one decodes
nothing and counts; the notary decodes, hashes, grows its trees, signs with both keys and publishes in transactions, and
has ended when its checkpoints cover every record. Joining the group is not counted. Run as a process, `python -m
benchmarks.notary PLAN`, it makes one reading and prints its figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.stage import ROOT, RUN_S, BenchmarkFailedError, Stage, most_resident_mib
from jurat.audit.log_key import LogKey
from jurat.audit.tlog_policy import NONE, TlogPolicy
from jurat.schemas.codec import encode
from jurat.schemas.envelope import Signature, SignedRecord
from jurat.streams import kafka, topics
from jurat.streams.metric_names import INPUTS_COMMITTED
from jurat.streams.metrics import Meters
from jurat.streams.notary import NotaryConfig, NotaryWorker
from jurat.streams.reading import MAX_POLL_RECORDS, POLL_MS, partitions_of
from jurat.streams.topic_admin import ensure_topics

WAYS: Final = ("bare read", "notary")
PAYLOAD_BYTES: Final = 2_000
"""A record of the shipped agents has some 1.5 to 3 KB."""

LOOK_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the log: wall and processor seconds, the most memory, and checkpoints where there are any."""

    seconds: float
    cpu_s: float
    most_mib: float
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Signed:
    """All readings, by way."""

    records: int
    readings: dict[str, list[Reading]]


async def measure(stage: Stage, *, records: int, rounds: int) -> Signed:
    """Write a log and read it in every way; each round's notary begins anew, under another name.

    Raises:
        BenchmarkFailedError: a reading failed or left records out.
    """
    await ensure_topics(stage.connection, [topics.AUDIT, *topics.OF_THE_NOTARY])
    await _write(stage, records)
    readings: dict[str, list[Reading]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            readings[way].append(_read(stage, way, records, number))
    return Signed(records, readings)


def report(found: Signed) -> list[str]:
    """Say what was measured."""
    bare = found.readings[WAYS[0]]
    what = f"{found.records} records of {PAYLOAD_BYTES} bytes in {topics.AUDIT.partitions} partitions"
    lines = [
        f"notary: {what}, {len(bare)} round(s), medians",
        f"  {'':12}{'records/s':>12}{'ratio':>8}{'CPU us/record':>15}{'memory':>12}{'checkpoints':>13}",
    ]
    for way, readings in found.readings.items():
        rate = median(found.records / one.seconds for one in readings)
        ratio = median(one.seconds / base.seconds for one, base in zip(readings, bare, strict=True))
        cpu_us = median(one.cpu_s for one in readings) / found.records * 1e6
        most = median(one.most_mib for one in readings)
        made = median(one.checkpoints for one in readings)
        lines.append(f"  {way:12}{rate:>12.0f}{ratio:>8.1f}{cpu_us:>15.1f}{most:>8.0f} MiB{made:>13.0f}")
    return lines


async def _write(stage: Stage, records: int) -> None:
    topic = stage.connection.topic(topics.AUDIT.name)
    producer = kafka.idempotent_producer(stage.connection)
    await producer.start()
    try:
        for number in range(records):
            payload = f"{number:012}".encode() + bytes(PAYLOAD_BYTES - 12)
            signature = Signature(
                keyid="did:key:z6MkfwbH9YhCRuP8rM36zbqDMLS8FKDLCidmq39qtteZ7Kbf", sig=bytes(64)
            )
            record = SignedRecord(
                chain=f"payment-retrier/commerce.payments/{number % topics.AUDIT.partitions}",
                payload_type="application/vnd.in-toto+json",
                payload=payload,
                signatures=(signature,),
            )
            await producer.send(topic, encode(record), partition=number % topics.AUDIT.partitions)
        await producer.flush()
    finally:
        await producer.stop()


def _read(stage: Stage, way: str, records: int, number: int) -> Reading:
    plan = {
        "bootstrap_servers": stage.connection.bootstrap_servers,
        "namespace": stage.connection.namespace,
        "way": way,
        "org": f"round-{number}.example",
        "records": records,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.notary", json.dumps(plan)],
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
    if said.pop("records") != records:
        raise BenchmarkFailedError(f"{way} did not see {records} records")
    return Reading(**said)


async def read(plan: dict[str, Any]) -> dict[str, Any]:
    """Make one reading in this process."""
    connection = kafka.Connection(plan["bootstrap_servers"], plan["namespace"])
    return await (_bare(connection) if plan["way"] == WAYS[0] else _notary(connection, plan))


async def _bare(connection: kafka.Connection) -> dict[str, Any]:
    """The client alone, counting records."""
    partitions = await partitions_of(connection, [connection.topic(topics.AUDIT.name)])
    consumer = kafka.table_consumer(connection)
    await consumer.start()
    try:
        consumer.assign(list(partitions))
        ends = await consumer.end_offsets(list(partitions))
        began, used, records = time.perf_counter(), time.process_time(), 0
        await consumer.seek_to_beginning(*partitions)
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            taken = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_POLL_RECORDS)
            records += sum(len(found) for found in taken.values())
        return _said(records, began, used, 0)
    finally:
        await consumer.stop()


async def _notary(connection: kafka.Connection, plan: dict[str, Any]) -> dict[str, Any]:
    meters = Meters("notary")
    config = NotaryConfig(
        org=plan["org"],
        key=LogKey(bytes(32)),
        policy=TlogPolicy((), {}, {}, NONE),
        witnesses=(),
        clock=lambda: int(time.time()),
        meters=meters,
    )
    worker = NotaryWorker(connection, config)
    running = asyncio.create_task(worker.run())
    began = used = 0.0
    while not running.done():
        status = meters.status
        if not began and status is not None and any(one.open for one in status.partitions):
            began, used = time.perf_counter(), time.process_time()
        covered = next(one.value for one in meters.samples() if one.metric is INPUTS_COMMITTED)
        if covered == plan["records"]:
            break
        await asyncio.sleep(LOOK_S)
    said = _said(int(covered), began, used, worker.published)  # type: ignore[arg-type]  # a counter is a number
    worker.stop()
    await running
    return said


def _said(records: int, began: float, used: float, checkpoints: int) -> dict[str, Any]:
    return {
        "records": records,
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - used,
        "most_mib": most_resident_mib(os.getpid()),
        "checkpoints": checkpoints,
    }


def main(words: Sequence[str]) -> None:
    """Make the reading of the command line."""
    print(json.dumps(asyncio.run(read(json.loads(words[0])))))


if __name__ == "__main__":
    main(sys.argv[1:])
