"""What an action space costs, by action, beside one judgement of its base.

Rules upheld here: agents, bundle and engine are those that decide in production; nothing is kept from one round to the
next; a space and a judgement take turns, so that both see the same machine; what is told is processor time, which who
else is on the machine does not stretch. No Kafka. Not here: what judging costs in all its cases.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

from jurat.agents.action_space import action_space
from jurat.agents.agent import Agent, Situation
from jurat.agents.catalogue import AGENTS
from jurat.policies import PolicyEngine, PolicyRequest, load_bundle, shipped_bundle
from jurat.policies.usage import Assumed
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened
from jurat.schemas.model import Money

NOTHING_USED: Final = Assumed({})
NOW: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AMOUNT: Final = Money(amount_minor=90_000, currency="EUR")
EVENTS: Final = {
    "dispute-mediator": DisputeOpened(
        dispute_id="d-1",
        order_id="o-1",
        customer_id="c-1",
        seller_id="s-1",
        amount=AMOUNT,
        category=DisputeCategory.NOT_RECEIVED,
        days_since_delivery=4,
        evidence=(),
        statements=(),
        seller_dispute_rate_percent=3,
        buyer_prior_disputes=0,
    ),
    "payment-retrier": PaymentFailed(
        payment_id="pay-1",
        order_id="o-1",
        customer_id="c-1",
        payment_method_id="pm-1",
        amount=AMOUNT,
        failure_code="insufficient_funds",
        attempt=1,
        fraud_score=10,
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One action: microseconds for a judgement and for its space, and what the space asked."""

    action: str
    parameters: int
    probes: int
    judge_us: float
    space_us: float


def measure(*, rounds: int) -> list[Row]:
    """Measure every action with parameters, in the situations above; `rounds` times each."""
    rows = []
    for name, event in EVENTS.items():
        agent = AGENTS[name]
        engine = PolicyEngine(load_bundle(shipped_bundle(agent.bundle)))
        situation = Situation(event=event, now=NOW, occurred_at=NOW)
        for candidate in _best(agent, situation):
            action = type(candidate)
            space = action_space(agent, situation, engine, action, usage=NOTHING_USED)
            seen = agent.judged(situation, candidate)
            request = PolicyRequest(
                agent.name, action.action_name, seen.resource, seen.facts, now=NOW, usage=NOTHING_USED
            )
            judged, spaces = [], []
            for _ in range(rounds):
                judged.append(_timed_us(lambda request=request, engine=engine: engine.judge(request)))
                spaces.append(
                    _timed_us(
                        lambda agent=agent, engine=engine, situation=situation, action=action: action_space(
                            agent, situation, engine, action, usage=NOTHING_USED
                        )
                    )
                )
            rows.append(
                Row(
                    action=action.action_name,
                    parameters=len(space.parameters),
                    probes=sum(parameter.probes for parameter in space.parameters),
                    judge_us=median(judged),
                    space_us=median(spaces),
                )
            )
    return rows


def report(rows: list[Row]) -> list[str]:
    """The table."""
    head = f"  {'action':<18}{'parameters':>11}{'asked':>7}{'one judgement us':>18}{'ms a parameter':>16}"
    return [
        "policies-space: processor time (median)",
        head,
        *(
            f"  {row.action:<18}{row.parameters:>11}{row.probes:>7}{row.judge_us:>18.0f}"
            f"{row.space_us / row.parameters / 1000:>16.2f}"
            for row in rows
        ),
    ]


def _best(agent: Agent[Any], situation: Situation[Any]) -> list[Any]:
    """One candidate for each action that has parameters."""
    found: dict[type, Any] = {}
    for candidate in agent.candidates(situation):
        if type(candidate.action).model_fields:
            found.setdefault(type(candidate.action), candidate.action)
    return list(found.values())


def _timed_us(call: Callable[[], object]) -> float:
    begun = time.thread_time()
    call()
    return (time.thread_time() - begun) * 1e6
