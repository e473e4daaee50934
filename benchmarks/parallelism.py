"""Many calls at once in one partition, in the shape of a table that confluentinc/parallel-consumer publishes.

Theirs: 10,000 messages in one partition, each worked on for 0 to 5 ms at random, at most 100 at once; the time for
them by order and number of keys. Ours: the same, in one worker. What differs: theirs does nothing with a message but
wait, in threads of a JVM; ours decodes it, waits in the event loop, judges, signs and commits decision, record and
offset in transactions. Order per key always holds here, so that "unordered" is a key for each message.

The reasoner says that it is deterministic, so that no call is journalled: theirs has no journal either.

Source: https://github.com/confluentinc/parallel-consumer, README, "Illustrative Performance Example".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import payments
from benchmarks.inside import Inside, SleepingReasoner, check_order, run_inside
from benchmarks.stage import Stage

SEED: Final = 11
MAX_WORK_S: Final = 0.005
AT_ONCE: Final = 100
THEIRS_S: Final = {1: 26.743, 20: 2.242, 1_000: 2.056, None: 2.829}
"""Keys, and the seconds that they publish; None is unordered."""


@dataclass(frozen=True, slots=True)
class Row:
    """A run with so many keys; None is one for each input.

    Attributes:
        peak: calls under way at once.
        serial_s: what the calls take one after the other.
    """

    keys: int | None
    inputs: int
    run: Inside
    peak: int
    serial_s: float


async def measure(new_stage: Callable[[], Stage], *, inputs: int) -> list[Row]:
    """Run a worker on each number of keys."""
    return [await _run(new_stage(), keys, inputs=inputs) for keys in THEIRS_S]


async def _run(stage: Stage, keys: int | None, *, inputs: int) -> Row:
    await payments.prepare(stage, partitions=1)
    await payments.write(stage, count=inputs, keys=keys or inputs, partitions=1)
    drawn = random.Random(SEED)
    reasoner = SleepingReasoner(deterministic=True, draw_s=lambda: drawn.uniform(0, MAX_WORK_S))
    run = await run_inside(stage, reasoner, inputs=inputs, max_in_flight=AT_ONCE)
    reasoner.check(inputs=inputs)
    await check_order(stage, inputs=inputs)
    return Row(keys, inputs, run, reasoner.peak, reasoner.slept_s)


def report(rows: Sequence[Row]) -> list[str]:
    """Say what was measured."""
    title = f"parallelism: {rows[0].inputs} inputs of 0 to {MAX_WORK_S * 1000:.0f} ms in one partition"
    return [
        f"{title}, {AT_ONCE} at once; {rows[0].serial_s:.1f} s one after the other",
        f"  {'keys':>12}{'seconds':>10}{'inputs/s':>10}{'of that':>9}{'at once':>9}{'CPU us/input':>14}{'theirs':>10}",
        *(
            f"  {row.keys or 'one each':>12}{row.run.seconds:>10.2f}{row.inputs / row.run.seconds:>10.0f}"
            f"{row.run.seconds / row.serial_s:>9.2f}{row.peak:>9}{row.run.cpu_s / row.inputs * 1e6:>14.0f}"
            f"{THEIRS_S[row.keys]:>8.2f} s"
            for row in rows
        ),
        "  the order of each key was checked in every run, by the reasoner and on the topic",
    ]
