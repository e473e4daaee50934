"""From the start of a process to its first commit on topics that are there already, beside the bare loop.

Rules upheld here: topics, group and transactional ids exist, as after a restart in the middle of the day; one input
is waiting before the process starts; the end is when a `read_committed` reader has the first output. Not here: the
very first start, which also creates topics and keys.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from benchmarks.stage import (
    JURAT,
    ROOT,
    BenchmarkFailedError,
    Stage,
    publish,
    running,
)
from benchmarks.throughput import AGENT, BARE_OUTPUTS, bare_command, bare_plan
from jurat.streams import topics
from jurat.streams.reading import partitions_of, start_reader
from jurat.streams.simulator import SimulatedEvent
from jurat.streams.topics import Topic

POLL_MS: Final = 10
FIRST_COMMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Startup:
    """Seconds to the first commit, run by run, and seconds for the imports alone."""

    worker: list[float]
    bare: list[float]
    worker_imports: list[float]
    bare_imports: list[float]


async def measure(stage: Stage, orders: Sequence[SimulatedEvent], *, rounds: int) -> Startup:
    """Start worker and bare loop in turns on a stage where both have run before.

    Args:
        stage: from `throughput.measure`.
        orders: one for each round.
        rounds: how often each is started.
    """
    worker_command = [str(JURAT), "worker", AGENT.name]
    bare = bare_command(await bare_plan(stage))
    found = Startup([], [], [], [])
    for order in orders[:rounds]:
        # Under an id of its own: where the stage has seen this order, it would end as a duplicate, without a decision.
        await publish(stage, [replace(order, event_id=f"{order.event_id}-startup")])
        found.worker.append(await _first_commit(stage, worker_command, topics.decisions(AGENT.name)))
        found.bare.append(await _first_commit(stage, bare, BARE_OUTPUTS[0]))
        found.worker_imports.append(_imports("jurat.cli.main, jurat.cli.worker"))
        found.bare_imports.append(_imports("benchmarks.bare"))
    return found


def report(found: Startup) -> list[str]:
    """Say what was measured."""
    ratio = median([w / b for w, b in zip(found.worker, found.bare, strict=True)])
    return [
        f"startup: process start to first commit, warm topics, {len(found.worker)} round(s), medians",
        f"  {'':14}{'first commit':>14}{'imports alone':>16}",
        f"  {'jurat worker':14}{median(found.worker):>12.2f} s{median(found.worker_imports):>14.2f} s",
        f"  {'bare loop':14}{median(found.bare):>12.2f} s{median(found.bare_imports):>14.2f} s",
        f"  ratio {ratio:.1f}",
    ]


async def _first_commit(stage: Stage, command: Sequence[str], output: Topic) -> float:
    """Seconds from the start of a process until its first output is visible."""
    partitions = await partitions_of(stage.connection, [stage.connection.topic(output.name)])
    reader = await start_reader(stage.connection, partitions)
    try:
        await reader.seek_to_end(*partitions)
        for partition in partitions:
            await reader.position(partition)
        began = time.perf_counter()
        with running(stage, command) as process:
            while time.perf_counter() - began < FIRST_COMMIT_S:
                if await reader.getmany(timeout_ms=POLL_MS):
                    return time.perf_counter() - began
                if process.poll() is not None:
                    break
        raise BenchmarkFailedError(f"{command[0]} wrote nothing within {FIRST_COMMIT_S:.0f} s")
    finally:
        await reader.stop()


def _imports(modules: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {modules}"], cwd=ROOT, check=True)
    return time.perf_counter() - began
