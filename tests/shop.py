"""What the tests of the shop's agents share: the shipped bundle, realistic events, and the kernel driven to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jurat.agents.agent import Action, Agent, Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.kernel import Answer, Decided, Judge, decide
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.policies.usage import Assumed
from jurat.schemas.commerce import CustomerProfile
from jurat.schemas.errors import ReasonerError, ReasonerUnavailable
from jurat.schemas.model import Event, Model, Money
from jurat.streams.usage import Counted, PartitionUsage

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Insisting:
    """A reasoner that proposes one action, whatever it is told."""

    name = "insisting"
    deterministic = True

    def __init__(self, action: Action, *, confidence: int | None = None) -> None:
        self.action = action
        self.confidence = confidence

    async def propose(self, request: ProposalRequest) -> Proposal:
        return Proposal(self.action, "because I say so", self.confidence)


class Down:
    """A reasoner that cannot be reached."""

    name = "down"
    deterministic = True

    async def propose(self, request: ProposalRequest) -> Proposal:
        raise ReasonerUnavailable("got no answer within 5 s")


@cache
def shop_engine() -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle("shop")))


NOTHING_USED = Assumed({})
"""Of no budget anything was used."""


def counted(seen: Situation[Any]) -> Judge:
    """The shop's policies, told that nothing was used of any budget."""
    return Counted(shop_engine(), PartitionUsage(partition=0), seen.event.key())


def euros(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="EUR")


def profile(**numbers: int) -> CustomerProfile:
    counts = {"orders": 0, "refunds": 0, "failed_charges": 0, "disputes": 0, **numbers}
    return CustomerProfile(
        customer_id="c-1",
        spend=euros(10_000),
        refunded=euros(0),
        first_seen=NOW,
        last_seen=NOW,
        **counts,
    )


def documents(agent: Agent[Any], *events: Event) -> Mapping[tuple[str, str], Model | None]:
    """Fold events into the agent's views, as a worker does."""
    found: dict[tuple[str, str], Model | None] = {}
    for event in events:
        for view in agent.views:
            for key in view.keys(event):
                found[view.name, key] = view.fold(found.get((view.name, key)), event, key)
    return found


def situation(agent: Agent[Any], event: Event, *known: Event, state: Model | None = None) -> Situation[Any]:
    held = documents(agent, *known)
    read = {(lookup.view, lookup.key): held.get((lookup.view, lookup.key)) for lookup in agent.reads(event)}
    return Situation(event=event, now=NOW, occurred_at=NOW, documents=read, state=state)


def run(
    agent: Agent[Any], seen: Situation[Any], *, reasoner: Reasoner | None = None, judge: Judge | None = None
) -> Decided:
    """Drive the kernel to its end, as a worker does, by default with the heuristic and the shop's policies."""
    asked = reasoner or HeuristicReasoner()
    aims = shop_engine().bundle.objectives.get(agent.name)
    steps = decide(agent, judge or counted(seen), seen, objectives=aims)
    ask = next(steps)
    while True:
        answer: Answer
        try:
            answer = asyncio.run(asked.propose(ask.request))
        except ReasonerError as error:
            answer = error
        try:
            ask = steps.send(answer)
        except StopIteration as stop:
            result: Decided = stop.value
            return result


def told(decided: Decided) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Each proposal in order: the action's name, the verdict, the determining policies."""
    return tuple(
        (judged.proposal.action.action_name, judged.judgement.verdict.value, judged.judgement.policies)
        for judged in decided.proposals
    )
