"""What is rehearsed is what happens: the same events through a worker on Kafka and through a rehearsal, compared."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from jurat.agents.agent import Agent
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.record import Outcome
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.decision import Decision
from jurat.streams.decoding import Decoded
from jurat.streams.rehearsal import Rehearsal
from jurat.streams.subscriber import subscribe
from tests.command import Shell

pytestmark = pytest.mark.integration


async def everything(shell: Shell, topic: str) -> list[Decoded]:
    """What stands on a topic, each partition in order."""
    received = subscribe(shell.connection, topic, from_beginning=True, until_idle_s=0.2)
    return [one async for one in received]


def said(decision: Decision) -> tuple[object, ...]:
    """A decision, without what names its place and moment."""
    return (
        decision.subject,
        decision.verdict,
        decision.action,
        str(decision.parameters),
        decision.policies,
        decision.approvers,
        decision.rationale,
        decision.attempts,
        decision.policy_digest,
    )


async def rehearsed(agent: Agent[Any], inputs: list[Decoded]) -> list[tuple[object, ...]]:
    engine = PolicyEngine(load_bundle(shipped_bundle(agent.bundle)))
    stage = Rehearsal(agent, engine=engine, at=datetime(2026, 1, 1, tzinfo=UTC))
    found = []
    for one in inputs:
        assert one.event is not None
        ended = await stage.send(one.event)
        assert ended is not None
        assert (ended.decision is None) == (ended.outcome is Outcome.SKIPPED)
        if ended.decision is not None:
            found.append(said(ended.decision))
    return found


@pytest.mark.parametrize("agent", [PAYMENT_RETRIER, DISPUTE_MEDIATOR], ids=lambda agent: agent.name)
def test_a_worker_decides_as_was_rehearsed(agent: Agent[Any], shell: Shell) -> None:
    shell.run("simulate", "--seed", "11", "--orders", "1500", "--rate", "0")
    shell.run("worker", agent.name, "--until-idle", "200ms")
    inputs = asyncio.run(everything(shell, agent.topic))
    decided = asyncio.run(everything(shell, f"decisions.{agent.name}"))
    happened = [said(one.event) for one in decided if isinstance(one.event, Decision)]
    assert len(happened) == len(decided) >= 20
    assert len({(one[1], one[7]) for one in happened}) >= 2, (
        "some proposal was refused, or some decision denied"
    )
    assert sorted(happened, key=str) == sorted(asyncio.run(rehearsed(agent, inputs)), key=str)
