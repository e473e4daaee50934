"""The decision kernel: propose, judge, reconsider. Sans-IO: it yields what it needs and is sent the answer.

Rules upheld here: nothing becomes a decision that the policies did not judge; a refused proposal is kept with its
reasons; proposals and uses of tools are bounded; a person is asked only where policies say that a person may lift the
refusal. Not here: calling a reasoner or a tool, reading context, signing, Kafka.

A decision is always in one `State`. What comes to pass there (`Came`) says which is next: that is the table
`TRANSITIONS`, and nothing else moves it.

============  ===================================================================================================
state         what is done in it
============  ===================================================================================================
`ask`         1. The reasoner is asked for a proposal, and told what was refused and what tools answered so far. It may
              wish to use a tool instead. One that fails, or answers with what is no action of this agent, or wishes
              for more tools than `MAX_TOOL_CALLS`, counts as one that has no answer.
`use`         2. The tool is used. A wish for a tool that the agent has not, or with arguments that it does not take, is
              answered in `ask` itself with a failed result.
`judge`       3. The policies judge the proposal. Refused: it is reconsidered while attempts are left.
`fall_back`   4. The agent's fallback is judged, if it has one that was not refused already; once.
`decided`     5. Allowed.
`escalated`   6. People may lift the refusal, at once: nothing else is tried.
`denied`      7. Refused, for the reasons that met the first proposal.
`failed`      8. Nothing was judged at all.
============  ===================================================================================================

It ends: no way leads out of the last four, and every way round goes through `ask`, which is entered at most
`MAX_PROPOSALS` + `MAX_TOOL_CALLS` times, as each time but the first takes up an attempt or a tool.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from jurat.agents.action_space import DecisionSpace
from jurat.agents.agent import MAX_PROPOSALS, MAX_TOOL_CALLS, Action, Agent, Situation, Tool
from jurat.agents.proposals import checked, checked_model_call, checked_spent
from jurat.agents.reasoner import (
    JudgedProposal,
    ModelCall,
    Proposal,
    ProposalRequest,
    Spent,
    ToolCall,
    ToolResult,
    unexplored,
)
from jurat.agents.reasoner_spending import NOTHING, spent_by, together
from jurat.agents.tools import checked_call, checked_result
from jurat.policies.normal import printable
from jurat.policies.objectives import Objectives
from jurat.policies.request import Facts, Judgement, PolicyRequest
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected, JuratError, ProposalInvalid, ReasonerError
from jurat.schemas.model import Model

CERTAIN: Final = 100
"""The confidence that policies are told where a reasoner claims none."""

CONFIDENCE: Final = "confidence"
"""The fact that is set to it, in facts that declare it."""


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


class State(StrEnum):
    """Where a decision stands."""

    ASK = "ask"
    USE = "use"
    JUDGE = "judge"
    FALL_BACK = "fall_back"
    DECIDED = "decided"
    ESCALATED = "escalated"
    DENIED = "denied"
    FAILED = "failed"


class Came(StrEnum):
    """What came to pass."""

    PROPOSAL = "a proposal"
    TOOL = "a wish to use a tool"
    NO_TOOL = "a wish for what is no tool"
    NOTHING = "nothing to propose"
    FAILURE = "a failure"
    RESULT = "what the tool answered"
    ALLOWED = "allowed"
    LIFTABLE = "refused, but for an approval"
    REFUSED = "refused"
    LAST_REFUSED = "refused at the last attempt"
    NONE_LEFT = "no fallback, after refusals"
    NONE_AT_ALL = "no fallback, and nothing was judged"


TRANSITIONS: Mapping[tuple[State, Came], State] = MappingProxyType(
    {
        (State.ASK, Came.PROPOSAL): State.JUDGE,
        (State.ASK, Came.TOOL): State.USE,
        (State.ASK, Came.NO_TOOL): State.ASK,
        (State.ASK, Came.NOTHING): State.FALL_BACK,
        (State.ASK, Came.FAILURE): State.FALL_BACK,
        (State.USE, Came.RESULT): State.ASK,
        (State.JUDGE, Came.ALLOWED): State.DECIDED,
        (State.JUDGE, Came.LIFTABLE): State.ESCALATED,
        (State.JUDGE, Came.REFUSED): State.ASK,
        (State.JUDGE, Came.LAST_REFUSED): State.FALL_BACK,
        (State.FALL_BACK, Came.ALLOWED): State.DECIDED,
        (State.FALL_BACK, Came.LIFTABLE): State.ESCALATED,
        (State.FALL_BACK, Came.REFUSED): State.DENIED,
        (State.FALL_BACK, Came.NONE_LEFT): State.DENIED,
        (State.FALL_BACK, Came.NONE_AT_ALL): State.FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Ask:
    """The kernel needs a proposal for this: send a `Proposal`, a `ToolCall`, None, or the `ReasonerError` instead."""

    request: ProposalRequest


@dataclass(frozen=True, slots=True)
class Use:
    """The kernel needs a tool to be used: send the `ToolResult`, a failed one where it gave none."""

    tool: Tool
    arguments: Model
    situation: Situation[Any]


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """A tool that was used, or wished for: what came of it, and the model call in which it was wished for."""

    result: ToolResult
    call: ModelCall | None


@dataclass(frozen=True, slots=True)
class Decided:
    """The kernel's result: the proposal that counts, all that were made, and the tools, each in order.

    Attributes:
        wasted: what calls of models took that gave no usable answer.
    """

    resolution: Resolution
    chosen: JudgedProposal
    proposals: tuple[JudgedProposal, ...]
    tools: tuple[ToolUsed, ...] = ()
    wasted: Spent = NOTHING


class Judge(Protocol):
    """Answers policy requests; the policy engine is one."""

    def judge(self, request: PolicyRequest) -> Judgement:
        """Judge one request; never raises for what a policy may say."""
        ...


Step = Ask | Use
Answer = Proposal | ToolCall | ToolResult | ReasonerError | None
Steps = Generator[Step, Answer, Decided]


def decide(
    agent: Agent[Any],
    judge: Judge,
    situation: Situation[Any],
    *,
    objectives: Objectives | None = None,
    space: Callable[[], DecisionSpace] = unexplored,
) -> Steps:
    """Decide one situation.

    Args:
        agent: the agent that decides.
        judge: the policies.
        situation: everything that the decision may depend on.
        objectives: what the bundle says that the agent should aim for.
        space: what the policies leave to propose, for reasoners that ask for it.

    Yields:
        `Ask` or `Use`, which say what to send. `Use` comes only where the agent has tools.

    Returns:
        What was decided, with every proposal that was made.

    Raises:
        InputRejected: nothing could be proposed at all, so there is nothing to judge.
    """
    case = _Case(agent, judge, situation, objectives, space)
    state = State.ASK
    while True:
        came: Came
        match state:
            case State.ASK:
                came = case.take((yield case.ask()))
            case State.USE:
                came = case.take_result((yield case.use()))
            case State.JUDGE:
                came = case.judged()
            case State.FALL_BACK:
                came = case.fallen_back()
            case State.FAILED:
                raise case.reason_of_failure()
            case _:
                return case.decided()
        state = TRANSITIONS[state, came]


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
        proposal: what was escalated, with the confidence that it was escalated with.
        approvals: roles whose approval of exactly this was verified.
    """
    judged = _judge(agent, judge, situation, proposal, approvals)
    return Decided(RESOLUTION_OF[judged.judgement.verdict], judged, (judged,))


