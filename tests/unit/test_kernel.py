"""The decision kernel, path by path; the numbers are those of its docstring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from jurat.agents.agent import MAX_PROPOSALS, Action, Agent, Judged, Situation
from jurat.agents.kernel import Answer, Ask, Decided, Resolution, decide
from jurat.agents.reasoner import Proposal
from jurat.policies.request import Entity, Facts, Judgement, PolicyRequest
from jurat.schemas.commerce import OrderCancelled
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected, ProposalInvalid, ReasonerUnavailable
from tests.shop import NOW

EVENT = OrderCancelled(order_id="o-1", customer_id="c-1", reason="changed my mind")
SITUATION: Situation[OrderCancelled] = Situation(event=EVENT, now=NOW)


class Thing(Entity):
    entity_type: ClassVar[str] = "Thing"


class Number(Facts):
    number: int


class Do(Action):
    action_name: ClassVar[str] = "do"
    title: ClassVar[str] = "Do it"
    resource: ClassVar[type[Entity]] = Thing
    facts: ClassVar[type[Facts]] = Number

    number: int


class Foreign(Do):
    action_name: ClassVar[str] = "foreign"


class ScriptedJudge:
    """Answers by the action's number, and keeps what it was asked."""

    def __init__(self, verdicts: dict[int, Verdict]) -> None:
        self.verdicts = verdicts
        self.asked: list[PolicyRequest] = []

    def judge(self, request: PolicyRequest) -> Judgement:
        self.asked.append(request)
        assert isinstance(request.facts, Number)
        verdict = self.verdicts[request.facts.number]
        return Judgement(verdict, (f"{verdict.value}.{request.facts.number}",), ("because",))


def agent_with(fallback: Action | None = None) -> Agent[OrderCancelled]:
    def judged(situation: Situation[OrderCancelled], action: Action) -> Judged:
        assert isinstance(action, Do)
        return Judged(Thing(id=situation.event.order_id), Number(number=action.number))

    return Agent(
        name="doer",
        listens={"commerce.orders": (OrderCancelled,)},
        subject=lambda event: event.order_id,
        actions=(Do,),
        bundle="none",
        judged=judged,
        candidates=lambda _situation: (),
        fallback=lambda _situation: fallback,
    )


def propose(number: int) -> Proposal:
    return Proposal(action=Do(number=number), rationale=f"proposal {number}")


def play(
    agent: Agent[Any], judge: ScriptedJudge, answers: Sequence[Answer]
) -> tuple[Decided, list[tuple[int, ...]]]:
    """Send the answers in order; give the result and, for each Ask, the numbers that were told as refused."""
    steps = decide(agent, judge, SITUATION)
    refused: list[tuple[int, ...]] = []
    ask: Ask = next(steps)
    for answer in answers:
        assert ask.request.situation is SITUATION
        refused.append(
            tuple(j.proposal.action.number for j in ask.request.refused if isinstance(j.proposal.action, Do))
        )
        try:
            ask = steps.send(answer)
        except StopIteration as stop:
            assert len(refused) == len(answers), "the kernel ended before the script did"
            return stop.value, refused
    raise AssertionError("the kernel asks for more than the script holds")


DENY, ALLOW, ESCALATE = Verdict.DENY, Verdict.ALLOW, Verdict.ESCALATE


def test_1_2_the_judge_is_asked_what_the_agent_declares() -> None:
    judge = ScriptedJudge({1: ALLOW})
    play(agent_with(), judge, [propose(1)])
    assert judge.asked == [
        PolicyRequest(agent="doer", action="do", resource=Thing(id="o-1"), facts=Number(number=1), now=NOW)
    ]


def test_3_an_allowed_proposal_is_decided_at_once() -> None:
    decided, _ = play(agent_with(), ScriptedJudge({1: ALLOW}), [propose(1)])
    assert decided.resolution is Resolution.DECIDED
    assert decided.chosen.proposal == propose(1)
    assert decided.proposals == (decided.chosen,)


def test_3_an_escalation_ends_it_at_once_though_attempts_are_left() -> None:
    decided, _ = play(agent_with(Do(number=9)), ScriptedJudge({1: ESCALATE, 9: ALLOW}), [propose(1)])
    assert decided.resolution is Resolution.ESCALATED
    assert len(decided.proposals) == 1


def test_3_a_denied_proposal_is_reconsidered_with_its_reasons() -> None:
    decided, refused = play(
        agent_with(), ScriptedJudge({1: DENY, 2: DENY, 3: ALLOW}), [propose(1), propose(2), propose(3)]
    )
    assert refused == [(), (1,), (1, 2)]
    assert decided.resolution is Resolution.DECIDED
    assert decided.chosen.proposal == propose(3)
    assert [judged.judgement.policies for judged in decided.proposals] == [
        ("deny.1",),
        ("deny.2",),
        ("allow.3",),
    ]


