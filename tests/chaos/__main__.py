"""`python -m tests.chaos`: kill workers by the thousand, and look whether anything was lost or repeated.

Two campaigns follow each other: most of the kills on one broker that is restarted now and then, the rest on three, with
partitions that change their leader. Exit code 0 means that the oracle has no fault and every step had its deaths.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.campaign import Outcome, Wanted, campaign
from tests.chaos.checks import by_decision

ON_THREE = 0.15
"""The share of kills on three brokers: they take most of two cores for themselves."""

SHOWN_FAULTS = 40


def main() -> int:
    """Run it; returns the exit code."""
    asked = _arguments()
    print(f"seed {asked.seed} (again: python -m tests.chaos --kills {asked.kills} --seed {asked.seed})")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers are away on purpose
    folder = Path(tempfile.mkdtemp(prefix="jurat-chaos-"))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that everything that was started is ended
    outcomes: list[Outcome] = []
    try:
        asyncio.run(_run(asked, folder, outcomes))
    finally:
        _report(outcomes)
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    missing = set.intersection(*(set(outcome.orders.missing) for outcome in outcomes))
    for name, when in sorted(missing):
        print(f"NOBODY DIED {when.value} {name}")
    if faults or missing:
        print(f"{len(faults)} faults; logs and diaries are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print("0 lost, 0 duplicated, 0 finished calls bought again")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--minutes", type=float, default=45.0, help="end by then, however many were killed")
    parser.add_argument("--arenas", type=int, default=8, help="consumer groups at once")
    return parser.parse_args()


async def _run(asked: argparse.Namespace, folder: Path, outcomes: list[Outcome]) -> None:
    on_three = round(asked.kills * ON_THREE)
    began = time.monotonic()
    for nodes, kills, arenas in (
        (1, asked.kills - on_three, asked.arenas),
        (3, on_three, max(asked.arenas // 2, 1)),
    ):
        left_s = asked.minutes * 60 - (time.monotonic() - began)
        wanted = Wanted(
            seed=asked.seed,
            kills=kills,
            within_s=left_s * (kills / asked.kills if nodes == 1 else 1.0),
            arenas=arenas,
        )
        print(f"{nodes} broker(s), {arenas} groups, {kills} kills")
        (folder / str(nodes)).mkdir()
        every_s = 60.0 if nodes == 1 else 25.0
        outcome = await campaign(wanted, folder / str(nodes), nodes=nodes, broker_every_s=every_s)
        print(f"{len(outcome.faults)} faults after {outcome.orders.total} kills in {outcome.seconds:.0f} s")
        for fault in outcome.faults[:SHOWN_FAULTS]:
            print(f"FAULT {fault}")
        outcomes.append(outcome)


def _report(outcomes: list[Outcome]) -> None:
    kills: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for outcome in outcomes:
        kills.update(outcome.orders.kills)
        counts.update(outcome.orders.counts)
        ended.update(by_decision(outcome.reports))
        for report in outcome.reports.values():
            totals["inputs"] += report.findings.inputs
            totals["records"] += len(report.findings.records)
            totals["model calls"] += report.calls
            totals["of them made again"] += report.made_again
            totals["calls that came when the partition was lost"] += report.by_zombies
            totals["told as possibly paid twice"] += report.told
            totals["journalled answers used again"] += report.reused
            totals["transactions aborted and repeated"] += report.aborted
    for title, numbers in (("kills", kills), ("", counts), ("inputs ended", ended), ("", totals)):
        print(f"{title}: {numbers.total()}" if title else "")
        for name, number in sorted(numbers.items()):
            print(f"  {number:8,} {name}")


if __name__ == "__main__":
    sys.exit(main())
