"""Disputes through one worker that asks a model which takes its time, beside the same calls in a bare loop.

Rules upheld here: the worker is the command that users run, on a real broker, with its journal, policies and signature;
the bare loop makes as many calls of the same size with the same client, as many at once, and does nothing with the
answers. Both are processes of their own, and so is the model server, which answers everybody after the same time. A run
that is not complete is an error. Run as a process, `python -m benchmarks.disputes PLAN`, it is the bare loop.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from benchmarks.in_flight import peak_bytes
from benchmarks.slow_model import slow_model
from benchmarks.stage import ROOT, RUN_S, SAID_CHARS, BenchmarkFailedError, Stage, prepare, run_worker
from jurat.agents.action_space import LazySpace
from jurat.agents.agent import Situation
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.model_prompt import answer_schema, messages, sent
from jurat.agents.openai_client import OpenAIClient
from jurat.agents.openai_reasoner import MAX_ANSWER_TOKENS, WITHIN_S
from jurat.agents.reasoner import ProposalRequest
from jurat.policies.bundle import load_bundle
from jurat.policies.engine import PolicyEngine
from jurat.policies.folder import shipped_bundle
from jurat.policies.usage import Assumed
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Party, Statement
from jurat.schemas.model import Money
from jurat.streams.publisher import Publisher

AGENT: Final = DISPUTE_MEDIATOR
MODEL: Final = "slow-1"
GOAL_PER_HOUR: Final = 10_000
SOURCE: Final = "/jurat/benchmarks"


@dataclass(frozen=True, slots=True)
class Disputes:
    """One run of each.

    Attributes:
        inputs: disputes, each with one call.
        call_s: seconds that each call takes at the server.
        at_once: calls under way at once.
        worker_s: from the first dispute's decision begun to the last transaction.
        worker_mib: the most resident memory of the worker.
        bare_s: from the first call to the last answer.
        bare_mib: the most resident memory of the bare loop.
    """

    inputs: int
    call_s: float
    at_once: int
    worker_s: float
    worker_mib: float
    bare_s: float
    bare_mib: float


async def measure(stage: Stage, *, inputs: int, call_s: float, at_once: int) -> Disputes:
    """Decide the disputes, then make the same calls in the bare loop.

    Raises:
        BenchmarkFailedError: a run failed, or left something out.
    """
    await prepare(stage, AGENT.name)
    async with Publisher(stage.connection, source=SOURCE) as publisher:
        for number in range(inputs):
            await publisher.publish(dispute(number), event_id=f"dispute-{number}")
    with slow_model(call_s) as address:
        asking = replace(
            stage,
            settings={"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "none", "JURAT_MODEL": MODEL},
        )
        run = await run_worker(
            asking,
            agent=AGENT.name,
            reasoner="openai",
            inputs=inputs,
            words=("--max-in-flight", str(at_once)),
        )
        plan = {"address": address, "calls": inputs, "at_once": at_once}
        bare = await asyncio.to_thread(_bare_loop, plan)
    return Disputes(
        inputs, call_s, at_once, run.wall_s, run.peak_mib or 0.0, bare["seconds"], bare["peak_mib"]
    )


def report(found: Disputes) -> list[str]:
    """Say what was measured."""
    times = found.inputs / found.worker_s * 3_600 / GOAL_PER_HOUR
    return [
        f"disputes: {found.inputs} disputes, each with one call of {found.call_s:g} s, {found.at_once} at once",
        f"  {'':14}{'seconds':>10}{'an hour':>12}{'most memory':>14}",
        *(
            f"  {name:14}{seconds:>10.2f}{found.inputs / seconds * 3_600:>12.0f}{mib:>10.0f} MiB"
            for name, seconds, mib in (
                ("jurat worker", found.worker_s, found.worker_mib),
                ("bare loop", found.bare_s, found.bare_mib),
            )
        ),
        f"  ratio {found.worker_s / found.bare_s:.2f} in time; {times:.0f} times the goal of {GOAL_PER_HOUR} an hour",
    ]


def dispute(number: int) -> DisputeOpened:
    """A dispute of a buyer and an order of its own."""
    return DisputeOpened(
        dispute_id=f"d-{number}",
        order_id=f"o-{number}",
        customer_id=f"c-{number}",
        seller_id=f"s-{number % 100}",
        amount=Money(amount_minor=9_000, currency="EUR"),
        category=DisputeCategory.NOT_RECEIVED,
        statements=(
            Statement(party=Party.BUYER, text="It never came, and nobody answers my letters."),
            Statement(party=Party.SELLER, text="It was handed over on Monday; I have the carrier's receipt."),
        ),
        evidence=(),
        days_since_delivery=4,
        seller_dispute_rate_percent=3,
        buyer_prior_disputes=0,
    )


def _bare_loop(plan: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.disputes", json.dumps(plan)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    if done.returncode:
        raise BenchmarkFailedError(
            f"the bare loop ended with exit code {done.returncode}: {done.stderr[-SAID_CHARS:]}"
        )
    return dict(json.loads(done.stdout))


async def bare_loop(plan: dict[str, Any]) -> dict[str, float]:
    """Make the calls in this process, with the words of one dispute."""
    now = datetime.now(UTC)
    seen = Situation(event=dispute(0), now=now, occurred_at=now)
    engine = PolicyEngine(load_bundle(shipped_bundle(AGENT.bundle)))
    request = ProposalRequest(AGENT, seen, space=LazySpace(AGENT, seen, engine, usage=Assumed({})))
    schema = answer_schema(request)
    if schema is None:
        raise BenchmarkFailedError("got a dispute in which nothing may be proposed")
    asked = {
        **sent(request, schema, {"model": MODEL, "max_completion_tokens": MAX_ANSWER_TOKENS}),
        "messages": messages(request),
    }
    client = OpenAIClient(base_url=plan["address"], api_key="none", within_s=WITHIN_S)
    left = iter(range(plan["calls"]))

    async def caller() -> None:
        for number in left:
            answered = await client.complete(asked, call_id=f"bare-{number}")
            if answered.status != 200:
                raise BenchmarkFailedError(f"got status {answered.status}, expected 200")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as callers:
        for _ in range(plan["at_once"]):
            callers.create_task(caller())
    seconds = time.perf_counter() - began
    await client.close()
    return {"seconds": seconds, "peak_mib": peak_bytes() / 2**20}


def main(words: Sequence[str]) -> None:
    """Run the bare loop of the command line."""
    print(json.dumps(asyncio.run(bare_loop(json.loads(words[0])))))


if __name__ == "__main__":
    main(sys.argv[1:])
