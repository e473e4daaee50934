"""Decisions per second of one worker, beside the bare loop on the same broker, over the same input records.

Rules upheld here: both are one process; they take turns (worker, bare, worker, bare, ...), each pair over a
namespace of its own that holds the same orders; the bare loop writes as many records, of the mean sizes that the
worker of its pair wrote. Not here: several workers, several brokers, a reasoner that waits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.stage import (
    BenchmarkFailedError,
    Run,
    Stage,
    middle,
    prepare,
    publish,
    records_of,
    run_worker,
    running,
    shown,
    until_committed,
    until_readable,
)
from jurat.agents.agent import Agent
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.streams import kafka, kafka_producer, topics
from jurat.streams.batching import COMMIT_MAX_RECORDS
from jurat.streams.simulator import SimulatedEvent
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.topics import Topic

AGENT: Final = FULFILMENT_ROUTER
BARE: Final = "bare"
BARE_OUTPUTS: Final = (Topic("bare.decisions"), Topic("bare.audit"), Topic("bare.state", compacted=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """A worker's run and the bare loop's run beside it."""

    worker: Run
    bare: Run


async def measure(stage: Stage, events: Sequence[SimulatedEvent]) -> Pair:
    """Measure one pair on a fresh stage."""
    await prepare(stage, AGENT.name)
    orders = await publish(stage, events)
    worker = await run_worker(stage, agent=AGENT.name, reasoner="heuristic", inputs=orders)
    return Pair(worker, await run_bare(stage, inputs=orders))


def report(pairs: Sequence[Pair]) -> list[str]:
    """Say what was measured."""
    workers, bares = [pair.worker for pair in pairs], [pair.bare for pair in pairs]
    ratios = sorted(pair.worker.wall_s / pair.bare.wall_s for pair in pairs)
    cpu = middle(
        p.worker.cpu_us / p.bare.cpu_us if p.worker.cpu_us and p.bare.cpu_us else None for p in pairs
    )
    first = workers[0]
    in_cpu = "" if cpu is None else f"; {cpu:.1f} in processor time"
    return [
        f"throughput: {first.inputs} orders, {first.written} records written, {len(pairs)} pair(s), medians",
        f"  {'':14}{'inputs/s':>12}{'us/input':>12}{'us/record':>12}{'CPU us/input':>14}",
        _row("jurat worker", workers),
        _row("bare loop", bares),
        f"  ratio {median(ratios):.1f} in time (from {ratios[0]:.1f} to {ratios[-1]:.1f}){in_cpu}",
    ]


def _row(name: str, runs: Sequence[Run]) -> str:
    rate = median([run.inputs / run.wall_s for run in runs])
    us_a_record = median([run.wall_s / run.written * 1e6 for run in runs])
    cpu_us = shown(middle(run.cpu_us for run in runs))
    return f"  {name:14}{rate:>12.0f}{1e6 / rate:>12.1f}{us_a_record:>12.1f}{cpu_us:>14}"


async def run_bare(stage: Stage, *, inputs: int) -> Run:
    """Run the bare loop over the inputs that the worker has decided.

    Raises:
        BenchmarkFailedError: it left something out.
    """
    plan = await bare_plan(stage)
    with running(stage, bare_command(plan)) as process:
        cpu_us = await until_committed(stage, group=BARE, topic=AGENT.topic, total=inputs, process=process)
    said = json.loads(process.stdout.read()) if process.stdout else {}
    counts = dict.fromkeys((topic.name for topic in BARE_OUTPUTS), 0)
    ended = 0.0
    for topic in BARE_OUTPUTS[:2]:
        await until_readable(stage, topic, records=inputs)
    for topic in BARE_OUTPUTS:
        async for record in records_of(stage, topic):
            counts[topic.name] += 1
            ended = max(ended, record.timestamp_ms / 1000)
    if said.get("inputs") != inputs or [counts[t.name] for t in BARE_OUTPUTS[:2]] != [inputs, inputs]:
        raise BenchmarkFailedError(
            f"the bare loop wrote {counts} about {inputs} inputs, expected one of each"
        )
    return Run(inputs, sum(counts.values()), ended - said["began"], cpu_us)


def bare_command(plan: dict[str, Any]) -> list[str]:
    """The bare loop as a process."""
    return [sys.executable, "-m", "benchmarks.bare", json.dumps(plan)]


async def bare_plan(stage: Stage, *, agent: Agent[Any] = AGENT) -> dict[str, Any]:
    """The work of an agent's worker on Kafka in figures: records, sizes and settings, for the bare loop to repeat."""
    await ensure_topics(stage.connection, BARE_OUTPUTS)
    return {
        "bootstrap_servers": stage.connection.bootstrap_servers,
        "group": stage.connection.group(BARE),
        "input": stage.connection.topic(agent.topic),
        "batch": COMMIT_MAX_RECORDS,
        "consumer": {
            "session_timeout_ms": kafka.SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": kafka.HEARTBEAT_MS,
            "fetch_max_wait_ms": kafka.FETCH_MAX_WAIT_MS,
            "request_timeout_ms": kafka_producer.REQUEST_TIMEOUT_MS,
        },
        "producer": {
            "transaction_timeout_ms": kafka.TRANSACTION_TIMEOUT_MS,
            "max_request_size": kafka_producer.MAX_REQUEST_BYTES,
            "max_batch_size": kafka_producer.MAX_REQUEST_BYTES,
            "request_timeout_ms": kafka_producer.REQUEST_TIMEOUT_MS,
        },
        "each": [
            await _like(stage, topics.decisions(agent.name), BARE_OUTPUTS[0], own_key=False),
            await _like(stage, topics.AUDIT, BARE_OUTPUTS[1], own_key=True),
        ],
        "last": [await _like(stage, topics.state(agent.name), BARE_OUTPUTS[2], own_key=True)],
    }


async def _like(stage: Stage, model: Topic, topic: Topic, *, own_key: bool) -> dict[str, Any]:
    """An output like the records that the worker wrote to `model`: mean size, key and headers of one of them."""
    sizes: list[int] = []
    sample: kafka.KafkaRecord | None = None
    async for record in records_of(stage, model):
        sizes.append(len(record.value or b""))
        sample = record
    if sample is None:
        raise BenchmarkFailedError(f"the worker wrote nothing to {model.name}")
    return {
        "topic": stage.connection.topic(topic.name),
        "key": (sample.key or b"").decode() if own_key else None,
        "value_bytes": sum(sizes) // len(sizes),
        "headers": [(name, value.decode()) for name, value in sample.headers],
        "same_partition": own_key,
    }
