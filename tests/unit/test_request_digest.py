"""The digest of what a reasoner is asked: it changes with everything that is asked, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jurat.agents.agent import Situation
from jurat.agents.memory import Fact, Memory, Remembering
from jurat.agents.reasoner import JudgedProposal, ProposalRequest, ToolResult, request_digest
from jurat.policies.objectives import Objectives
from jurat.policies.request import Judgement
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.model import Model
from tests.journal_stage import EVENT, NOW, Do, Foreign, doer, proposal, request


class Kept(Model):
    count: int


JUDGED = JudgedProposal(proposal(), Judgement(Verdict.DENY, ("p",), ("because",)))
AIMS = Objectives("be quick", {"speed": 60, "cost": 40})
USED = ToolResult("count", Kept(count=4), Kept(count=5))
BASE = ProposalRequest(
    doer(),
    Situation(EVENT, NOW, NOW, {("a", "1"): Kept(count=1), ("b", "1"): None}, Kept(count=2)),
    (JUDGED,),
    objectives=AIMS,
    tools=(USED,),
)


def situated(**changes: Any) -> ProposalRequest:
    return replace(BASE, situation=replace(BASE.situation, **changes))


def refused(**changes: Any) -> ProposalRequest:
    return replace(BASE, refused=(replace(JUDGED, judgement=replace(JUDGED.judgement, **changes)),))


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, agent=doer(Do, Foreign)),
        replace(BASE, agent=replace(BASE.agent, name="other")),
        situated(event=EVENT.model_copy(update={"order_id": "o-2"})),
        situated(occurred_at=None),
        situated(state=None),
        situated(state=Kept(count=3)),
        situated(documents={}),
        situated(documents={("a", "1"): Kept(count=1), ("b", "1"): Kept(count=1)}),
        situated(documents={("a", "2"): Kept(count=1), ("b", "1"): None}),
        replace(BASE, agent=replace(BASE.agent, remembers=Remembering())),
        replace(BASE, refused=()),
        replace(BASE, refused=(JUDGED, JUDGED)),
        replace(BASE, refused=(replace(JUDGED, proposal=proposal(2)),)),
        refused(policies=("q",)),
        refused(reasons=("so",)),
        refused(verdict=Verdict.ESCALATE),
        replace(BASE, objectives=None),
        replace(BASE, objectives=replace(AIMS, aim="another")),
        replace(BASE, objectives=replace(AIMS, weights={"speed": 50, "cost": 50})),
        replace(BASE, tools=()),
        replace(BASE, tools=(USED, USED)),
        replace(BASE, tools=(replace(USED, tool="other"),)),
        replace(BASE, tools=(replace(USED, arguments=Kept(count=2)),)),
        replace(BASE, tools=(replace(USED, result=Kept(count=6)),)),
        replace(BASE, tools=(replace(USED, result=None, failed="gone"),)),
    ],
)
def test_another_question_has_another_digest(other: ProposalRequest) -> None:
    assert request_digest(other) != request_digest(BASE)


@pytest.mark.parametrize(
    "same",
    [
        situated(now=NOW + timedelta(hours=1)),
        replace(BASE, call_id="dec_1/1/0"),
        situated(documents={("b", "1"): None, ("a", "1"): Kept(count=1)}),
        replace(BASE, agent=doer(Do)),
        replace(BASE, objectives=replace(AIMS, weights={"cost": 40, "speed": 60})),
    ],
)
def test_the_same_question_has_the_same_digest(same: ProposalRequest) -> None:
    assert request_digest(same) == request_digest(BASE)


def test_the_digest_stays_the_same_from_release_to_release() -> None:
    assert request_digest(request()) == "c16a36691c242102a7bf1e90758d7875e90b789644cbbe84aab14a41a92e2da1"


def test_it_changes_with_the_memory_of_an_agent_that_remembers() -> None:
    source = InputRef(topic="t", partition=0, offset=1)
    fact = Fact(name="a", value=True, since=NOW, learned_at=NOW, source=source, purpose="p")
    agent = replace(BASE.agent, remembers=Remembering())
    asked = [
        request_digest(replace(BASE, agent=agent, situation=replace(BASE.situation, memory=memory)))
        for memory in (Memory(), Memory(facts=(fact,)), Memory(facts=(fact.model_copy(update={"value": 1}),)))
    ]
    assert len(set(asked)) == 3
