"""Plays a world with the kernel alone, for tests of worlds: state, memory, policies and budgets, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

from jurat.agents.agent import Action, Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.kernel import decide
from jurat.agents.memory import NOTHING, Memory, remember
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.model import Model
from jurat.streams.score_world import Tally, World
from jurat.streams.usage import Counted, PartitionUsage


class Rule:
    """A world's static rule as a reasoner: one proposal, no second thoughts."""

    name = "rule"
    deterministic = True

    def __init__(self, rule: Callable[[Situation[Any]], Action | None]) -> None:
        self._rule = rule

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        action = self._rule(request.situation)
        return None if action is None or request.refused else Proposal(action, "the rule")


@cache
def engine_of(bundle: str) -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle(bundle)))


def played(world: World, *, seed: int, cases: int, by: HeuristicReasoner | Rule) -> Tally:
    """What a run of the world comes to."""
    engine = engine_of(world.agent.bundle)
    usage = PartitionUsage(partition=0)
    states: dict[str, Model] = {}
    memories: dict[str, Memory] = {}
    remembers = world.agent.remembers
    play = world.play(seed, cases)
    number = 0
    try:
        step = next(play)
        while True:
            key = step.event.key()
            where = InputRef(topic=world.agent.topic, partition=0, offset=number)
            number += 1
            memory = memories.get(key, NOTHING)
            teaches = remembers.from_events.get(type(step.event)) if remembers else None
            if teaches is not None:
                memory = remember(memory, teaches(step.event, step.at), source=where, learned_at=step.at)
                memories[key] = memory
            if not world.agent.decides(step.event):
                step = play.send(None)
                continue
            seen = Situation(
                event=step.event,
                now=step.at,
                occurred_at=step.at,
                documents=step.documents,
                state=states.get(key),
                memory=memory,
            )
            aims = engine.bundle.objectives.get(world.agent.name)
            steps = decide(world.agent, Counted(engine, usage, key), seen, objectives=aims)
            ask = next(steps)
            try:
                while True:
                    ask = steps.send(asyncio.run(by.propose(ask.request)))
            except StopIteration as stop:
                decided = stop.value
            done = None
            if decided.chosen.judgement.verdict is Verdict.ALLOW:
                done = decided.chosen.proposal.action
                usage.take(decided.chosen.judgement.charges, where=where, at=step.at)
                if world.agent.effect is not None:
                    states[key] = world.agent.effect(seen, done)
                if remembers is not None:
                    learned = remembers.from_decisions(seen, done)
                    memories[key] = remember(memory, learned, source=where, learned_at=step.at)
            step = play.send(done)
    except StopIteration as stop:
        tally: Tally = stop.value
        return tally
