"""Answers that must not count: refused, recorded, and the decision waits on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jurat.audit.approval import Answer, action_digest
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.record import Outcome
from jurat.schemas.approvals import ApprovalAnswered
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import KeyRejected
from jurat.schemas.timers import TimerFired
from jurat.streams import waiting as waiting_module
from jurat.streams.waiting import TIME_OUT
from tests.approval_stage import Desk, refused, signer, trust
from tests.deciding_stage import (
    KEY,
    Asked,
    Kept,
    failed,
    raising,
    record_of,
)

DAY = timedelta(hours=24)
BOTH = ("fraud-desk", "payments-lead")


async def test_a_second_grant_does_nothing_and_has_its_record() -> None:
    desk = Desk()
    request = await desk.escalate()
    await desk.grant(request, "alice")
    refused(await desk.grant(request, "alice"), "does not wait", of=request.decision_id)
    assert desk.state.documents.get(KEY) == Kept(count=1)


async def test_a_time_out_that_the_worker_did_not_write_denies_nothing() -> None:
    desk = Desk()
    request = await desk.escalate()
    forged = TimerFired(
        agent="payment-retrier", event_key=KEY, name=TIME_OUT, due_at=request.due_at, set_by=request.input
    )
    _result, record = await desk.send(forged)
    assert record.outcome is Outcome.SKIPPED
    assert desk.state.waiting.get(request.decision_id) is not None


async def test_who_may_not_answer_is_refused_and_the_decision_waits_on() -> None:
    desk = Desk()
    request = await desk.escalate()
    name = request.decision_id
    refused(await desk.grant(request, "mallory"), "expected one as payments-lead", of=name)
    refused(await desk.grant(request, "mallory", role="payments-lead"), "expected one of the roles", of=name)
    refused(await desk.refuse(request, "bob"), "expected one as payments-lead", of=name)
    desk.trust = trust(["bob"])
    refused(await desk.grant(request, "alice"), "unknown key", of=name)
    desk.trust = trust()
    _result, record = await desk.grant(request, "alice")
    assert record.outcome is Outcome.DECIDED


async def test_a_decision_of_people_is_not_signed_with_an_agents_key() -> None:
    desk = Desk()
    request = await desk.escalate()
    people = trust()
    alice = next(one for one in people.approvers if one.approver == "alice")
    desk.trust = Trust((TrustedKey("payment-retrier", alice.keyid),))
    refused(await desk.grant(request, "alice"), "no approver's")


async def test_an_answer_about_something_else_is_refused() -> None:
    desk = Desk()
    request = await desk.escalate()
    name = request.decision_id
    signed = await desk.answer(request, Answer.GRANT, "alice")
    for changed in (
        request.model_copy(update={"action": "give_up"}),
        request.model_copy(update={"parameters": {**request.parameters, "delay_hours": 1}}),
        request.model_copy(update={"resource_id": "pay-2"}),
        request.model_copy(update={"agent": "dispute-mediator"}),
        request.model_copy(update={"decision_id": "dec_other"}),
    ):
        digest = action_digest(
            agent=changed.agent,
            decision_id=changed.decision_id,
            action=changed.action,
            parameters=changed.parameters,
            resource_type=changed.resource_type,
            resource_id=changed.resource_id,
        )
        other = await desk.answer(changed.model_copy(update={"action_sha256": digest}), Answer.GRANT, "alice")
        posted = signed.model_copy(update={"payload": other.payload, "signatures": other.signatures})
        refused(await desk.send(posted), "about the action", of=name)
    policies = request.model_copy(update={"policy_digest": "3" * 64})
    refused(await desk.grant(policies, "alice"), "look at the request again", of=name)
    refused(
        await desk.send(signed.model_copy(update={"decision_id": "dec_other"})),
        "does not wait",
        of="dec_other",
    )
    refused(await desk.send(signed.model_copy(update={"agent": "other"})), "does not wait", of=name)
    assert len(desk.state.waiting) == 1


async def test_an_answer_that_was_tampered_with_is_refused() -> None:
    desk = Desk()
    request = await desk.escalate()
    signed = await desk.answer(request, Answer.GRANT, "alice")
    foreign = Signature(keyid=signer("bob").keyid, sig=signed.signatures[0].sig)
    for changed, why in (
        ({"payload": signed.payload.replace(b"grant", b"Grant")}, "breaks its schema"),
        ({"payload": signed.payload + b" "}, "not in its one form"),
        ({"payload": signed.payload.replace(b"looked", b"hooked")}, "signature"),
        ({"payload_type": "text/plain"}, "payload type"),
        ({"signatures": signed.signatures * 2}, "2 signatures"),
        ({"signatures": (foreign,)}, "signature"),
    ):
        refused(await desk.send(signed.model_copy(update=changed)), why, of=request.decision_id)
    _result, record = await desk.send(signed)
    assert record.outcome is Outcome.DECIDED


async def test_answers_count_on_the_agents_own_topic_only() -> None:
    desk = Desk()
    request = await desk.escalate()
    signed: ApprovalAnswered = await desk.answer(request, Answer.GRANT, "alice")
    _result, record = await desk.send(signed, topic="commerce.payments")
    assert record.outcome is Outcome.SKIPPED
    assert len(desk.state.waiting) == 1


async def test_more_than_can_wait_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(waiting_module, "MAX_WAITING", 0)
    result, record = await desk.take(record_of(failed()))
    assert record.outcome is Outcome.REJECTED
    assert result.rejection is not None
    assert "replay the dead letter" in result.rejection.message
    assert len(desk.state.waiting) == 0


async def test_a_trust_file_that_cannot_be_read_is_no_fault_of_the_answer() -> None:
    desk = Desk()
    request = await desk.escalate()
    one = replace(desk.decider, trust=raising(KeyRejected("the trust file is not canonical JSON")))
    signed = await desk.answer(request, Answer.GRANT, "alice")
    with pytest.raises(KeyRejected):
        await one.decide(desk.on_own_topic(signed), desk.state, calls=Asked())
    assert len(desk.state.waiting) == 1
