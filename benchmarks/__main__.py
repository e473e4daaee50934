"""`python -m benchmarks [NAME...] [--short]`: measure jurat on this machine and print the figures.

Rules upheld here: the broker is the one in JURAT_BOOTSTRAP_SERVERS, else one of its own that is thrown away; what
cannot run is said to be skipped; a run that is not complete ends with exit code 1 and no figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import (
    audit,
    backlog,
    backtest,
    breakdown,
    disputes,
    in_flight,
    latency,
    machine,
    notary,
    parallelism,
    partitions,
    policies,
    policies_space,
    restore,
    retail,
    startup,
    throughput,
    veiling,
)
from benchmarks.stage import BenchmarkFailedError, Stage, middle, new_stage, wanted
from jurat.schemas.commerce import OrderPlaced
from jurat.schemas.errors import JuratError
from jurat.streams import local_broker
from jurat.streams.simulator import SimulatedEvent, simulate

NAMES: Final = (
    "throughput",
    "startup",
    "breakdown",
    "after-sales",
    "restore",
    "parallelism",
    "in-flight",
    "latency",
    "partitions",
    "notary",
    "policies",
    "policies-space",
    "audit",
    "veiling",
)
WITHOUT_BROKER: Final = frozenset({"audit", "policies", "policies-space", "veiling"})
BY_NAME_ONLY: Final = ("backlog", "backtest", "disputes")
"""The backlog takes a quarter of an hour, and some ten gigabytes of the broker's disk; the backtest is no part of a
decision; of the disputes' time most is waiting for a model server."""

SEED: Final = 7
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
STOP_S: Final = 1.0
"""The broker's data are thrown away, so a clean stop is worth no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured; `warm_up` events go through a new broker before (0 counts the first run)."""

    warm_up: int
    orders: int
    rounds: int
    starts: int
    pieces: int
    requests: int
    entries: int
    parallel: int
    calls: int
    call_s: float
    disputes: int
    at_once: int
    payments: int
    pace_s: float
    partitions: tuple[int, ...]
    backlog: int
    judging: int
    records: int


FULL: Final = Size(
    warm_up=500,
    orders=20_000,
    rounds=3,
    starts=3,
    pieces=2_000,
    requests=5_000,
    entries=100_000,
    parallel=10_000,
    calls=10_000,
    call_s=2.0,
    disputes=5_000,
    at_once=1_000,
    payments=10_000,
    pace_s=20.0,
    partitions=(1, 2, 6, 16, 64),
    backlog=1_000_000,
    judging=200,
    records=100_000,
)
SHORT: Final = Size(
    warm_up=0,
    orders=1_000,
    rounds=1,
    starts=1,
    pieces=200,
    requests=200,
    entries=2_000,
    parallel=200,
    calls=200,
    call_s=0.2,
    disputes=200,
    at_once=50,
    payments=300,
    pace_s=0.5,
    partitions=(1, 4),
    backlog=2_000,
    judging=4,
    records=600,
)


@dataclass(slots=True)
class Session:
    """One call: the broker, a folder for keys, and the size."""

    bootstrap_servers: str
    folder: Path
    size: Size
    made: int = field(default=0)

    def stage(self) -> Stage:
        """A new namespace."""
        self.made += 1
        return new_stage(self.bootstrap_servers, self.folder, str(self.made))

    def events(self) -> list[SimulatedEvent]:
        """The orders, and the reports of the warehouses."""
        return [one for one in simulate(seed=SEED, orders=self.size.orders, start=BEGIN) if wanted(one)]


async def measure(session: Session, names: list[str]) -> None:
    """Run the named benchmarks and print each as soon as it is known."""
    if {"throughput", "breakdown", "startup"} & set(names):
        await _measure_orders(session, names)
    if "after-sales" in names:
        why_not = retail.missing()
        if why_not is None:
            _print(retail.report(await retail.measure(session.stage(), requests=session.size.requests)))
        else:
            _print([f"after-sales: SKIPPED, {why_not}"])
    if "restore" in names:
        size = session.size
        _print(
            restore.report(await restore.measure(session.stage(), entries=size.entries, rounds=size.rounds))
        )
    await _measure_runtime(session, names)
    await _measure_without_broker(session.size, names)


