"""A worker inside this process, with a reasoner that works for a while and watches: for what no command shows.

Rules upheld here: it is the worker of `jurat worker`, on a real broker, with its own journal, policies and signature;
the reasoner sees every call, so that what is said of order and concurrency was seen twice, there and on the topics; a
run that is not complete, or not in order, is an error, never a figure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from benchmarks.payments import WITHOUT_PROFILES as AGENT
from benchmarks.stage import RUN_S, BenchmarkFailedError, Stage, records_of, until_readable
from jurat.agents.payment_retrier import AskForNewMethod
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner
from jurat.audit.key_store import load_signer
from jurat.policies.bundle import load_bundle
from jurat.policies.engine import PolicyEngine
from jurat.policies.folder import shipped_bundle
from jurat.schemas.codec import decode
from jurat.schemas.decision import Decision
from jurat.streams import topics
from jurat.streams.worker import Worker, WorkerConfig

LOOK_S: Final = 0.01


class SleepingReasoner:
    """Takes its time and proposes the same to everybody.

    Args:
        deterministic: what it says of itself; calls of one that is not are journalled.
        draw_s: how long each call takes, in seconds.

    Attributes:
        asked: how many calls were made.
        slept_s: what they took together by what was drawn.
        in_flight: how many are under way now.
        peak: how many were at once.
        overlaps: calls that began while another one of the same key was under way.
    """

    def __init__(self, *, deterministic: bool, draw_s: Callable[[], float]) -> None:
        self.deterministic = deterministic
        self._draw_s = draw_s
        self._keys: set[str] = set()
        self.asked = self.in_flight = self.peak = self.overlaps = 0
        self.slept_s = 0.0

    @property
    def name(self) -> str:
        """`sleeping`."""
        return "sleeping"

    async def propose(self, request: ProposalRequest) -> Proposal:
        """Sleep."""
        key = request.situation.event.key()
        self.overlaps += key in self._keys
        self._keys.add(key)
        self.asked += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        wait_s = self._draw_s()
        self.slept_s += wait_s
        await asyncio.sleep(wait_s)
        self.in_flight -= 1
        self._keys.discard(key)
        return Proposal(AskForNewMethod(), "it has slept over it")

    def check(self, *, inputs: int) -> None:
        """Check that it was asked once about each input, and about a key's one after the other.

        Raises:
            BenchmarkFailedError: it was not.
        """
        if self.overlaps or self.asked != inputs:
            raise BenchmarkFailedError(
                f"got {self.asked} calls about {inputs} inputs, {self.overlaps} of them while another one of the same"
                " key was under way; expected one each, one after the other"
            )


@dataclass(frozen=True, slots=True)
class Inside:
    """One run.

    Attributes:
        seconds: from the first call of the reasoner until everything was committed.
        cpu_s: the process's processor time in between.
    """

    seconds: float
    cpu_s: float


async def run_inside(stage: Stage, reasoner: Reasoner, *, inputs: int, max_in_flight: int) -> Inside:
    """Run a worker until it has committed so many inputs.

    Raises:
        BenchmarkFailedError: it hangs.
    """
    first = _First(reasoner)
    worker = Worker(
        stage.connection,
        WorkerConfig(
            agent=AGENT,
            reasoner=first,
            engine=PolicyEngine(load_bundle(shipped_bundle(AGENT.bundle))),
            signer=load_signer(stage.keys, AGENT.name),
            clock=lambda: datetime.now(UTC),
            code="benchmarks",
            max_in_flight=max_in_flight,
        ),
    )
    running = asyncio.create_task(worker.run())
    deadline = time.perf_counter() + RUN_S
    try:
        while worker.committed_records < inputs and not running.done():
            if time.perf_counter() > deadline:
                raise BenchmarkFailedError(
                    f"the worker committed {worker.committed_records} of {inputs} inputs in {RUN_S:.0f} s"
                )
            await asyncio.sleep(LOOK_S)
        ended_at, used_s = time.perf_counter(), time.process_time()
    finally:
        worker.stop()
        await running
    return Inside(ended_at - first.at, used_s - first.used_s)


class _First:
    """A reasoner that notes when it was asked first."""

    def __init__(self, reasoner: Reasoner) -> None:
        self._reasoner = reasoner
        self.name, self.deterministic = reasoner.name, reasoner.deterministic
        self.at = self.used_s = 0.0

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        if not self.at:
            self.at, self.used_s = time.perf_counter(), time.process_time()
        return await self._reasoner.propose(request)


async def check_order(stage: Stage, *, inputs: int) -> None:
    """Check that every input has one decision, and that those of a key stand in the inputs' order.

    Raises:
        BenchmarkFailedError: they do not.
    """
    last: dict[bytes, int] = {}
    seen = set[tuple[int, int]]()
    await until_readable(stage, topics.decisions(AGENT.name), records=inputs)
    async for record in records_of(stage, topics.decisions(AGENT.name)):
        decision, key = decode(record.value), record.key or b""
        if not isinstance(decision, Decision) or decision.input.offset <= last.get(key, -1):
            raise BenchmarkFailedError(f"the decisions of {key.decode()} are out of order")
        last[key] = decision.input.offset
        seen.add((decision.input.partition, decision.input.offset))
    if len(seen) != inputs:
        raise BenchmarkFailedError(f"got decisions about {len(seen)} of {inputs} inputs")