def test_3_a_later_proposal_may_be_escalated() -> None:
    decided, _ = play(agent_with(), ScriptedJudge({1: DENY, 2: ESCALATE}), [propose(1), propose(2)])
    assert decided.resolution is Resolution.ESCALATED
    assert decided.chosen.proposal == propose(2)


def test_3_the_number_of_proposals_is_bounded() -> None:
    numbers = range(1, MAX_PROPOSALS + 1)
    decided, _ = play(
        agent_with(), ScriptedJudge(dict.fromkeys(numbers, DENY)), [propose(n) for n in numbers]
    )
    assert decided.resolution is Resolution.DENIED
    assert len(decided.proposals) == MAX_PROPOSALS


def test_3_the_same_refused_proposal_counts_as_an_attempt_each_time() -> None:
    judge = ScriptedJudge({1: DENY})
    decided, _ = play(agent_with(), judge, [propose(1)] * MAX_PROPOSALS)
    assert decided.resolution is Resolution.DENIED
    assert len(judge.asked) == MAX_PROPOSALS


@pytest.mark.parametrize(
    ("verdict", "resolution"),
    [(ALLOW, Resolution.DECIDED), (ESCALATE, Resolution.ESCALATED), (DENY, Resolution.DENIED)],
)
def test_4_the_fallback_is_judged_when_the_reasoner_fails(verdict: Verdict, resolution: Resolution) -> None:
    decided, _ = play(
        agent_with(Do(number=9)), ScriptedJudge({9: verdict}), [ReasonerUnavailable("gone fishing")]
    )
    assert decided.resolution is resolution
    assert decided.chosen.proposal.action == Do(number=9)
    assert decided.chosen.proposal.rationale == "fallback: gone fishing"
    assert decided.chosen.proposal.fallback == "ReasonerUnavailable", (
        "the class: a failure may quote anything"
    )


def test_4_the_fallback_is_judged_when_nothing_is_proposed() -> None:
    decided, _ = play(agent_with(Do(number=9)), ScriptedJudge({9: ALLOW}), [None])
    assert decided.resolution is Resolution.DECIDED
    assert decided.chosen.proposal.rationale == "fallback: nothing was proposed"
    assert decided.chosen.proposal.fallback == "nothing was proposed"


def test_4_the_fallback_follows_refused_proposals() -> None:
    judge = ScriptedJudge({1: DENY, 2: DENY, 3: DENY, 9: ALLOW})
    decided, _ = play(agent_with(Do(number=9)), judge, [propose(1), propose(2), propose(3)])
    assert decided.resolution is Resolution.DECIDED
    assert decided.chosen.proposal.rationale == "fallback: every proposal was refused"
    assert [one.proposal.fallback for one in decided.proposals] == ["", "", "", "every proposal was refused"]
    assert len(decided.proposals) == MAX_PROPOSALS + 1


def test_4_a_fallback_that_was_refused_already_is_not_judged_again() -> None:
    judge = ScriptedJudge({9: DENY})
    decided, _ = play(agent_with(Do(number=9)), judge, [propose(9), None])
    assert decided.resolution is Resolution.DENIED
    assert len(judge.asked) == 1


def test_4_a_failure_after_a_refusal_still_leads_to_the_fallback() -> None:
    decided, _ = play(
        agent_with(Do(number=9)),
        ScriptedJudge({1: DENY, 9: ALLOW}),
        [propose(1), ReasonerUnavailable("gone")],
    )
    assert decided.resolution is Resolution.DECIDED
    assert [judged.judgement.verdict for judged in decided.proposals] == [DENY, ALLOW]


def test_5_denied_for_the_reasons_of_the_first_proposal() -> None:
    judge = ScriptedJudge({1: DENY, 2: DENY, 9: DENY})
    decided, _ = play(agent_with(Do(number=9)), judge, [propose(1), propose(2), None])
    assert decided.resolution is Resolution.DENIED
    assert decided.chosen.judgement.policies == ("deny.1",)
    assert len(decided.proposals) == 3


def test_without_proposal_and_fallback_the_input_is_rejected() -> None:
    with pytest.raises(InputRejected, match="doer has no action to propose for this OrderCancelled"):
        play(agent_with(), ScriptedJudge({}), [None])


def test_without_fallback_a_failed_reasoner_is_not_hidden() -> None:
    failure = ReasonerUnavailable("gone fishing")
    with pytest.raises(ReasonerUnavailable) as raised:
        play(agent_with(), ScriptedJudge({}), [failure])
    assert raised.value is failure


def test_an_action_of_another_agent_is_never_judged() -> None:
    judge = ScriptedJudge({9: ALLOW})
    foreign = Proposal(action=Foreign(number=1), rationale="let me")
    decided, _ = play(agent_with(Do(number=9)), judge, [foreign])
    assert [judged.proposal.action for judged in decided.proposals] == [Do(number=9)]
    with pytest.raises(ProposalInvalid, match="type Foreign, expected an action of doer"):
        play(agent_with(), judge, [foreign])
