"""How long a decision takes from its event: at half of the rate that the worker can do, and at a trickle.

Rules upheld here: the time goes from the event's Kafka timestamp, which its publisher's client sets, until a
`read_committed` reader has the decision, so publishing and waiting for the commit are in it; events come one by one at
an even pace, whether or not those before them are decided; the bare loop repeats the worker's work on Kafka at the same
pace, on the same topic, after it. The first events are not counted: the process has just started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Final

from benchmarks import payments
from benchmarks.payments import AGENT
from benchmarks.stage import (
    JURAT,
    BenchmarkFailedError,
    Stage,
    prepare,
    run_worker,
    running,
    until_committed,
)
from benchmarks.throughput import BARE, BARE_OUTPUTS, bare_command, bare_plan
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaConsumer, AIOKafkaProducer, idempotent_producer
from jurat.streams.reading import partitions_of, start_reader
from jurat.streams.topics import Topic

TRICKLE: Final = 20.0
NOT_COUNTED: Final = 0.1
"""Share of the events, from the first."""

POLL_MS: Final = 100
SETTLE_S: Final = 0.5
"""Between a process's first output and the first event of the measurement."""

LATE_S: Final = 30.0
"""A decision that takes longer hangs."""


@dataclass(frozen=True, slots=True)
class Load:
    """Events at one pace, decided by one process.

    Attributes:
        process: who decided.
        rate: events a second.
        events: how many are counted.
        p50_ms: half of them took no longer.
        p99_ms: likewise for 99 of 100.
        max_ms: none took longer.
    """

    process: str
    rate: float
    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Latency:
    """The saturation rate in inputs a second, and the loads: of each pace the worker's, then the bare loop's."""

    saturation: float
    loads: list[Load]


async def measure(new_stage: Callable[[], Stage], *, inputs: int, seconds: float) -> Latency:
    """Find the worker's rate over so many inputs, then send events for so long at each pace, to worker and bare loop.

    Raises:
        BenchmarkFailedError: a decision did not come.
    """
    stage = new_stage()
    await prepare(stage, AGENT.name)
    await payments.write(stage, count=inputs, keys=inputs)
    run = await run_worker(stage, agent=AGENT.name, reasoner="heuristic", inputs=inputs)
    saturation = run.inputs / run.wall_s
    paces = (saturation / 2, TRICKLE)
    bare = bare_command(await bare_plan(stage, agent=AGENT))
    processes = (
        ("jurat worker", [str(JURAT), "worker", AGENT.name], AGENT.name, topics.decisions(AGENT.name)),
        ("bare loop", bare, BARE, BARE_OUTPUTS[0]),
    )
    loads, total = [], inputs
    for name, command, group, output in processes:
        with running(stage, command) as process:
            total += 1
            await _send(stage, [f"{name}-first"], rate=1.0)
            await until_committed(stage, group=group, topic=AGENT.topic, total=total, process=process)
            await asyncio.sleep(SETTLE_S)
            for rate in paces:
                keys = [f"{name}-{rate:.0f}-{number}" for number in range(max(int(rate * seconds), 10))]
                total += len(keys)
                loads.append(await _load(stage, output, name=name, keys=keys, rate=rate))
    return Latency(saturation, sorted(loads, key=lambda load: -load.rate))


def report(found: Latency) -> list[str]:
    """Say what was measured."""
    return [
        f"latency: from an event's timestamp to its decision, committed; the worker's most is {found.saturation:.0f}/s",
        f"  {'':14}{'events/s':>10}{'counted':>10}{'p50':>12}{'p99':>12}{'most':>12}",
        *(
            f"  {one.process:14}{one.rate:>10.0f}{one.events:>10}{one.p50_ms:>9.1f} ms{one.p99_ms:>9.1f} ms"
            f"{one.max_ms:>9.1f} ms"
            for one in found.loads
        ),
        *_added(found.loads),
    ]


def _added(loads: Sequence[Load]) -> list[str]:
    """What the worker takes beyond the bare loop, pace by pace."""
    workers, bares = loads[::2], loads[1::2]
    return [
        f"  added at {one.rate:.0f}/s: p50 {one.p50_ms - bare.p50_ms:.1f} ms, p99 {one.p99_ms - bare.p99_ms:.1f} ms"
        for one, bare in zip(workers, bares, strict=True)
    ]


async def _load(stage: Stage, output: Topic, *, name: str, keys: list[str], rate: float) -> Load:
    reader = await start_reader(
        stage.connection, await partitions_of(stage.connection, [stage.connection.topic(output.name)])
    )
    try:
        await reader.seek_to_end()
        for partition in reader.assignment():
            await reader.position(partition)
        seen = asyncio.create_task(_collect(reader, set(keys)))
        try:
            sent_at = await _send(stage, keys, rate=rate)
            seen_at = await seen
        finally:
            seen.cancel()
    finally:
        await reader.stop()
    counted = keys[int(len(keys) * NOT_COUNTED) :]
    took_ms = sorted(seen_at[key] * 1000 - sent_at[key] for key in counted)
    cuts = quantiles(took_ms, n=100, method="inclusive")
    return Load(name, rate, len(counted), cuts[49], cuts[98], took_ms[-1])


async def _collect(reader: AIOKafkaConsumer, keys: set[str]) -> dict[str, float]:
    """When each key's record was there."""
    seen: dict[str, float] = {}
    last = time.monotonic()
    while len(seen) < len(keys):
        taken = await reader.getmany(timeout_ms=POLL_MS)
        now = time.time()
        for records in taken.values():
            seen |= {record.key.decode(): now for record in records if record.key.decode() in keys}
        if taken:
            last = time.monotonic()
        elif time.monotonic() - last > LATE_S:
            raise BenchmarkFailedError(f"{len(keys) - len(seen)} of {len(keys)} decisions did not come")
    return seen


async def _send(stage: Stage, keys: Sequence[str], *, rate: float) -> dict[str, int]:
    """Publish a payment of each key at an even pace; returns the records' timestamps in milliseconds."""
    producer = idempotent_producer(stage.connection)
    await producer.start()
    try:
        made = [(key, *payments.printed(key, key)) for key in keys]
        topic = stage.connection.topic(AGENT.topic)
        began = time.perf_counter()
        sent = []
        for number, (key, value, headers) in enumerate(made):
            wait_s = began + number / rate - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            sent.append(await _send_one(producer, topic, key, value, headers))
        return {
            key: (await future).timestamp for (key, _value, _headers), future in zip(made, sent, strict=True)
        }
    finally:
        await producer.stop()


async def _send_one(
    producer: AIOKafkaProducer, topic: str, key: str, value: bytes, headers: payments.Headers
) -> asyncio.Future[Any]:
    sent: asyncio.Future[Any] = await producer.send(topic, value, key=key.encode(), headers=headers)
    return sent