async def _measure_runtime(session: Session, names: list[str]) -> None:
    size, stage = session.size, session.stage
    if "parallelism" in names:
        _print(parallelism.report(await parallelism.measure(stage, inputs=size.parallel)))
    if "in-flight" in names:
        flights = await in_flight.measure(stage, calls=size.calls, call_s=size.call_s)
        _print(in_flight.report(flights))
    if "latency" in names:
        found = await latency.measure(stage, inputs=size.payments, seconds=size.pace_s)
        _print(latency.report(found))
    if "partitions" in names:
        rows = await partitions.measure(stage, counts=size.partitions, inputs=size.payments)
        _print(partitions.report(rows))
    if "notary" in names:
        signed = await notary.measure(stage(), records=size.entries, rounds=size.rounds)
        _print(notary.report(signed))
    if "backtest" in names:
        _print(backtest.report(await backtest.measure(stage(), inputs=size.payments)))
    if "disputes" in names:
        told = await disputes.measure(stage(), inputs=size.disputes, call_s=size.call_s, at_once=size.at_once)
        _print(disputes.report(told))
    if "backlog" in names:
        _print(backlog.report(await backlog.measure(stage(), events=size.backlog)))


async def _measure_without_broker(size: Size, names: list[str]) -> None:
    if "policies" in names:
        _print(policies.report(policies.measure(rounds=size.judging)))
    if "policies-space" in names:
        _print(policies_space.report(policies_space.measure(rounds=size.judging)))
    if "audit" in names:
        _print(audit.report(await audit.measure(records=size.records, rounds=size.judging // 2)))
    if "veiling" in names:
        _print(veiling.report(await veiling.measure(rounds=size.judging)))


async def _measure_orders(session: Session, names: list[str]) -> None:
    size, events = session.size, session.events()
    stage = session.stage()
    first = await throughput.measure(stage, events[: size.warm_up] or events)
    if {"throughput", "breakdown"} & set(names):
        rounds = size.rounds if "throughput" in names else 1
        # The first pair also shows a new broker its work; only a short run counts it.
        pairs, last = ([], stage) if size.warm_up else ([first], stage)
        while len(pairs) < rounds:
            last = session.stage()
            pairs.append(await throughput.measure(last, events))
        if "throughput" in names:
            _print(throughput.report(pairs))
        if "breakdown" in names:
            worker_us = middle(pair.worker.cpu_us for pair in pairs)
            bare_us = middle(pair.bare.cpu_us for pair in pairs)
            pieces = await breakdown.measure(last, count=size.pieces)
            _print(breakdown.report(pieces, worker_us=worker_us, bare_us=bare_us))
    if "startup" in names:
        more = [one for one in events if isinstance(one.event, OrderPlaced)][-size.starts :]
        _print(startup.report(await startup.measure(stage, more, rounds=size.starts)))


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure jurat on this machine."
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"some of {', '.join(NAMES)} (all of these by default); or {', '.join(BY_NAME_ONLY)} by name",
    )
    parser.add_argument(
        "--short", action="store_true", help="small sizes: shows that it works, says little of speed"
    )
    given = parser.parse_args()
    known = (*NAMES, *BY_NAME_ONLY)
    unknown = sorted(set(given.names) - set(known))
    if unknown:
        parser.error(f"got {', '.join(unknown)}, expected some of {', '.join(known)}")
    # The client reports what it retries: topics made a moment ago have no leader yet.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        names = given.names or list(NAMES)
        broker = _no_broker() if WITHOUT_BROKER.issuperset(names) else _broker()
        with broker as (address, kafka), tempfile.TemporaryDirectory(prefix="jurat-benchmarks-") as folder:
            _print(machine.describe(kafka))
            session = Session(address, Path(folder), SHORT if given.short else FULL)
            asyncio.run(measure(session, names))
    except (BenchmarkFailedError, JuratError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _broker() -> Iterator[tuple[str, str]]:
    """A broker's address and what it is."""
    given = os.environ.get("JURAT_BOOTSTRAP_SERVERS")
    if given:
        yield local_broker.use_given(given), "a Kafka that was given"
        return
    with tempfile.TemporaryDirectory(prefix="jurat-benchmarks-kafka-", ignore_cleanup_errors=True) as folder:
        broker = local_broker.start(data_dir=Path(folder) / "data")
        try:
            yield broker.bootstrap_servers, f"Apache Kafka {broker.kafka_version} ({broker.engine}, 1 node)"
        finally:
            local_broker.stop(broker, within_s=STOP_S)


@contextlib.contextmanager
def _no_broker() -> Iterator[tuple[str, str]]:
    yield "", "no Kafka"


def _print(lines: list[str]) -> None:
    print("\n".join([*lines, ""]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