@dataclass(slots=True)
class _Case:
    """One decision on its way: what was made so far, and what each state does.

    `proposal` is there in `judge`, `wish` in `use`: the ways into them set it.
    """

    agent: Agent[Any]
    judge: Judge
    situation: Situation[Any]
    objectives: Objectives | None
    space: Callable[[], DecisionSpace]
    made: list[JudgedProposal] = field(default_factory=list)
    tools: list[ToolUsed] = field(default_factory=list)
    failure: ReasonerError | None = None
    wasted: Spent = NOTHING
    proposal: Proposal = field(init=False)
    wish: tuple[Tool, Model, ModelCall | None] = field(init=False)

    def ask(self) -> Ask:
        """1."""
        return Ask(
            ProposalRequest(
                self.agent,
                self.situation,
                tuple(self.made),
                objectives=self.objectives,
                tools=tuple([used.result for used in self.tools]),
                space=self.space,
            )
        )

    def take(self, answer: Answer) -> Came:
        """1. What the reasoner answered."""
        if answer is None:
            return Came.NOTHING
        try:
            if isinstance(answer, ReasonerError):
                raise answer
            if isinstance(answer, ToolCall):
                return self._take_wish(answer)
            self.proposal = checked(self.agent, answer)
            self.wasted = together(self.wasted, self.proposal.wasted or NOTHING)
        except ReasonerError as error:
            self.failure = error
            given = answer if isinstance(answer, Proposal | ToolCall) else None
            self.wasted = together(self.wasted, spent_by(error, given))
            return Came.FAILURE
        return Came.PROPOSAL

    def _take_wish(self, wish: ToolCall) -> Came:
        if len(self.tools) >= MAX_TOOL_CALLS:
            raise ProposalInvalid(
                f"got a wish for another tool, expected a proposal after {MAX_TOOL_CALLS} tools"
            )
        sure = checked_call(self.agent, wish)
        call = checked_model_call(wish.call)
        self.wasted = together(self.wasted, checked_spent(wish.wasted) or NOTHING)
        if isinstance(sure, ToolResult):
            self.tools.append(ToolUsed(sure, call))
            return Came.NO_TOOL
        self.wish = (*sure, call)
        return Came.TOOL

    def use(self) -> Use:
        """2."""
        tool, arguments, _call = self.wish
        return Use(tool, arguments, self.situation)

    def take_result(self, answer: Answer) -> Came:
        """2. What the tool answered."""
        tool, arguments, call = self.wish
        self.tools.append(ToolUsed(checked_result(tool, arguments, answer), call))
        return Came.RESULT

    def judged(self) -> Came:
        """3."""
        came = self._came_of(self.proposal)
        return Came.LAST_REFUSED if came is Came.REFUSED and len(self.made) >= MAX_PROPOSALS else came

    def fallen_back(self) -> Came:
        """4."""
        fallback = self.agent.fallback(self.situation)
        if fallback is None or fallback in [judged.proposal.action for judged in self.made]:
            return Came.NONE_LEFT if self.made else Came.NONE_AT_ALL
        # What a reasoner says of its failure may quote anything.
        told = "every proposal was refused" if self.made else "nothing was proposed"
        rationale = printable(f"fallback: {self.failure or told}")
        why = type(self.failure).__name__[:200] if self.failure else told
        return self._came_of(Proposal(action=fallback, rationale=rationale, fallback=why))

    def _came_of(self, proposal: Proposal) -> Came:
        self.made.append(_judge(self.agent, self.judge, self.situation, proposal))
        return _CAME_OF[self.made[-1].judgement.verdict]

    def decided(self) -> Decided:
        """5, 6 and 7."""
        last = self.made[-1].judgement.verdict
        chosen = self.made[0] if last is Verdict.DENY else self.made[-1]
        return Decided(RESOLUTION_OF[last], chosen, tuple(self.made), tuple(self.tools), self.wasted)

    def reason_of_failure(self) -> JuratError:
        """8."""
        event = type(self.situation.event).__name__
        return self.failure or InputRejected(
            f"agent {self.agent.name} has no action to propose for this {event}"
        )


_CAME_OF = {Verdict.ALLOW: Came.ALLOWED, Verdict.ESCALATE: Came.LIFTABLE, Verdict.DENY: Came.REFUSED}


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
        facts=_with_confidence(seen.facts, proposal.confidence),
        now=situation.now,
        approvals=approvals,
    )
    return JudgedProposal(proposal, judge.judge(request))


def _with_confidence(facts: Facts, confidence: int | None) -> Facts:
    """The facts with how sure the reasoner is, where they tell it."""
    if CONFIDENCE not in type(facts).model_fields:
        return facts
    return facts.model_copy(update={CONFIDENCE: CERTAIN if confidence is None else confidence})
