"""The decision event and the audit record of one input, in the words of the agent and the engine that made them.

Rules upheld here: both say the same; text that others wrote is cut to what a record holds. Not here: deciding
(`deciding.py`), the record's place in the chain and its signature (`outputs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from jurat.agents.agent import Agent
from jurat.agents.kernel import Decided, ToolUsed
from jurat.agents.reasoner import JudgedProposal, ModelCall, Reasoner, Spent
from jurat.audit.coordinates import chain_name
from jurat.audit.kept import kept_alternatives, kept_errors
from jurat.audit.reasoning import ModelAsked, ReasonerUsed, ToolAnswered, Usage
from jurat.audit.record import (
    GENESIS,
    ContextRead,
    DecisionRecord,
    Outcome,
    PolicyUsed,
    ProposalJudged,
    Rejection,
    format_time,
)
from jurat.audit.usage import BudgetUsed
from jurat.policies.engine import PolicyEngine
from jurat.policies.request import Charge
from jurat.schemas import canonical
from jurat.schemas.decision import Decision, Verdict, decision_id
from jurat.schemas.model import Event
from jurat.streams.decoding import Decoded
from jurat.streams.shadow import Shadow

MAX_RATIONALE_CHARS: Final = 4_000
"""As much as a decision event carries; a model may say more."""

OUTCOME_OF: Final = {
    Verdict.ALLOW: Outcome.DECIDED,
    Verdict.DENY: Outcome.DENIED,
    Verdict.ESCALATE: Outcome.ESCALATED,
}


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes down what an agent decided.

    Attributes:
        agent: the agent.
        reasoner: who proposed.
        engine: who judged.
        cluster_id: the Kafka cluster's id; part of every decision's id.
        code: version of the program.
        shadow: who judges beside.
    """

    agent: Agent[Any]
    reasoner: Reasoner
    engine: PolicyEngine
    cluster_id: str
    code: str
    shadow: Shadow | None = None

    def id_of(self, decoded: Decoded) -> str:
        """The id of the decision about an input, whether it is made or not."""
        return decision_id(self.agent.name, decoded.where, cluster_id=self.cluster_id)

    def decision(
        self, decoded: Decoded, event: Event, decided: Decided, *, name: str, at: datetime
    ) -> Decision:
        """The decision event; `name` is its id."""
        chosen = decided.chosen
        action = chosen.proposal.action
        return Decision(
            id=name,
            request_id=self.agent.request_id(event) or (decoded.attributes.id if decoded.attributes else ""),
            agent=self.agent.name,
            subject=self.agent.subject(event),
            verdict=chosen.judgement.verdict,
            action=action.action_name,
            parameters=action.model_dump(mode="json"),
            policies=chosen.judgement.policies,
            reasons=chosen.judgement.reasons,
            approvers=chosen.judgement.approvers,
            rationale=chosen.proposal.rationale[:MAX_RATIONALE_CHARS],
            confidence=chosen.proposal.confidence,
            reasoner=chosen.proposal.reasoner or self.reasoner.name,
            alternatives=kept_alternatives(chosen.proposal.alternatives),
            attempts=len(decided.proposals),
            effective=not self.agent.dry_run(event),
            input=decoded.where,
            policy_digest=self.engine.digest,
            decided_at=at,
        )

    def judged(
        self, decoded: Decoded, decided: Decided, decision: Decision, context: tuple[ContextRead, ...]
    ) -> DecisionRecord:
        """The record of a decision."""
        judgement = decided.chosen.judgement
        takes = judgement.verdict is Verdict.ALLOW and decision.effective
        return self.ended(
            decoded,
            OUTCOME_OF[judgement.verdict],
            name=decision.id,
            at=decision.decided_at,
            attempts=len(decided.proposals),
            context=context,
            reasoner=reasoner_used(self.reasoner, decided),
            proposals=tuple([_described(judged) for judged in decided.proposals]),
            policy=PolicyUsed(
                bundle=self.agent.bundle,
                digest=self.engine.digest,
                engine=self.engine.version,
                input=judgement.normalised,
                budgets=tuple([budget_used(charge, takes=takes) for charge in judgement.charges]),
                shadow=None if self.shadow is None else self.shadow.beside(judgement),
            ),
        )

    def ended(
        self,
        decoded: Decoded,
        outcome: Outcome,
        *,
        name: str,
        at: datetime,
        attempts: int = 0,
        context: tuple[ContextRead, ...] = (),
        reasoner: ReasonerUsed | None = None,
        proposals: tuple[ProposalJudged, ...] = (),
        policy: PolicyUsed | None = None,
        rejection: Rejection | None = None,
    ) -> DecisionRecord:
        """The record of any end; `name` is the decision's id, place and signature are still to come."""
        where = decoded.where
        return DecisionRecord(
            decision_id=name,
            agent=self.agent.name,
            outcome=outcome,
            chain=chain_name(self.agent.name, where.topic, where.partition),
            seq=0,
            prev=GENESIS,
            time=format_time(at),
            attempts=attempts,
            trace=decoded.attributes.traceparent if decoded.attributes else None,
            inputs=(decoded.described(self.cluster_id),),
            context=context,
            reasoner=reasoner,
            proposals=proposals,
            policy=policy,
            approvals=(),
            code=self.code,
            rejection=rejection,
        )


