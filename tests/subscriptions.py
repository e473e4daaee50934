"""What the tests of the subscriptions' agents share: the bundle, memory, and the kernel driven to its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from jurat.agents.agent import Agent, Situation
from jurat.agents.kernel import Decided
from jurat.agents.memory import NOTHING, Fact, Memory
from jurat.agents.reasoner import Reasoner
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.decision import InputRef
from jurat.schemas.model import Event, Model, Money
from jurat.streams.usage import Counted, PartitionUsage
from tests.shop import run

NOW = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)
WHERE = InputRef(topic="subscriptions.accounts", partition=0, offset=1)


@cache
def engine() -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle("subscriptions")))


def euros(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="EUR")


def fact(name: str, value: bool | int | str = True, *, days: int = 180, purpose: str = "retention") -> Fact:
    since = NOW - timedelta(days=days)
    return Fact(name=name, value=value, since=since, learned_at=since, source=WHERE, purpose=purpose)


def situation(event: Event, *facts: Fact, state: Model | None = None, now: datetime = NOW) -> Situation[Any]:
    memory = Memory(facts=facts) if facts else NOTHING
    return Situation(event=event, now=now, occurred_at=now, state=state, memory=memory)


def decide(
    agent: Agent[Any],
    seen: Situation[Any],
    *,
    by: Reasoner | None = None,
    usage: PartitionUsage | None = None,
) -> Decided:
    judge = Counted(engine(), usage or PartitionUsage(partition=0), seen.event.key())
    return run(agent, seen, reasoner=by, judge=judge)


def took(usage: PartitionUsage, decided: Decided, *, number: int, at: datetime = NOW) -> None:
    """Count what a decision took of budgets."""
    where = InputRef(topic="t", partition=0, offset=number)
    usage.take(decided.chosen.judgement.charges, where=where, at=at)
