"""Where a benchmark plays: a namespace of its own on one broker, keys of its own, and processes under test.

Rules upheld here: the process under test is the command that users run; while it works, nobody reads its topics (its
progress is its committed offsets, asked for a few times a second); what it wrote is read and counted afterwards, and
a run that is not complete is an error, never a figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import IO, Final

import psutil

from jurat.agents.catalogue import AGENTS
from jurat.audit.key_store import init_keys
from jurat.schemas.commerce import OrderPlaced, WarehouseReported
from jurat.schemas.errors import JuratError, Retryable
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaAdminClient, Connection, KafkaRecord, admin_client, in_our_words
from jurat.streams.publisher import Publisher
from jurat.streams.reading import replay
from jurat.streams.simulator import SimulatedEvent
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.topics import Topic

ROOT: Final = Path(__file__).resolve().parent.parent
JURAT: Final = Path(sys.executable).parent / "jurat"
POLL_S: Final = 0.1
STOP_S: Final = 20.0
SAID_CHARS: Final = 2_000
"""How much of a failed process's last words is passed on."""

LEAST_CPU_S: Final = 0.2
"""Processor time is counted in ticks of 10 ms: less of it says nothing about an input."""

RUN_S: Final = 300.0
"""No process under test takes longer, or it hangs."""

MARKERS_S: Final = 10.0
"""Markers follow within milliseconds; on a machine whose cores are all taken, within a second or two."""


