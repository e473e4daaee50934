"""One worker on one topic of 1 to 64 partitions: what a partition costs.

Rules upheld here: the same events and keys each time, on topics of their own, decided by a worker inside this process;
each partition has a transactional producer, transactions, a changelog and a journal of its own. Not here: several
workers that share the partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import payments
from benchmarks.inside import Inside, check_order, run_inside
from benchmarks.stage import Stage
from jurat.agents.heuristic import HeuristicReasoner
from jurat.streams.intake import MAX_IN_FLIGHT

KEYS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """A run on so many partitions."""

    partitions: int
    inputs: int
    run: Inside


async def measure(new_stage: Callable[[], Stage], *, counts: Sequence[int], inputs: int) -> list[Row]:
    """Run a worker on each number of partitions."""
    rows = []
    for partitions in counts:
        stage = new_stage()
        await payments.prepare(stage, partitions=partitions)
        await payments.write(stage, count=inputs, keys=KEYS, partitions=partitions)
        run = await run_inside(stage, HeuristicReasoner(), inputs=inputs, max_in_flight=MAX_IN_FLIGHT)
        await check_order(stage, inputs=inputs)
        rows.append(Row(partitions, inputs, run))
    return rows


def report(rows: Sequence[Row]) -> list[str]:
    """Say what was measured."""
    return [
        f"partitions: {rows[0].inputs} failed payments of {KEYS} customers, one worker",
        f"  {'partitions':>12}{'seconds':>10}{'inputs/s':>10}{'CPU us/input':>14}",
        *(
            f"  {row.partitions:>12}{row.run.seconds:>10.2f}{row.inputs / row.run.seconds:>10.0f}"
            f"{row.run.cpu_s / row.inputs * 1e6:>14.0f}"
            for row in rows
        ),
    ]
