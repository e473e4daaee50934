"""Answers whose decision changes while they are looked at, or that would now mean something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from jurat.agents.memory import Memory
from jurat.agents.payment_retrier import RetryCharge
from jurat.audit.record import Outcome
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired
from jurat.streams.approving import action_of
from jurat.streams.deciding import Deciding
from jurat.streams.waiting import TIME_OUT
from tests.approval_stage import Desk, Wants, refused
from tests.deciding_stage import KEY, STATEFUL

DAY = timedelta(hours=24)
BOTH = ("fraud-desk", "payments-lead")


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens once, while what an answer depends on is looked up."""
    look_up, left = Deciding.situation, [happens]

    async def slow(self: Deciding, event: Event, memory: Memory) -> object:
        if left:
            left.pop()()
        return await look_up(self, event, memory)

    monkeypatch.setattr(Deciding, "situation", slow)


async def test_a_time_out_that_is_written_while_a_grant_is_looked_at_still_denies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    fired: list[TimerFired] = []

    def time_out() -> None:
        (due,) = desk.state.take_due(desk.now + DAY)
        fired.append(
            TimerFired(
                agent=STATEFUL.name, event_key=due.key, name=due.name, due_at=due.due_at, set_by=due.set_by
            )
        )

    meanwhile(monkeypatch, time_out)
    _result, record = await desk.grant(request, "alice")
    assert record.outcome is Outcome.ESCALATED
    _result, record = await desk.send(fired[0])
    assert record.outcome is Outcome.DENIED


async def test_an_answer_whose_decision_ended_while_it_was_looked_at_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    request = await desk.escalate()
    meanwhile(monkeypatch, lambda: desk.state.waiting.end(request.decision_id))
    refused(await desk.grant(request, "alice"), "ended while this answer", of=request.decision_id)
    assert desk.state.documents.get(KEY) is None


async def test_a_time_out_under_another_key_is_nobodys() -> None:
    desk = Desk()
    request = await desk.escalate()
    desk.state.take_due(desk.now + DAY)
    forged = TimerFired(
        agent=STATEFUL.name, event_key="c-2", name=TIME_OUT, due_at=request.due_at, set_by=request.input
    )
    record = replace(desk.on_own_topic(forged), key=b"c-2")
    _result, said = await desk.take(record)
    assert said.outcome is Outcome.SKIPPED
    assert desk.state.waiting.get(request.decision_id) is not None


class Later(RetryCharge):
    """The same action in a release that gave it a parameter."""

    urgent: bool = False


async def test_an_action_that_means_more_in_this_release_is_not_what_was_approved() -> None:
    desk = Desk()
    request = await desk.escalate()
    waiting = desk.state.waiting.get(request.decision_id)
    assert waiting is not None
    assert action_of(STATEFUL, waiting.decision).model_dump(mode="json") == waiting.decision.parameters
    with pytest.raises(InputRejected, match="mean something else in this release"):
        action_of(replace(STATEFUL, actions=(Later,)), waiting.decision)


class Unfit(Wants):
    """A judge before whom the facts cannot be put any more once somebody has approved."""

    def judge(self, request: PolicyRequest) -> Judgement:
        told = super().judge(request)
        if not request.approvals:
            return told
        resource = told.normalised["resource"]
        return Judgement(
            Verdict.DENY,
            (),
            ("no",),
            errors=("too large",),
            normalised={"unfit": "too large", "resource": resource},
        )


async def test_a_grant_that_policies_cannot_be_asked_about_leaves_the_decision_waiting() -> None:
    desk = Desk(Unfit())
    request = await desk.escalate()
    refused(await desk.grant(request, "alice"), "cannot be put before the policies", of=request.decision_id)
    assert desk.state.waiting.get(request.decision_id) is not None
