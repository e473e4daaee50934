"""Hostile proposals to the agents that came later: none crashes an agent, none becomes a decision that policies refuse.

The first four are attacked with rules of their own in `test_hostile_proposals.py`; here a second engine, loaded anew,
judges what was recorded of each decision.
"""

from __future__ import annotations

import random
from functools import cache

import pytest

from jurat.agents.agent import Action, Situation
from jurat.agents.catalogue import SHIPPED
from jurat.audit.record import Outcome
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.decision import Verdict
from jurat.streams.rehearsal import Rehearsal
from tests.every_agent import cases
from tests.hostile import Scripted, script
from tests.shop import NOW

LATER = sorted(set(SHIPPED) - {"after-sales", "dispute-mediator", "fulfilment-router", "payment-retrier"})
PROPOSALS = 72
"""For each of seven agents: five hundred in all."""


@cache
def engine_of(bundle: str) -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle(bundle)))


@pytest.mark.parametrize("name", LATER)
async def test_nothing_that_policies_refuse_becomes_a_decision(name: str) -> None:
    agent, case = SHIPPED[name], cases(NOW)[name]
    check = PolicyEngine(load_bundle(shipped_bundle(agent.bundle)))
    rng = random.Random(f"hostile {name}")
    situation = Situation(event=case.event, now=NOW, occurred_at=NOW)
    honest = [candidate.action for candidate in agent.candidates(situation)]
    ends = dict.fromkeys(Outcome, 0)

    def an_honest_one() -> Action:
        return rng.choice(honest)

    for number in range(PROPOSALS):
        reasoner = Scripted(deterministic=True)
        attack = script(rng, agent, an_honest_one, number=number)
        reasoner.script = list(attack.answers)
        rehearsal = Rehearsal(agent, engine=engine_of(agent.bundle), reasoner=reasoner, at=NOW)
        try:
            one = await rehearsal.send(case.event)
        finally:
            rehearsal.close()
        assert one is not None
        ends[one.outcome] += 1
        if one.rejection is not None:
            assert "own code failed" not in one.rejection.message or "raises" in attack.kinds, attack.kinds
        if one.outcome is Outcome.DECIDED:
            record, decision = one.record, one.decision
            assert record.policy is not None
            assert decision is not None
            assert check.rejudge(record.policy.input).verdict is Verdict.ALLOW
            last = record.proposals[-1]
            assert (last.action, last.parameters, last.verdict) == (
                decision.action,
                decision.parameters,
                Verdict.ALLOW,
            )
            assert type(one.action) in agent.actions
    assert ends[Outcome.DECIDED] > 0, ends
