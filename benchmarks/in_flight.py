"""Ten thousand calls under way at once in one worker: time, processor time and memory, with the journal and without.

Rules upheld here: each run is a process of its own, so that its memory is its own; every call takes the same time, so
that all of them together take no less than one; a run that needs more than `MAX_RSS_MIB` is an error. Run as a process,
`python -m benchmarks.in_flight PLAN`, it makes one run and prints its figures.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import payments
from benchmarks.inside import SleepingReasoner, check_order, run_inside
from benchmarks.stage import ROOT, RUN_S, SAID_CHARS, BenchmarkFailedError, Stage
from jurat.streams.kafka import Connection

MAX_RSS_MIB: Final = 1_024
WAYS: Final = {"journalled": False, "not journalled": True}
"""Whether the reasoner calls itself deterministic: only calls of one that does not are journalled."""

STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Flight:
    """One run.

    Attributes:
        peak: calls under way at once.
        seconds: from the first call until everything was committed.
        cpu_s: processor time in between.
        peak_mib: the most resident memory that the process ever had.
    """

    peak: int
    seconds: float
    cpu_s: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Flights:
    """The runs, by way."""

    calls: int
    call_s: float
    flights: dict[str, Flight]


async def measure(new_stage: Callable[[], Stage], *, calls: int, call_s: float) -> Flights:
    """Make the same calls in each way.

    Raises:
        BenchmarkFailedError: a run failed, was not complete, or needed too much memory.
    """
    flights: dict[str, Flight] = {}
    for way, deterministic in WAYS.items():
        stage = new_stage()
        await payments.prepare(stage, partitions=PARTITIONS)
        await payments.write(stage, count=calls, keys=calls, partitions=PARTITIONS)
        plan = {"calls": calls, "call_s": call_s, "deterministic": deterministic}
        flight = flights[way] = _fly(stage, plan)
        await check_order(stage, inputs=calls)
        if flight.peak_mib > MAX_RSS_MIB:
            raise BenchmarkFailedError(
                f"{calls} calls, {way}, took {flight.peak_mib:.0f} MiB, expected {MAX_RSS_MIB} at most"
            )
    return Flights(calls, call_s, flights)


def report(found: Flights) -> list[str]:
    """Say what was measured."""
    return [
        f"in-flight: {found.calls} calls of {found.call_s:g} s in one worker, each about a key of its own",
        f"  {'':16}{'at once':>9}{'seconds':>10}{'beyond one':>12}{'CPU s':>8}{'of a core':>11}{'most memory':>13}",
        *(
            f"  {way:16}{one.peak:>9}{one.seconds:>10.2f}{one.seconds - found.call_s:>10.2f} s{one.cpu_s:>8.2f}"
            f"{one.cpu_s / one.seconds:>11.0%}{one.peak_mib:>9.0f} MiB"
            for way, one in found.flights.items()
        ),
    ]


PARTITIONS: Final = 6


def _fly(stage: Stage, plan: dict[str, Any]) -> Flight:
    connection = stage.connection
    plan |= {
        "bootstrap_servers": connection.bootstrap_servers,
        "namespace": connection.namespace,
        "keys": str(stage.keys),
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.in_flight", json.dumps(plan)],
        cwd=ROOT,
        env=stage.environment,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    if done.returncode:
        raise BenchmarkFailedError(
            f"the calls ended with exit code {done.returncode}: {done.stderr[-SAID_CHARS:]}"
        )
    return Flight(**json.loads(done.stdout))


async def fly(plan: dict[str, Any]) -> dict[str, float]:
    """Make the calls in this process."""
    stage = Stage(Connection(plan["bootstrap_servers"], plan["namespace"]), Path(plan["keys"]))
    call_s, calls = plan["call_s"], plan["calls"]
    reasoner = SleepingReasoner(deterministic=plan["deterministic"], draw_s=lambda: call_s)
    run = await run_inside(stage, reasoner, inputs=calls, max_in_flight=calls)
    reasoner.check(inputs=calls)
    return {
        "peak": reasoner.peak,
        "seconds": run.seconds,
        "cpu_s": run.cpu_s,
        "peak_mib": peak_bytes() / 2**20,
    }


def peak_bytes() -> int:
    """The most resident memory that this program ever had.

    Linux tells it per program; getrusage would count what the parent had when it forked.
    """
    if STATUS.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource  # noqa: PLC0415 - not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main(words: Sequence[str]) -> None:
    """Make the run of the command line."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    print(json.dumps(asyncio.run(fly(json.loads(words[0])))))


if __name__ == "__main__":
    main(sys.argv[1:])
