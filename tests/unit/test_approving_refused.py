"""Answers that must not count: refused, recorded, and the decision waits on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jurat.audit.approval import Answer, action_digest
from jurat.audit.chain import ChainHead
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.record import APPROVAL_OF, Outcome, parse
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.approvals import ApprovalAnswered
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import BrokerUnreachable, KeyRejected
from jurat.schemas.timers import TimerFired
from jurat.streams import waiting as waiting_module
from jurat.streams.waiting import TIME_OUT
from tests.approval_stage import Desk, Wants, refused, signer, trust
from tests.deciding_stage import (
    KEY,
    STATEFUL,
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


async def test_an_answer_that_is_given_up_names_the_decision() -> None:
    desk = Desk()
    request = await desk.escalate()
    answer = desk.on_own_topic(await desk.answer(request, Answer.GRANT, "alice"))
    fired = desk.on_own_topic(
        TimerFired(
            agent=STATEFUL.name, event_key=KEY, name=TIME_OUT, due_at=request.due_at, set_by=request.input
        )
    )
    for record in (answer, fired):
        result = desk.decider.given_up(record, BrokerUnreachable("away"), desk.state, attempts=10)
        (read,) = parse(result.draft.finish(ChainHead())).predicate.context
        assert (read.name, read.key) == (APPROVAL_OF, request.decision_id)
        assert read.uri == "kafka://cluster/commerce.payments/2/7"
    desk.state.waiting.end(request.decision_id)
    result = desk.decider.given_up(answer, BrokerUnreachable("away"), desk.state, attempts=10)
    (read,) = parse(result.draft.finish(ChainHead())).predicate.context
    assert (read.name, read.key, read.uri) == (APPROVAL_OF, request.decision_id, None)


class Wordy(Wants):
    """Says as much beside its verdict as it is told to, and asks for roles."""

    chars: int = 0

    def judge(self, request: PolicyRequest) -> Judgement:
        said = super().judge(request)
        return replace(said, normalised={**said.normalised, "facts": "x" * self.chars})


@pytest.mark.parametrize("refusal", [True, False], ids=["refused", "timed-out"])
async def test_whatever_waits_ends(*, refusal: bool) -> None:
    """However large its record is: it never waits, or its end has room, the longest answer included."""
    waited = 0
    for chars in range(40_000, 66_000, 200):
        desk = Desk(Wordy(BOTH))
        desk.judge.chars = chars  # type: ignore[attr-defined]  # it is a wordy one
        result, record = await desk.take(record_of(failed()))
        if record.outcome is not Outcome.ESCALATED:
            assert result.rejection is not None
            assert "leaves" in result.rejection.message or "got a record of" in result.rejection.message
            assert len(desk.state.waiting) == 0
            continue
        assert result.asked is not None
        request = result.asked.request
        assert request is not None
        waited += 1
        if refusal:
            answer = await desk.answer(request, Answer.REFUSE, "alice", why="\U0001f6ab" * 500)
            _result, record = await desk.send(answer)
        else:
            ((_result, record),) = await desk.wait(2 * DAY)
        assert record.outcome is Outcome.DENIED
        assert len(desk.state.waiting) == 0
    assert waited > 5


async def test_a_grant_that_leaves_no_room_for_the_end_does_not_count() -> None:
    desk = Desk(Wordy(BOTH))
    desk.judge.chars = 46_000  # type: ignore[attr-defined]  # it is a wordy one
    request = await desk.escalate()
    desk.judge.chars = 48_000  # type: ignore[attr-defined]  # the facts are longer by now
    refused(await desk.grant(request, "alice"), "for their answers", of=request.decision_id)
    ((_result, record),) = await desk.wait(2 * DAY)
    assert record.outcome is Outcome.DENIED


async def test_more_grants_than_can_be_kept_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "MAX_GRANTS", 0)
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    refused(await desk.grant(request, "alice"), "at most 0 approvals", of=request.decision_id)
    desk.kill()
    assert len(desk.state.waiting) == 1, "what was written can be read again"
