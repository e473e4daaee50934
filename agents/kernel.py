"""The decision kernel: propose, judge, reconsider. Sans-IO: it yields what it needs and is sent the answer.

Rules upheld here: nothing becomes a decision that the policies did not judge; a refused proposal is kept with its
reasons; the number of proposals is bounded; a person is asked only where policies say that a person may lift the
refusal. Not here: calling a reasoner, reading context, signing, Kafka.

One decision, step by step (the numbers come back in the code):

1. **Ask** the reasoner, telling it what was refused so far. One that fails, or proposes what is no action of this
   agent, counts as one that has no answer.
2. **Judge** its proposal.
3. Allowed: **decided**. Lifted by an approval only: **escalated**, at once. Denied: back to 1 while attempts are left.
4. No answer or no attempts left: judge the agent's **fallback** once, if it has one and it was not refused already.
5. Still nothing: **denied**, for the reasons that met the first proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from jurat.agents.action_space import DecisionSpace
from jurat.agents.agent import MAX_PROPOSALS, Action, Agent, Situation
from jurat.agents.proposals import checked
from jurat.agents.reasoner import JudgedProposal, Proposal, ProposalRequest, unexplored
from jurat.policies.normal import printable
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected, ProposalInvalid, ReasonerError


class Resolution(StrEnum):
    """How a decision ended."""

    DECIDED = "decided"
    DENIED = "denied"
    ESCALATED = "escalated"


RESOLUTION_OF = {
    Verdict.ALLOW: Resolution.DECIDED,
    Verdict.ESCALATE: Resolution.ESCALATED,
    Verdict.DENY: Resolution.DENIED,
}


@dataclass(frozen=True, slots=True)
class Ask:
    """The kernel's only request: get a proposal for this."""

    request: ProposalRequest


@dataclass(frozen=True, slots=True)
class Decided:
    """The kernel's result: the proposal that counts, and all that were made, in order."""

    resolution: Resolution
    chosen: JudgedProposal
    proposals: tuple[JudgedProposal, ...]


class Judge(Protocol):
    """Answers policy requests; the policy engine is one."""

    def judge(self, request: PolicyRequest) -> Judgement:
        """Judge one request; never raises for what a policy may say."""
        ...


Answer = Proposal | ReasonerError | None


def decide(
    agent: Agent[Any],
    judge: Judge,
    situation: Situation[Any],
    *,
    space: Callable[[], DecisionSpace] = unexplored,
) -> Generator[Ask, Answer, Decided]:
    """Decide one situation.

    Args:
        agent: the agent that decides.
        judge: the policies.
        situation: everything that the decision may depend on.
        space: what the policies leave to propose, for reasoners that ask for it.

    Yields:
        `Ask`; send a `Proposal`, None for no proposal, or the `ReasonerError` that came instead.

    Returns:
        What was decided, with every proposal that was made.

    Raises:
        InputRejected: nothing could be proposed at all, so there is nothing to judge.
    """
    made: list[JudgedProposal] = []
    failure: ReasonerError | None = None
    while len(made) < MAX_PROPOSALS:
        answer = yield Ask(ProposalRequest(agent, situation, tuple(made), space=space))  # 1
        if isinstance(answer, ReasonerError):
            failure = answer
            break
        if answer is None:
            break
        try:
            proposal = checked(agent, answer)
        except ProposalInvalid as error:
            failure = error
            break
        made.append(_judge(agent, judge, situation, proposal))  # 2
        verdict = made[-1].judgement.verdict
        if verdict is not Verdict.DENY:  # 3
            return Decided(RESOLUTION_OF[verdict], made[-1], tuple(made))
    fallback = agent.fallback(situation)  # 4
    if fallback is not None and fallback not in [judged.proposal.action for judged in made]:
        # What a reasoner says of its failure may quote anything.
        why = printable(
            f"fallback: {failure or ('every proposal was refused' if made else 'nothing was proposed')}"
        )
        made.append(_judge(agent, judge, situation, Proposal(action=fallback, rationale=why)))
        verdict = made[-1].judgement.verdict
        if verdict is not Verdict.DENY:
            return Decided(RESOLUTION_OF[verdict], made[-1], tuple(made))
    if not made:
        if failure is not None:
            raise failure
        raise InputRejected(
            f"agent {agent.name} has no action to propose for this {type(situation.event).__name__}"
        )
    return Decided(Resolution.DENIED, made[0], tuple(made))  # 5


def judge_approved(
    agent: Agent[Any],
    judge: Judge,
    situation: Situation[Any],
    proposal: Proposal,
    *,
    approvals: frozenset[str],
) -> Decided:
    """Decide a proposal that was escalated again, on the facts as they are now.

    Args:
        agent: the agent.
        judge: the present policies.
        situation: the input that was escalated, at the present moment.
        proposal: what was escalated.
        approvals: roles whose approval of exactly this was verified.
    """
    judged = _judge(agent, judge, situation, proposal, approvals)
    return Decided(RESOLUTION_OF[judged.judgement.verdict], judged, (judged,))


def _judge(
    agent: Agent[Any],
    judge: Judge,
    situation: Situation[Any],
    proposal: Proposal,
    approvals: frozenset[str] = frozenset(),
) -> JudgedProposal:
    action: Action = proposal.action
    seen = agent.judged(situation, action)
    request = PolicyRequest(
        agent=agent.name,
        action=action.action_name,
        resource=seen.resource,
        facts=seen.facts,
        now=situation.now,
        approvals=approvals,
    )
    return JudgedProposal(proposal, judge.judge(request))
