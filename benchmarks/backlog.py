"""A backlog of a million events, decided by one worker: memory over time, rate, and whether the lag drains.

Rules upheld here: the events stand there before the worker starts; its resident memory is looked at all the time and
told at each twentieth of the way; whether it is flat is told by the most over the least after `WARM_UP` of the way,
when the windows of remembered event ids are full; at the end there is a decision and a signed record for every event.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import psutil

from benchmarks import payments
from benchmarks.payments import AGENT
from benchmarks.stage import JURAT, BenchmarkFailedError, Stage, committed, prepare, running
from jurat.streams import topics
from jurat.streams.kafka import admin_client
from jurat.streams.reading import POLL_MS, partitions_of, start_reader

KEYS: Final = 10_000
LOOKS: Final = 20
WARM_UP: Final = 0.4
"""Six partitions remember 50,000 ids each: of a million events, the windows are full after 30 of 100."""

LOOK_S: Final = 0.2
STALL_S: Final = 60.0
"""A worker that commits nothing for this long hangs."""


@dataclass(frozen=True, slots=True)
class Look:
    """The worker at one moment: seconds since it began, inputs committed, the most memory since the look before."""

    seconds: float
    done: int
    most_mib: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """A run."""

    events: int
    write_s: float
    looks: list[Look]


async def measure(stage: Stage, *, events: int) -> Backlog:
    """Write the backlog and let a worker drain it.

    Raises:
        BenchmarkFailedError: it hangs, or left something out.
    """
    await prepare(stage, AGENT.name)
    began = time.perf_counter()
    await payments.write(stage, count=events, keys=min(KEYS, events))
    write_s = time.perf_counter() - began
    with running(stage, [str(JURAT), "worker", AGENT.name]) as process:
        looks = await _watch(stage, psutil.Process(process.pid), events)
    for topic in (topics.decisions(AGENT.name), topics.AUDIT):
        found = await _count(stage, topic.name)
        if found != events:
            raise BenchmarkFailedError(f"got {found} records on {topic.name} about {events} events")
    return Backlog(events, write_s, looks)


def report(found: Backlog) -> list[str]:
    """Say what was measured."""
    last = found.looks[-1]
    first = found.looks[0]
    after = [look.most_mib for look in found.looks if look.done >= WARM_UP * found.events]
    rate = (last.done - first.done) / (last.seconds - first.seconds) if last.seconds > first.seconds else 0.0
    lines = [
        f"backlog: {found.events} events in six partitions, written in {found.write_s:.0f} s",
        f"  drained in {last.seconds:.0f} s, {rate:.0f} inputs/s",
        f"  {'done':>10}{'lag':>10}{'seconds':>10}{'inputs/s':>10}{'memory':>12}",
    ]
    before = Look(0.0, 0, 0.0)
    for look in found.looks:
        since = (look.done - before.done) / (look.seconds - before.seconds)
        lines.append(
            f"  {look.done / found.events:>10.0%}{found.events - look.done:>10}{look.seconds:>10.1f}{since:>10.0f}"
            f"{look.most_mib:>8.0f} MiB"
        )
        before = look
    lines.append(
        f"  memory after {WARM_UP:.0%}: {min(after):.0f} to {max(after):.0f} MiB,"
        f" the most {max(after) / min(after):.2f} times the least"
    )
    return lines


async def _watch(stage: Stage, process: psutil.Process, events: int) -> list[Look]:
    """Look until everything is committed; the first look is at the first commit."""
    looks: list[Look] = []
    full, most, last, progress_at = stage.connection.topic(AGENT.topic), 0, 0, time.monotonic()
    began: float | None = None
    async with admin_client(stage.connection) as client:
        while last < events:
            await asyncio.sleep(LOOK_S)
            done = await committed(stage, client, group=AGENT.name, topic=full)
            now = time.monotonic()
            if not process.is_running() or now - progress_at > STALL_S:
                raise BenchmarkFailedError(f"the worker stopped after {done} of {events} events")
            most = max(most, process.memory_info().rss)
            if done == last:
                continue
            last, progress_at = done, now
            began = began if began is not None else now - LOOK_S
            if done >= events * len(looks) / LOOKS:
                looks.append(Look(now - began, done, most / 2**20))
                most = 0
    return looks


async def _count(stage: Stage, topic: str) -> int:
    """Records on a topic, unread but for their number."""
    partitions = await partitions_of(stage.connection, [stage.connection.topic(topic)])
    reader = await start_reader(stage.connection, partitions)
    try:
        ends = await reader.end_offsets(list(partitions))
        await reader.seek_to_beginning(*partitions)
        count = 0
        while True:
            taken = await reader.getmany(timeout_ms=POLL_MS)
            count += sum(len(records) for records in taken.values())
            if not taken and all([await reader.position(one) >= end for one, end in ends.items()]):
                return count
    finally:
        await reader.stop()
