"""Answers of people, as a worker takes them: what counts, and what lands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jurat.audit.approval import Answer, action_digest, check_recorded
from jurat.audit.record import Outcome, concluded
from jurat.policies.request import Facts
from jurat.schemas.decision import Verdict
from jurat.schemas.timers import TimerFired
from tests.approval_stage import Desk, Wants, refused, signer, trust
from tests.deciding_stage import (
    KEY,
    STATEFUL,
    Asked,
    Kept,
    decider,
    failed,
    fresh_state,
    record_of,
)

DAY = timedelta(hours=24)
BOTH = ("fraud-desk", "payments-lead")


async def test_an_escalated_decision_waits_and_asks() -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    assert request.roles == BOTH
    assert request.reasons == ("Ask fraud-desk", "Ask payments-lead")
    assert request.due_at - request.requested_at == DAY
    assert (request.event_key, request.subject) == (KEY, "pay-1")
    assert request.action_sha256 == action_digest(
        agent="payment-retrier",
        decision_id=request.decision_id,
        action=request.action,
        parameters=request.parameters,
        resource_type="Jurat::Payment",
        resource_id="pay-1",
    )
    assert desk.state.waiting.get(request.decision_id) is not None
    assert desk.state.documents.get(KEY) is None


async def test_the_confidence_that_it_was_escalated_with_is_judged_again_and_told() -> None:
    """A decision on a thin margin does not become a sure one while it waits."""

    class Sure(Facts):
        confidence: int = 100

    agent = replace(
        STATEFUL, judged=lambda situation, action: replace(STATEFUL.judged(situation, action), facts=Sure())
    )
    desk = Desk(agent=agent)
    request = await desk.escalate()
    waiting = desk.state.waiting.get(request.decision_id)
    assert waiting is not None
    confidence = waiting.decision.confidence
    assert confidence is not None
    assert confidence < 100
    desk.kill()
    result, record = await desk.grant(request, "alice")
    assert [one.facts for one in desk.judge.asked] == [Sure(confidence=confidence)] * 2
    assert result.decision is not None
    assert (result.decision.confidence, record.outcome) == (confidence, Outcome.DECIDED)
    assert result.decision.alternatives == waiting.decision.alternatives != ()


async def test_a_grant_lands_with_its_proof_and_its_effect() -> None:
    desk = Desk()
    request = await desk.escalate()
    result, record = await desk.grant(request, "alice", why="the customer called")
    assert record.outcome is Outcome.DECIDED
    assert result.decision is not None
    assert (result.decision.verdict, result.decision.concludes) == (Verdict.ALLOW, request.decision_id)
    assert result.decision.request_id == "e-1"
    assert result.decision.id == record.decision_id != request.decision_id
    assert (result.decision.action, result.decision.parameters) == (request.action, request.parameters)
    assert result.decision.rationale.startswith("Approved as payments-lead. Proposed because: ")
    assert desk.judge.asked[-1].approvals == {"payments-lead"}
    (approval,) = record.approvals
    assert (approval.approver, approval.role, approval.keyid) == (
        "alice",
        "payments-lead",
        signer("alice").keyid,
    )
    assert "the customer called" in approval.statement
    assert record.reasoner is None
    places = [one.uri.split("/", 3)[3] for one in record.inputs]
    assert places == ["timers.payment-retrier/2/0", "commerce.payments/2/7"]
    assert concluded(record) is not None
    check_recorded(record, desk.trust)
    assert desk.state.documents.get(KEY) == Kept(count=1)
    assert len(desk.state.waiting) == 0
    assert result.asked is not None
    assert (result.asked.decision_id, result.asked.request) == (request.decision_id, None)
    assert (f"approval/commerce.payments/{request.decision_id}", None) in result.changelog


async def test_all_roles_must_approve_and_two_roles_are_two_people() -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    result, record = await desk.grant(request, "carol", role="payments-lead")
    assert record.outcome is Outcome.ESCALATED
    assert result.decision is not None
    assert (result.decision.approvers, result.decision.concludes) == (("fraud-desk",), request.decision_id)
    assert result.asked is not None
    latest = result.asked.request
    assert latest is not None
    assert (latest.decision_id, latest.roles, latest.granted) == (
        request.decision_id,
        ("fraud-desk",),
        ("payments-lead by carol",),
    )
    assert latest.action_sha256 == request.action_sha256
    assert latest.due_at == request.due_at
    refused(await desk.grant(latest, "alice"), "carol has approved as that already", of=request.decision_id)
    refused(await desk.grant(latest, "carol", role="fraud-desk"), "two roles are two people")
    result, record = await desk.grant(latest, "bob")
    assert record.outcome is Outcome.DECIDED
    assert [(one.approver, one.role) for one in record.approvals] == [
        ("carol", "payments-lead"),
        ("bob", "fraud-desk"),
    ]
    check_recorded(record, desk.trust)


async def test_whoever_is_not_trusted_any_more_must_be_replaced() -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    await desk.grant(request, "alice")
    desk.trust = trust(["bob", "carol"])
    result, record = await desk.grant(request, "bob")
    assert record.outcome is Outcome.ESCALATED
    assert [one.approver for one in record.approvals] == ["bob"]
    assert result.decision is not None
    assert result.decision.approvers == ("payments-lead",)
    _result, record = await desk.grant(request, "carol", role="payments-lead")
    assert record.outcome is Outcome.DECIDED


async def test_a_refusal_denies_at_once_whoever_has_approved() -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    await desk.grant(request, "alice")
    asked = len(desk.judge.asked)
    result, record = await desk.refuse(request, "bob", why="the card was stolen")
    assert record.outcome is Outcome.DENIED
    assert result.decision is not None
    assert (result.decision.verdict, result.decision.approvers) == (Verdict.DENY, ())
    assert result.decision.rationale.startswith(
        "Refused as fraud-desk: the card was stolen Proposed because: "
    )
    assert [(one.approver, one.answer) for one in record.approvals] == [("alice", "grant"), ("bob", "refuse")]
    check_recorded(record, desk.trust)
    assert len(desk.judge.asked) == asked
    assert desk.state.documents.get(KEY) is None
    refused(await desk.grant(request, "bob"), "does not wait", of=request.decision_id)


async def test_who_approved_may_still_refuse() -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    await desk.grant(request, "alice")
    _result, record = await desk.refuse(request, "alice", why="I was wrong")
    assert record.outcome is Outcome.DENIED
    check_recorded(record, desk.trust)


async def test_a_grant_lifts_nothing_that_policies_deny_by_now() -> None:
    desk = Desk(Wants(then=Verdict.DENY))
    request = await desk.escalate()
    result, record = await desk.grant(request, "alice")
    assert record.outcome is Outcome.DENIED
    assert result.decision is not None
    assert result.decision.policies == ("grant",)
    check_recorded(record, desk.trust)
    assert len(desk.state.waiting) == 0
    assert desk.state.documents.get(KEY) is None


async def test_nobody_answers() -> None:
    desk = Desk()
    request = await desk.escalate()
    assert await desk.wait(DAY - timedelta(seconds=1)) == []
    ((result, record),) = await desk.wait(timedelta(seconds=1))
    assert record.outcome is Outcome.DENIED
    assert result.decision is not None
    assert result.decision.concludes == request.decision_id
    assert result.decision.rationale.startswith("Nobody approved it within 1 day, 0:00:00.")
    check_recorded(record, desk.trust)
    assert desk.state.take_due(desk.now + DAY) == []
    refused(await desk.grant(request, "alice"), "does not wait", of=request.decision_id)


async def test_an_answer_in_time_counts_though_it_is_read_late_and_a_late_one_does_not() -> None:
    desk = Desk()
    request = await desk.escalate()
    late = await desk.answer(request, Answer.GRANT, "alice", at=request.due_at + timedelta(microseconds=1))
    in_time = await desk.answer(request, Answer.GRANT, "alice", at=request.due_at)
    desk.now += 2 * DAY
    refused(await desk.send(late), "expected one until", of=request.decision_id)
    _result, record = await desk.send(in_time)
    assert record.outcome is Outcome.DECIDED


async def test_a_time_out_that_comes_after_the_answer_is_skipped() -> None:
    desk = Desk()
    request = await desk.escalate()
    (due,) = desk.state.take_due(desk.now + DAY)
    await desk.grant(request, "alice")
    fired = TimerFired(
        agent="payment-retrier", event_key=KEY, name=due.name, due_at=due.due_at, set_by=due.set_by
    )
    result, record = await desk.send(fired)
    assert (record.outcome, result.decision) == (Outcome.SKIPPED, None)
    assert [read.key for read in record.context] == [request.decision_id]


async def test_waiting_survives_kills() -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    desk.kill()
    await desk.grant(request, "alice")
    desk.kill()
    assert desk.state.next_due == request.due_at
    _result, record = await desk.grant(request, "bob")
    assert record.outcome is Outcome.DECIDED
    desk.kill()
    assert (len(desk.state.waiting), desk.state.next_due) == (0, None)
    assert desk.state.documents.get(KEY) == Kept(count=1)


async def test_a_time_out_is_given_out_once_though_the_worker_is_killed() -> None:
    desk = Desk()
    request = await desk.escalate()
    (due,) = desk.state.take_due(desk.now + DAY)
    assert (due.prefix, due.entry) == ("approval/", request.decision_id)
    desk.changelog.append((f"{due.prefix}commerce.payments/{due.entry}", due.value))
    desk.kill()
    assert desk.state.take_due(desk.now + 2 * DAY) == []
    _result, record = await desk.grant(request, "alice")
    assert record.outcome is Outcome.DECIDED


async def test_policies_that_changed_ask_anew_and_old_grants_do_not_count() -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    await desk.grant(request, "alice")
    desk.judge.digest = "2" * 64
    result, record = await desk.grant(request, "bob")
    assert record.outcome is Outcome.ESCALATED
    assert record.approvals == ()
    assert desk.judge.asked[-1].approvals == frozenset()
    assert result.asked is not None
    anew = result.asked.request
    assert anew is not None
    assert (anew.policy_digest, anew.roles, anew.granted) == ("2" * 64, BOTH, ())
    assert anew.due_at == request.due_at
    refused(await desk.grant(request, "bob"), "look at the request again", of=request.decision_id)
    await desk.grant(anew, "alice")
    _result, record = await desk.grant(anew, "bob")
    assert record.outcome is Outcome.DECIDED
    check_recorded(record, desk.trust)


async def test_a_refusal_counts_though_the_policies_changed() -> None:
    desk = Desk()
    request = await desk.escalate()
    desk.judge.digest = "2" * 64
    _result, record = await desk.refuse(request, "alice")
    assert record.outcome is Outcome.DENIED
    assert record.policy is not None
    assert record.policy.digest == request.policy_digest
    check_recorded(record, desk.trust)


async def test_a_dry_run_asks_nobody() -> None:
    dry = replace(STATEFUL, dry_run=lambda _event: True)
    state = fresh_state()
    result = await decider(dry, engine=Wants()).decide(record_of(failed()), state, calls=Asked())
    assert (result.outcome, result.asked, result.changelog) == (Outcome.ESCALATED, None, ())
    assert len(state.waiting) == 0