class BenchmarkFailedError(RuntimeError):
    """A run that says nothing about speed: it failed, hung, or left something out."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A namespace on a broker, a folder with the agents' keys, and further settings of processes under test."""

    connection: Connection
    keys: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process under test."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JURAT_")}
        return kept | {
            "JURAT_BOOTSTRAP_SERVERS": self.connection.bootstrap_servers,
            "JURAT_NAMESPACE": self.connection.namespace,
            "JURAT_KEYS_DIR": str(self.keys),
            **self.settings,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run.

    Attributes:
        inputs: how many there were.
        written: records written about them.
        wall_s: from the first input to the last transaction.
        cpu_us: the process's processor time per input, in microseconds; it tells work from waiting for a core. None
            where the run was over before it could be seen.
        peak_mib: the most resident memory that was seen in it; None where nobody looked.
    """

    inputs: int
    written: int
    wall_s: float
    cpu_us: float | None
    peak_mib: float | None = None


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what could be measured."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def shown(us: float | None) -> str:
    """Microseconds for a table."""
    return "too short" if us is None else f"{us:.1f}"


def new_stage(bootstrap_servers: str, folder: Path, name: str) -> Stage:
    """A stage with fresh names; keys are made once per folder."""
    keys = folder / "keys"
    if not keys.is_dir():
        init_keys(keys, sorted(AGENTS))
    return Stage(Connection(bootstrap_servers, f"bench-{os.getpid()}-{name}"), keys)


async def prepare(stage: Stage, agent: str) -> None:
    """Create every topic that an agent reads or writes, as a shop would have them long before."""
    declared = AGENTS[agent]
    names = {declared.topic, *(name for view in declared.views for name in view.topics)}
    await ensure_topics(
        stage.connection, [*(t for t in topics.shared() if t.name in names), *topics.of_agent(agent)]
    )


async def publish(stage: Stage, events: Iterable[SimulatedEvent]) -> int:
    """Publish events of the simulator; returns how many orders are among them."""
    orders = 0
    async with Publisher(stage.connection, source="/jurat/benchmarks") as publisher:
        for one in events:
            await publisher.publish(one.event, event_id=one.event_id, time=one.time)
            orders += isinstance(one.event, OrderPlaced)
    return orders


def wanted(event: SimulatedEvent) -> bool:
    """Whether the fulfilment router needs it: orders, and what it knows of the warehouses."""
    return isinstance(event.event, OrderPlaced | WarehouseReported)


@contextlib.contextmanager
def running(stage: Stage, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process under test; ended with SIGTERM, as a supervisor would.

    Raises:
        BenchmarkFailedError: it ended with an error; the message holds the end of what it said.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, env=stage.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=said
        )
        try:
            yield process
        except BenchmarkFailedError as error:
            _end(process)
            raise BenchmarkFailedError(f"{error}; it said: {_tail(said)}") from error
        finally:
            _end(process)
        if process.returncode:
            raise BenchmarkFailedError(
                f"{Path(command[0]).name} {' '.join(command[1:3])} ended with exit code {process.returncode}:"
                f" {_tail(said)}"
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace")[-SAID_CHARS:] or "nothing"


async def until_committed(
    stage: Stage, *, group: str, topic: str, total: int, process: subprocess.Popen[bytes]
) -> float | None:
    """Wait until a group has committed that many inputs of a topic.

    Returns:
        The process's processor time per input in microseconds, between the first and the last look that found it in
        the middle of its work (what is in flight is then the same at both ends); None without two such looks.

    Raises:
        BenchmarkFailedError: the process ended before, or hangs.
    """
    full = stage.connection.topic(topic)
    deadline = time.monotonic() + RUN_S
    watched = psutil.Process(process.pid)
    looks: list[tuple[int, float]] = []
    async with admin_client(stage.connection) as client:
        while True:
            done = await committed(stage, client, group=group, topic=full)
            if process.poll() is not None:
                raise BenchmarkFailedError(f"{group} ended after {done} of {total} inputs")
            if done >= total:
                break
            if time.monotonic() > deadline:
                raise BenchmarkFailedError(f"{group} committed {done} of {total} inputs in {RUN_S:.0f} s")
            used = watched.cpu_times()
            if done:
                looks.append((done, used.user + used.system))
            await asyncio.sleep(POLL_S)
    decided, used_s = (looks[-1][0] - looks[0][0], looks[-1][1] - looks[0][1]) if looks else (0, 0.0)
    if used_s < LEAST_CPU_S or not decided:
        return None
    return used_s / decided * 1e6


async def committed(stage: Stage, client: AIOKafkaAdminClient, *, group: str, topic: str) -> int:
    """How many inputs of a topic (its full name) a group has committed."""
    try:
        with in_our_words(stage.connection):
            found = await client.list_consumer_group_offsets(stage.connection.group(group))
    except JuratError as error:
        # A broker that has just started has no group coordinator yet.
        if not isinstance(error, Retryable):
            raise
        return 0
    return sum(max(0, at.offset) for partition, at in found.items() if partition.topic == topic)


async def records_of(stage: Stage, topic: Topic | str) -> AsyncIterator[KafkaRecord]:
    """What stands on a topic."""
    name = topic if isinstance(topic, str) else topic.name
    async for record in replay(stage.connection, [stage.connection.topic(name)]):
        yield record


async def until_readable(stage: Stage, topic: Topic | str, *, records: int) -> None:
    """Wait until so many records of a topic can be read, a moment at most; what is missing then is missing.

    Kafka confirms a transaction before its last partition has the marker: who reads at once may find less than was
    committed.
    """
    deadline = time.perf_counter() + MARKERS_S
    while time.perf_counter() < deadline:
        if sum([1 async for _record in records_of(stage, topic)]) >= records:
            return
        await asyncio.sleep(POLL_S)


async def run_worker(
    stage: Stage, *, agent: str, reasoner: str, inputs: int, words: Sequence[str] = ()
) -> Run:
    """Run `jurat worker` over inputs that are there already, and measure from its own records.

    The first input counts as begun when the worker's clock says that it was decided; the last record's timestamp is
    that of its transaction. Start-up, waiting for the group and the stop are not part of it. `words` go to the command.

    Raises:
        BenchmarkFailedError: not every input has a decision and a signed record.
    """
    command = [str(JURAT), "worker", agent, "--reasoner", reasoner, *words]
    with running(stage, command) as process:
        cpu_us = await until_committed(
            stage, group=agent, topic=AGENTS[agent].topic, total=inputs, process=process
        )
        peak_mib = most_resident_mib(process.pid)
    began, ended, written, counts = float("inf"), 0.0, 0, {}
    for topic in (topics.decisions(agent), topics.AUDIT):
        await until_readable(stage, topic, records=inputs)
    for topic in (topics.decisions(agent), topics.AUDIT, topics.state(agent)):
        counts[topic.name] = 0
        async for record in records_of(stage, topic):
            counts[topic.name] += 1
            ended = max(ended, record.timestamp_ms / 1000)
            began = min(began, _decided_at(record))
        written += counts[topic.name]
    decisions, records = counts[topics.decisions(agent).name], counts[topics.AUDIT.name]
    if (decisions, records) != (inputs, inputs):
        raise BenchmarkFailedError(
            f"got {decisions} decisions and {records} signed records about {inputs} inputs of {agent},"
            " expected one of each"
        )
    return Run(inputs, written, ended - began, cpu_us, peak_mib)


def most_resident_mib(pid: int) -> float:
    """The most resident memory that a process ever had, where the system tells it (Linux); else what it has now."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.is_file() else None
    return int(found[1]) / 1024 if found else psutil.Process(pid).memory_info().rss / 2**20


def _decided_at(record: KafkaRecord) -> float:
    for name, value in record.headers:
        if name == "ce_time":
            return datetime.fromisoformat(value.decode()).timestamp()
    return float("inf")
