"""Past decisions judged again per second by one process: `jurat policy backtest`, from the topic and from an export.

Rules upheld here: the log is a worker's, written on a real broker; everything that the command does is measured but
starting Python and loading bundles; a report that does not find exactly the decisions that the change refuses is an
error, never a figure. Rates are told by the process's own processor time, and by the clock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import payments
from benchmarks.payments import AGENT
from benchmarks.stage import BenchmarkFailedError, Stage, prepare, run_worker
from jurat.audit import export
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.log import Fault, LogEntry
from jurat.audit.selection import EVERYTHING
from jurat.cli.log_entries import log_entries
from jurat.cli.policy_backtest import judge_log
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.policies.backtest import Backtest
from jurat.policies.backtest_report import Change

KEYS: Final = 1_000
RULES: Final = "retries.cedar"
NOW_MINUTES, NEXT_MINUTES = "context.after_minutes < 5 ", "context.after_minutes < 30 "
"""The change: after a technical failure the heuristic waits for 15 minutes, so every decision of the log is refused."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One pass over the log: where it was read from, and what it took."""

    source: str
    records: int
    wall_s: float
    cpu_s: float


async def measure(stage: Stage, *, inputs: int) -> list[Judged]:
    """Have a worker decide failed payments, and try the change on its log.

    Raises:
        BenchmarkFailedError: a report is not what it must be.
    """
    await prepare(stage, AGENT.name)
    await payments.write(stage, count=inputs, keys=KEYS)
    await run_worker(stage, agent=AGENT.name, reasoner="heuristic", inputs=inputs)
    with tempfile.TemporaryDirectory(prefix="jurat-benchmarks-") as name:
        folder = Path(name)
        engine = _changed(folder / AGENT.bundle)
        file = folder / "log.jsonl"
        with file.open("wb") as lines:
            async for entry in log_entries(None, lambda: stage.connection):
                if isinstance(entry, LogEntry):
                    lines.write(export.print_entry(entry) + b"\n")
        return [
            await _pass("topic", engine, log_entries(None, lambda: stage.connection), inputs),
            await _pass("export", engine, log_entries(file, lambda: stage.connection), inputs),
        ]


def report(passes: list[Judged]) -> list[str]:
    """Say what was measured."""
    return [
        f"backtest: {passes[0].records} past decisions of {AGENT.name}, judged again by a changed bundle",
        *(
            f"  from the {one.source:<7}{one.records / one.cpu_s:>7.0f} records/s of processor time"
            f"{one.records / one.wall_s:>8.0f} by the clock,{one.cpu_s / one.records * 1e6:>7.1f} us each"
            for one in passes
        ),
    ]


def _changed(folder: Path) -> PolicyEngine:
    shutil.copytree(shipped_bundle(AGENT.bundle), folder)
    rules = (folder / RULES).read_text()
    if NOW_MINUTES not in rules:
        raise BenchmarkFailedError(f"got no {NOW_MINUTES!r} in {RULES}, expected the rule that is changed")
    (folder / RULES).write_text(rules.replace(NOW_MINUTES, NEXT_MINUTES))
    return PolicyEngine(load_bundle(folder))


async def _pass(
    source: str, engine: PolicyEngine, entries: AsyncGenerator[LogEntry | Fault, None], inputs: int
) -> Judged:
    made = Backtest(engine)
    began, used = time.perf_counter(), _cpu_s()
    await judge_log(entries, made, EVERYTHING, Unveiler())
    wall_s, cpu_s = time.perf_counter() - began, _cpu_s() - used
    found = made.report()
    denied = found.changes[Change.DENIED].total
    stated_minor = inputs * payments.payment("any").amount.amount_minor
    if (found.judged, denied.decisions, denied.money) != (inputs, inputs, {"EUR": stated_minor}):
        raise BenchmarkFailedError(
            f"got {found.judged} records judged and {denied.decisions} newly denied of {inputs} from the {source},"
            " expected all of them"
        )
    return Judged(source, inputs, wall_s, cpu_s)


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system
