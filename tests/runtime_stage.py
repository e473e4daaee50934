"""What the tests of the runtime on a real Kafka share: an agent that does one thing, reasoners, workers in process."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from jurat.agents.agent import Action, Agent, Candidate, Judged, Situation
from jurat.agents.payment_retrier import PAYMENT_RETRIER, GiveUp, judged
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner
from jurat.audit.key_store import load_signer
from jurat.policies.engine import PolicyEngine
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import BrokerUnreachable, ReasonerUnavailable
from jurat.schemas.timers import TimerFired
from jurat.streams import topics
from jurat.streams.kafka import AIOKafkaAdminClient, KafkaRecord, admin_client
from jurat.streams.metrics import Meters
from jurat.streams.publisher import Publisher
from jurat.streams.replay import replay
from jurat.streams.retries import RetryPolicy
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.worker import Worker, WorkerConfig
from tests.command import Shell
from tests.deciding_stage import Says
from tests.oracle import Findings, examine

SOURCE = "/test"
MARKERS_S = 30.0
"""How long the markers of a confirmed transaction may take, on a busy broker."""

WITHIN_S = 60.0
"""What a test waits for takes a second or two on an idle machine; a bound only ends a test that hangs."""

EAGER = RetryPolicy(attempts=4, base_s=0.05, cap_s=0.05)
ALLOWS = cast("PolicyEngine", Says(Verdict.ALLOW))


def failed(number: int, customer: str, *, code: str = "insufficient_funds") -> PaymentFailed:
    return PaymentFailed.model_validate(
        {
            "payment_id": f"pay-{number}",
            "order_id": f"o-{number}",
            "customer_id": customer,
            "payment_method_id": "card-1",
            "amount": {"amount_minor": 1_999, "currency": "EUR"},
            "failure_code": code,
            "attempt": 1,
            "fraud_score": 3,
        }
    )


def judged_as_payment(situation: Situation[Any], action: Action) -> Judged:
    """A timer is judged like the payment that it waits for."""
    if isinstance(situation.event, TimerFired):
        situation = replace(situation, event=failed(0, situation.event.event_key))
    return judged(situation, action)


PLAIN: Agent[Any] = replace(
    PAYMENT_RETRIER,
    subject=lambda event: event.key(),
    candidates=lambda _situation: (Candidate(GiveUp(), ()),),
    judged=judged_as_payment,
    views=(),
    reads=lambda _event: (),
    fallback=lambda _situation: None,
)
"""Gives up whatever it is asked, reads nothing, and has nothing to fall back to."""


class Thinking:
    """A reasoner that takes its time and fails as told; counts what it was asked.

    Attributes:
        asked: the subjects, in the order of the questions.
        failures: how often each subject fails before it is answered; negative for ever.
        gate: nobody is answered before it is open.
        most: how many it thought about at once.
    """

    name = "thinking"
    deterministic = True

    def __init__(
        self,
        takes_s: float = 0.0,
        *,
        failures: Mapping[str, int] | None = None,
        gate: asyncio.Event | None = None,
    ) -> None:
        self.takes_s = takes_s
        self.gate = gate
        self.failures = dict(failures or {})
        self.asked: list[str] = []
        self.now = 0
        self.most = 0

    async def propose(self, request: ProposalRequest) -> Proposal:
        event = request.situation.event
        name = event.payment_id if isinstance(event, PaymentFailed) else event.name
        self.asked.append(name)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(self.takes_s)
        finally:
            self.now -= 1
        if self.failures.get(name, 0):
            self.failures[name] -= 1
            raise ReasonerUnavailable("got no answer")
        return Proposal(action=GiveUp(), rationale="because")

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.asked)


def worker_of(
    shell: Shell,
    reasoner: Reasoner,
    *,
    agent: Agent[Any] = PLAIN,
    until_idle_s: float | None = None,
    retry: RetryPolicy = EAGER,
    max_in_flight: int = 1_000,
    meters: Meters | None = None,
    clock: Callable[[], datetime] | None = None,
) -> Worker:
    config = WorkerConfig(
        agent=agent,
        reasoner=reasoner,
        engine=ALLOWS,
        signer=load_signer(shell.keys, agent.name),
        clock=clock or Clock(),
        code="jurat test",
        until_idle_s=until_idle_s,
        retry=retry,
        max_in_flight=max_in_flight,
        meters=meters,
    )
    return Worker(shell.connection, config)


class Clock:
    """The present moment, and what a test puts on top of it instead of waiting."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """A worker for the length of a block; it must not have ended before, and ends without an error."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
        assert not task.done(), task.exception()
    finally:
        worker.stop()
        await asyncio.wait({task}, timeout=WITHIN_S)
    await task