def budget_used(charge: Charge, *, takes: bool) -> BudgetUsed:
    """What a record says of a budget; `takes` where the decision is allowed and has an effect."""
    budget = charge.budget
    return BudgetUsed(
        budget=budget.name,
        by=budget.by,
        key=charge.key,
        of=budget.of,
        window_s=budget.window // timedelta(seconds=1),
        shares=budget.shares,
        used=charge.used,
        taken=charge.amount if takes else 0,
    )


def reasoner_used(reasoner: Reasoner, decided: Decided) -> ReasonerUsed:
    """What a record says of the reasoner: which model answered, what all its answers took, and the tools."""
    calls = [used.call for used in decided.tools] + [judged.proposal.call for judged in decided.proposals]
    made = [call for call in calls if call is not None]
    spent = [call.spent for call in made] + ([decided.wasted] if decided.wasted.calls else [])
    last = decided.chosen.proposal.call or (made[-1] if made else None)
    return ReasonerUsed(
        name=reasoner.name,
        deterministic=reasoner.deterministic,
        model=None if last is None else last.model,
        parameters_sha256=None if last is None else last.parameters_sha256,
        usage=_usage(spent) if spent else None,
        tools=tuple([_tool(used) for used in decided.tools]),
    )


def _usage(spent: Sequence[Spent]) -> Usage:
    """The sum; of money only where every call has a price in the same currency."""
    currencies = {each.currency for each in spent}
    costs = [each.cost_micros for each in spent if each.cost_micros is not None]
    priced = len(costs) == len(spent) and len(currencies) == 1 and None not in currencies
    return Usage(
        calls=_sum(each.calls for each in spent),
        input_tokens=_sum(each.input_tokens for each in spent),
        output_tokens=_sum(each.output_tokens for each in spent),
        cost_micros=_sum(costs) if priced else None,
        currency=currencies.pop() if priced else None,
    )


def _sum(counts: Iterable[int]) -> int:
    """The sum as far as a record can say it: a server may count whatever it likes."""
    return min(sum(counts), canonical.MAX_INTEGER)


def _tool(used: ToolUsed) -> ToolAnswered:
    result = used.result
    return ToolAnswered(
        name=result.tool,
        arguments_sha256=canonical.digest(result.arguments.model_dump(mode="json")),
        result_sha256=None
        if result.result is None
        else canonical.digest(result.result.model_dump(mode="json")),
        call=_asked(used.call),
    )


def _asked(call: ModelCall | None) -> ModelAsked | None:
    if call is None:
        return None
    return ModelAsked(
        model=call.model,
        parameters_sha256=call.parameters_sha256,
        prompt_sha256=call.prompt_sha256,
        response_sha256=call.response_sha256,
    )


def _described(judged: JudgedProposal) -> ProposalJudged:
    return ProposalJudged(
        action=judged.proposal.action.action_name,
        parameters=judged.proposal.action.model_dump(mode="json"),
        verdict=judged.judgement.verdict,
        policies=judged.judgement.policies,
        reasons=judged.judgement.reasons,
        errors=kept_errors(judged.judgement.errors),
        alternatives=kept_alternatives(judged.proposal.alternatives),
        call=_asked(judged.proposal.call),
        reasoner=judged.proposal.reasoner,
        fallback=judged.proposal.fallback,
    )
