"""After-sales decisions per second on the retail data: `jurat dataset retail`, then `jurat worker after-sales`.

Rules upheld here: the commands are those of the documentation; requests are the gold actions of the data set over and
over, as dry runs, so that the shop's state stays what it was. Not here: whether the verdicts are right (the tests').
"""

from __future__ import annotations

import json
import subprocess
from itertools import cycle, islice
from typing import Final

from benchmarks.stage import JURAT, ROOT, BenchmarkFailedError, Run, Stage, prepare, run_worker, shown

AGENT: Final = "after-sales"
DATA: Final = ROOT.parent / "shared" / "data" / "retail"
DB: Final = DATA / "db.json"
GOLD: Final = DATA / "gold_writes_train.jsonl"
PUBLISH_S: Final = 120


def missing() -> str | None:
    """Why it cannot run, None where it can."""
    absent = [path.name for path in (DB, GOLD) if not path.is_file()]
    return f"no {' and no '.join(absent)} in shared/data/retail beside the repository" if absent else None


async def measure(stage: Stage, *, requests: int) -> Run:
    """Publish the shop and the requests, then decide them."""
    await prepare(stage, AGENT)
    _publish(stage, requests)
    return await run_worker(stage, agent=AGENT, reasoner="requested", inputs=requests)


def report(run: Run) -> list[str]:
    """Say what was measured."""
    rate, us = run.inputs / run.wall_s, run.wall_s / run.inputs * 1e6
    return [
        f"after-sales: {run.inputs} requests on the retail data, {run.written} records written",
        f"  {rate:.0f} decisions/s, {us:.1f} us each, CPU us each: {shown(run.cpu_us)}",
    ]


def _publish(stage: Stage, requests: int) -> None:
    gold = [json.loads(line) for line in GOLD.read_text().splitlines()]
    path = stage.keys.parent / f"{stage.connection.namespace}.jsonl"
    with path.open("w") as lines:
        for number, row in enumerate(islice(cycle(gold), requests)):
            request = {"id": f"q-{number}", "dry_run": True} | {
                name: row[name] for name in ("key", "action", "args")
            }
            lines.write(json.dumps(request) + "\n")
    done = subprocess.run(
        [JURAT, "dataset", "retail", DB, "--requests", path],
        env=stage.environment,
        capture_output=True,
        timeout=PUBLISH_S,
        check=False,
    )
    if done.returncode:
        raise BenchmarkFailedError(
            f"jurat dataset retail: exit code {done.returncode}: {done.stderr.decode()[-2000:]}"
        )