async def prepare(shell: Shell, *, partitions: int = 6) -> None:
    """The input topic, with so many partitions."""
    await ensure_topics(shell.connection, [replace(topics.PAYMENTS, partitions=partitions)])


@dataclass
class Sent:
    """An event to publish."""

    event: PaymentFailed
    event_id: str
    time: datetime | None = None


async def publish(shell: Shell, events: Sequence[Sent]) -> None:
    async with Publisher(shell.connection, source=SOURCE) as publisher:
        for one in events:
            await publisher.publish(one.event, event_id=one.event_id, time=one.time)


async def publish_many(shell: Shell, numbers: range, *, customers: int) -> None:
    """Failed payments of so many customers in turn."""
    await publish(shell, [Sent(failed(n, f"c-{n % customers}"), f"e-{n}") for n in numbers])


async def findings(shell: Shell, *, agent: Agent[Any] = PLAIN) -> Findings:
    """What the oracle says, once the last transactions show everywhere.

    A commit is confirmed before its markers stand in every partition that it wrote, so that for a moment a reader
    sees a decision and not yet its record. A fault that is one stays.
    """
    deadline = time.monotonic() + MARKERS_S
    while True:
        found = await examine(shell.connection, agent, shell.trust)
        if not found.faults or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.2)


async def read(shell: Shell, topic: str) -> list[KafkaRecord]:
    return [record async for record in replay(shell.connection, [shell.connection.topic(topic)])]


async def until(
    true: Callable[[], bool] | Callable[[], Awaitable[bool]], *, within_s: float = WITHIN_S
) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(within_s):
        while True:  # what is waited for has no event of its own
            so = true()
            if (await so) if isinstance(so, Awaitable) else so:
                return
            await asyncio.sleep(0.05)


async def committed(shell: Shell, agent: str) -> int:
    """How many inputs the agent's group has committed."""
    try:
        async with admin_client(shell.connection) as client:
            return await _committed(client, shell, agent)
    except BrokerUnreachable:  # a fresh or restarting broker has no group coordinator
        return 0


async def until_committed(
    shell: Shell,
    agent: str,
    count: int,
    *,
    by: subprocess.Popen[bytes] | None = None,
    within_s: float = 2 * WITHIN_S,
) -> None:
    """Wait until so many inputs are committed; a process that is to do it must live.

    Asked through one client for as long as the broker stays: what is done as soon as this returns, is done in time.
    """
    done, deadline = 0, time.monotonic() + within_s

    def goes_on() -> None:
        assert by is None or by.poll() is None, "the worker ended"
        assert time.monotonic() < deadline, f"{done} of {count} inputs are committed after {within_s:.0f} s"

    while True:
        try:
            async with admin_client(shell.connection) as client:
                while (done := await _committed(client, shell, agent)) < count:
                    goes_on()
                    await asyncio.sleep(0.02)
                return
        except BrokerUnreachable:
            goes_on()
            await asyncio.sleep(0.05)


async def delete(shell: Shell, topic: str) -> None:
    """Delete a topic; nobody sees it any more when this returns."""
    name = shell.connection.topic(topic)
    async with admin_client(shell.connection) as client:
        await client.delete_topics([name])
        while name in await client.list_topics():  # noqa: ASYNC110 - Kafka says when
            await asyncio.sleep(0.05)


async def _committed(client: AIOKafkaAdminClient, shell: Shell, agent: str) -> int:
    offsets = await client.list_consumer_group_offsets(shell.connection.group(agent))
    return sum(max(found.offset, 0) for found in offsets.values())


@dataclass
class Plan:
    """An agent that sets timers as told.

    Attributes:
        payments: the timers that a payment with this failure code sets, by name, in seconds from then.
        timers: the timers that a timer of this name sets.
    """

    payments: Mapping[str, Mapping[str, float]]
    timers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def agent(self) -> Agent[Any]:
        return replace(PLAIN, timers=self._set)

    def _set(self, situation: Situation[Any], _action: Action) -> Mapping[str, datetime]:
        event = situation.event
        told = self.timers if isinstance(event, TimerFired) else self.payments
        name = event.name if isinstance(event, TimerFired) else event.failure_code
        return {one: situation.now + timedelta(seconds=wait_s) for one, wait_s in told.get(name, {}).items()}
