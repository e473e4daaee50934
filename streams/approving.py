"""Asking people about a decision, and deciding it again when one of them answered or nobody did.

Rules upheld here: an answer counts only for the action that was asked about, under the policies that asked; whatever an
answer holds, it ends in one record that names the decision; a grant lifts nothing by itself: the present policies judge
the exact action again, on the facts as they are now; a refusal and a time-out deny, whatever the policies say by then.
The state changes last, so that whatever fails before leaves the decision waiting as it was.

The numbers in the code are those of `docs/spec/approval.md`. Not here: what waits (`waiting.py`), the statement and its
signature (`jurat.audit.approval`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from jurat.agents.agent import Action, Agent
from jurat.agents.kernel import Decided, judge_approved
from jurat.agents.reasoner import Proposal
from jurat.audit.answered import Approval
from jurat.audit.approval import Answer, VerifiedApproval, action_digest, verify_answer, verify_recorded
from jurat.audit.keys import Trust
from jurat.audit.record import (
    APPROVAL_OF,
    ContextRead,
    DecisionRecord,
    Outcome,
    PolicyUsed,
    ProposalJudged,
    Rejection,
)
from jurat.schemas import canonical
from jurat.schemas.approvals import ApprovalAnswered
from jurat.schemas.decision import Decision, Verdict, decision_id
from jurat.schemas.errors import AuditError, InputRejected
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired
from jurat.streams import remembering
from jurat.streams.decoding import Decoded, decode_record
from jurat.streams.recording import MAX_RATIONALE_CHARS
from jurat.streams.state import Entry
from jurat.streams.verdicted import Asked, Verdicted
from jurat.streams.waiting import APPROVAL, TIME_OUT, KeptInput, Waiting

if TYPE_CHECKING:
    from jurat.streams.deciding import Decider, Deciding
    from jurat.streams.state import PartitionState

Changes = tuple[tuple[Entry, ...], Asked | None]
"""What of the changelog changes, and of the requests for approval."""

NO_CHANGES: Final[Changes] = ((), None)


def ask(case: Deciding, decided: Decided, decision: Decision) -> Changes:
    """Let an escalated decision wait for people; other decisions, and dry runs, wait for nobody.

    Raises:
        InputRejected: it cannot wait.
    """
    if decision.verdict is not Verdict.ESCALATE or not decision.effective:
        return NO_CHANGES
    judgement, agent = decided.chosen.judgement, case.by.agent
    case.state.waiting.check_room(case.decoded.record)
    kind, name = _resource(judgement.normalised)
    waiting = Waiting(
        decision=decision,
        title=decided.chosen.proposal.action.title,
        resource_type=kind,
        resource_id=name,
        action_sha256=action_digest(
            agent=agent.name,
            decision_id=decision.id,
            action=decision.action,
            parameters=decision.parameters,
            resource_type=kind,
            resource_id=name,
        ),
        policy_input=judgement.normalised,
        engine=case.by.engine.version,
        granted=(),
        input=KeptInput.of(case.decoded.record),
        due_at=case.now + agent.approval_within,
        timed_out=False,
    )
    return _wait(case, waiting)


def about(by: Decider, decoded: Decoded, state: PartitionState) -> tuple[ContextRead, ...]:
    """How the record of an answer, or of the end of waiting for one, names the decision; nothing for other inputs."""
    event = decoded.event
    if decoded.record.topic == state.input_topic:
        return ()  # only the agent's own topic brings them
    if isinstance(event, ApprovalAnswered):
        name = event.decision_id
    elif isinstance(event, TimerFired) and event.name == TIME_OUT:
        name = decision_id(by.agent.name, event.set_by, cluster_id=by.cluster_id)
    else:
        return ()
    waiting = state.waiting.get(name)
    if waiting is None or (event.agent, event.event_key) != (by.agent.name, waiting.event_key):
        return (ContextRead(name=APPROVAL_OF, key=name, uri=None, sha256=None),)
    return (_named(by, waiting, decoded.record.partition),)


async def answered(case: Deciding, event: Event) -> Verdicted | None:
    """How an answer ends, or the end of waiting for one; None for every other input.

    Raises:
        Retryable: what failed may pass.
    """
    if case.decoded.record.topic == case.state.input_topic:
        return None  # only the agent's own topic brings them
    if isinstance(event, TimerFired) and event.name == TIME_OUT:
        return _timed_out(case, event)
    if not isinstance(event, ApprovalAnswered):
        return None
    name = event.decision_id
    waiting = case.state.waiting.get(name)
    if waiting is None or (event.agent, event.event_key) != (case.by.agent.name, waiting.event_key):  # 1
        missing = InputRejected(
            f"got an answer about {name}, which does not wait for one: it ended, or never was asked"
        )
        read = about(case.by, case.decoded, case.state)
        return case.ended(Outcome.REJECTED, context=read, rejection=Rejection.of(missing))
    trust = case.by.trust()  # a trust file that cannot be read is no fault of the answer: it ends the worker
    try:
        verified = _verified(event, waiting, trust)
        if verified.said.answer is Answer.REFUSE:  # 9
            said = f"Refused as {verified.said.role}: {verified.said.why}"
            return _denied(case, waiting, why=said, approvals=(*waiting.granted, verified.recorded))
        return await _again(case, waiting, verified, trust)
    except (AuditError, InputRejected) as error:
        return case.ended(Outcome.REJECTED, context=(_of(case, waiting),), rejection=Rejection.of(error))


def _verified(event: ApprovalAnswered, waiting: Waiting, trust: Trust) -> VerifiedApproval:
    """Rules 2 to 8.

    Raises:
        AuditError: it is not what was signed, or not by whom it should be.
        InputRejected: it is no answer to what is asked.
    """
    verified = verify_answer(event.payload_type, event.payload, event.signatures, trust)  # 2, 3, 4
    said, decision = verified.said, waiting.decision
    if (verified.decision_id, said.agent, verified.action_sha256) != (  # 5
        decision.id,
        decision.agent,
        waiting.action_sha256,
    ):
        raise InputRejected(
            f"got an answer of {said.approver} about the action {verified.action_sha256} of {verified.decision_id},"
            f" expected {waiting.action_sha256} of {decision.id}"
        )
    if said.policy_digest != decision.policy_digest:  # 6
        raise InputRejected(
            f"got an answer of {said.approver} under the policies {said.policy_digest}, but it is asked under"
            f" {decision.policy_digest}; look at the request again, then answer it"
        )
    holders = {one.role: one.approver for one in waiting.granted}  # 7
    asked = (*decision.approvers, *holders) if said.answer is Answer.REFUSE else decision.approvers
    if said.role not in asked:
        already = f"; {holders[said.role]} has approved as that already" if said.role in holders else ""
        raise InputRejected(
            f"got an answer of {said.approver} as {said.role}, expected one as {' or '.join(asked)}{already}"
        )
    if said.answer is Answer.GRANT and said.approver in holders.values():
        raise InputRejected(
            f"got a second approval of {said.approver}, now as {said.role}; two roles are two people"
        )
    if verified.answered_at > waiting.due_at:  # 8
        raise InputRejected(
            f"got an answer of {said.approver} given at {said.answered_at}, expected one until"
            f" {waiting.due_at.isoformat()}"
        )
    return verified


async def _again(case: Deciding, waiting: Waiting, verified: VerifiedApproval, trust: Trust) -> Verdicted:
    """Rules 10 and 11: judge the exact action again."""
    by, decision = case.by, waiting.decision
    unchanged = decision.policy_digest == by.engine.digest
    grants = (*_still_trusted(waiting.granted, trust), verified.recorded) if unchanged else ()
    original, event = _original(case, waiting)
    before = replace(case, decoded=original)
    # What the input taught was written when it was escalated; since then its key may have learned more.
    situation, read = await before.situation(event, remembering.known(case, event))
    # Looking up may have waited, and a time-out of this decision been written meanwhile; nothing waits from here on.
    held = case.state.waiting.get(decision.id)
    if held is None:
        raise InputRejected(f"{decision.id} ended while this answer was looked at")
    waiting = held
    proposal = Proposal(action_of(by.agent, decision), decision.rationale, decision.confidence)
    roles = frozenset(one.role for one in grants)
    decided = judge_approved(by.agent, before.judge(situation), situation, proposal, approvals=roles)
    judgement = decided.chosen.judgement
    if "unfit" in judgement.normalised:
        raise InputRejected(
            f"what {decision.id} is judged by now cannot be put before the policies: {'; '.join(judgement.errors)}"
        )
    if _resource(judgement.normalised) != (waiting.resource_type, waiting.resource_id):
        raise InputRejected(
            f"the agent would now act on {':'.join(_resource(judgement.normalised))}, but the approval is for"
            f" {waiting.resource_type}:{waiting.resource_id}"
        )
    lifted = f"Approved as {', '.join(sorted(roles))}."
    why = lifted if unchanged else "The policies changed since it was asked."
    concluding = _concluding(
        case,
        waiting,
        why=why,
        verdict=judgement.verdict,
        policies=judgement.policies,
        reasons=judgement.reasons,
        approvers=judgement.approvers,
        policy_digest=by.engine.digest,
    )
    record = by.recorder.judged(case.decoded, decided, concluding, (_of(case, waiting), *read))
    record = _about_both(case, record, original, grants).model_copy(update={"reasoner": None})

    def change() -> Changes:
        if concluding.verdict is not Verdict.ESCALATE:
            return _end(case, waiting, before.effect(situation, decided, concluding)())
        asked = {
            "policies": concluding.policies,
            "reasons": concluding.reasons,
            "approvers": concluding.approvers,
            "policy_digest": concluding.policy_digest,
        }
        latest = {
            "decision": decision.model_copy(update=asked),
            "policy_input": judgement.normalised,
            "engine": by.engine.version,
            "granted": grants,
        }
        return _wait(case, waiting.model_copy(update=latest))

    return case.finished(concluding, record, change)


def _timed_out(case: Deciding, event: TimerFired) -> Verdicted:
    by = case.by
    name = decision_id(by.agent.name, event.set_by, cluster_id=by.cluster_id)
    waiting = case.state.waiting.get(name)
    ours = waiting is not None and (event.agent, event.event_key) == (by.agent.name, waiting.event_key)
    if (
        waiting is None or not ours or not waiting.timed_out
    ):  # answered just before; or somebody else wrote this
        read = ContextRead(name=APPROVAL_OF, key=name, uri=by.uri(event.set_by), sha256=None)
        return case.ended(Outcome.SKIPPED, context=(read if waiting is None else _of(case, waiting),))
    within = waiting.due_at - waiting.decision.decided_at
    return _denied(case, waiting, why=f"Nobody approved it within {within}.", approvals=waiting.granted)


def _denied(case: Deciding, waiting: Waiting, *, why: str, approvals: tuple[Approval, ...]) -> Verdicted:
    """Deny what waits, for the reasons that it was escalated for; nothing is looked up, so nothing can fail."""
    by, decision = case.by, waiting.decision
    concluding = _concluding(case, waiting, why=why, verdict=Verdict.DENY, approvers=())
    judged = ProposalJudged(
        action=decision.action,
        parameters=decision.parameters,
        verdict=Verdict.ESCALATE,
        policies=decision.policies,
        reasons=decision.reasons,
        errors=(),
    )
    record = by.recorder.ended(
        case.decoded,
        Outcome.DENIED,
        name=concluding.id,
        at=case.now,
        attempts=1,
        context=(_of(case, waiting),),
        proposals=(judged,),
        policy=PolicyUsed(
            bundle=by.agent.bundle,
            digest=decision.policy_digest,
            engine=waiting.engine,
            input=waiting.policy_input,
        ),
    )
    original = decode_record(waiting.input.record(case.decoded.record.partition), ids=by.ids)
    record = _about_both(case, record, original, approvals)
    return case.finished(concluding, record, lambda: _end(case, waiting, ()))


def _concluding(case: Deciding, waiting: Waiting, *, why: str, **said: object) -> Decision:
    """The decision event that follows the escalated one."""
    decision = waiting.decision
    again = {
        "id": case.by.recorder.id_of(case.decoded),
        "concludes": decision.id,
        "input": case.decoded.where,
        "decided_at": case.now,
        "attempts": 1,
        "rationale": f"{why} Proposed because: {decision.rationale}"[:MAX_RATIONALE_CHARS],
    }
    return decision.model_copy(update={**again, **said})


def _about_both(
    case: Deciding, record: DecisionRecord, original: Decoded, approvals: tuple[Approval, ...]
) -> DecisionRecord:
    """The record of an answer names the escalated input too, and the answers that counted."""
    inputs = (*record.inputs, original.described(case.by.cluster_id))
    return record.model_copy(update={"inputs": inputs, "approvals": approvals})


def _wait(case: Deciding, waiting: Waiting) -> Changes:
    value = case.state.waiting.put(waiting)
    return ((_key(case, waiting), value),), Asked(waiting.decision.id, waiting.request())


def _end(case: Deciding, waiting: Waiting, changed: tuple[Entry, ...]) -> Changes:
    case.state.waiting.end(waiting.decision.id)
    return (*changed, (_key(case, waiting), None)), Asked(waiting.decision.id, None)


def _key(case: Deciding, waiting: Waiting) -> str:
    return f"{APPROVAL}{case.state.input_topic}/{waiting.decision.id}"


def _of(case: Deciding, waiting: Waiting) -> ContextRead:
    """How a record names the decision that it is about."""
    return _named(case.by, waiting, case.decoded.record.partition)


def _named(by: Decider, waiting: Waiting, partition: int) -> ContextRead:
    value = waiting.input.record(partition).value or b""
    return ContextRead(
        name=APPROVAL_OF,
        key=waiting.decision.id,
        uri=by.uri(waiting.decision.input),
        sha256=hashlib.sha256(value).hexdigest(),
    )


def _original(case: Deciding, waiting: Waiting) -> tuple[Decoded, Event]:
    original = decode_record(waiting.input.record(case.decoded.record.partition), ids=case.by.ids)
    if original.event is None:
        raise InputRejected(f"the input that was escalated cannot be read any more: {original.error}")
    return original, original.event


def action_of(agent: Agent[Any], decision: Decision) -> Action:
    """The exact action of a decision.

    Raises:
        InputRejected: it is none of this agent's any more.
    """
    for kind in agent.actions:
        if kind.action_name == decision.action:
            try:
                action = kind.model_validate_json(canonical.dumps(decision.parameters))
            except ValidationError as error:
                raise InputRejected(
                    f"the parameters of {decision.action} that wait are none of this release any more"
                ) from error
            if action.model_dump(mode="json") != decision.parameters:
                raise InputRejected(
                    f"the parameters of {decision.action} that wait mean something else in this release; what was"
                    " asked about is not what would be done"
                )
            return action
    raise InputRejected(f"the agent {agent.name} has no action {decision.action!r} any more")


def _still_trusted(grants: tuple[Approval, ...], trust: Trust) -> tuple[Approval, ...]:
    """Earlier grants that still hold: whoever is not trusted any more must be replaced."""
    kept: list[Approval] = []
    for one in grants:
        try:
            verify_recorded(one, trust)
        except AuditError:
            continue
        kept.append(one)
    return tuple(kept)


def _resource(policy_input: canonical.JsonObject) -> tuple[str, str]:
    """Type and id of what policies judged an action on."""
    uid = policy_input.get("resource")
    if not isinstance(uid, dict):
        raise InputRejected("the policies judged an action on no resource, so that nobody can approve it")
    return str(uid.get("type")), str(uid.get("id"))
