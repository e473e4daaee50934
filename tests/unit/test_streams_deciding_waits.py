"""Inputs that come again, late or from a timer: what is decided, what is not, and what is remembered."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest

from jurat.agents.agent import Action, Candidate, Meanwhile, Situation
from jurat.agents.payment_retrier import GiveUp, judged
from jurat.audit.chain import ChainHead
from jurat.audit.record import Outcome, parse
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import PaymentCaptured
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.errors import ReasonerUnavailable, RecordTooLarge, Retryable
from jurat.schemas.timers import TimerFired
from jurat.streams.deciding import FIRST
from jurat.streams.duplicates import WINDOW_S
from jurat.streams.kafka import KafkaRecord
from jurat.streams.timers import MAX_TIMERS, Standing
from tests.deciding_stage import (
    KEY,
    NOW,
    PARTITION,
    STATEFUL,
    WITHOUT_FALLBACK,
    Asked,
    Kept,
    Says,
    decider,
    ended,
    failed,
    fresh_state,
    raising,
    record_of,
)
from tests.shop import Down


def timer_record(offset: int = 3, *, agent: str = "payment-retrier") -> KafkaRecord:
    """A timer that fired."""
    setter = InputRef(topic="commerce.payments", partition=PARTITION, offset=7)
    event = TimerFired(agent=agent, event_key=KEY, name="remind", due_at=NOW, set_by=setter)
    headers = tuple(headers_for(event, event_id="dec_1/remind", source="/agents/payment-retrier", time=NOW))
    return KafkaRecord("timers.payment-retrier", PARTITION, offset, 0, KEY.encode(), encode(event), headers)


def timer_input(offset: int) -> InputRef:
    return InputRef(topic="commerce.payments", partition=PARTITION, offset=offset)


def reminding(situation: Situation[Any], _action: Action) -> dict[str, datetime]:
    return {"remind": situation.now + timedelta(hours=1)}


WAITING = replace(
    STATEFUL,
    timers=reminding,
    subject=lambda event: event.key(),
    reads=lambda _event: (),
    candidates=lambda _situation: (Candidate(GiveUp(), ()),),
    judged=lambda _situation, action: judged(cast("Any", Situation(event=failed(), now=NOW)), action),
)


async def test_an_allowed_action_sets_the_timers_of_its_key_and_replaces_those_before() -> None:
    one, state = decider(WAITING, engine=Says(Verdict.ALLOW)), fresh_state()
    before = Standing(set_by=timer_input(1), timers={"old": NOW, "remind": NOW})
    state.timers.replace(KEY, before)
    result = await one.decide(record_of(failed()), state, calls=Asked())
    assert [key for key, _ in result.changelog] == [
        f"state/commerce.payments/{KEY}",
        f"timer/commerce.payments/{KEY}",
    ]
    assert state.timers.take_due(NOW) == []
    (due,) = state.timers.take_due(NOW + timedelta(hours=1))
    assert (due.key, due.name, due.set_by.offset) == (KEY, "remind", 7)


async def test_an_action_after_which_no_timer_stands_takes_them_back() -> None:
    one = decider(replace(WAITING, timers=lambda _situation, _action: {}), engine=Says(Verdict.ALLOW))
    state = fresh_state()
    state.timers.replace(KEY, Standing(set_by=timer_input(1), timers={"old": NOW}))
    result = await one.decide(record_of(failed()), state, calls=Asked())
    assert (f"timer/commerce.payments/{KEY}", None) in result.changelog
    assert len(state.timers) == 0


@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ESCALATE])
async def test_what_is_not_allowed_leaves_timers_alone(verdict: Verdict) -> None:
    one, state = decider(WAITING, engine=Says(verdict)), fresh_state()
    state.timers.replace(KEY, Standing(set_by=timer_input(1), timers={"old": NOW}))
    result = await one.decide(record_of(failed()), state, calls=Asked())
    assert [key for key, _value in result.changelog if not key.startswith("approval/")] == []
    assert [due.name for due in state.timers.take_due(NOW)] == ["old"]


async def test_what_an_agent_says_of_the_meanwhile_holds_once_people_are_asked() -> None:
    agent = replace(WAITING, meanwhile=lambda _situation, _action: Meanwhile(Kept(count=9), {"people": NOW}))
    state = fresh_state()
    state.timers.replace(KEY, Standing(set_by=timer_input(1), timers={"old": NOW}))
    result = await decider(agent, engine=Says(Verdict.ESCALATE)).decide(
        record_of(failed()), state, calls=Asked()
    )
    assert [key.partition("/")[0] for key, _value in result.changelog] == ["approval", "state", "timer"]
    assert state.documents.get(KEY) == Kept(count=9)
    assert [(due.name, due.set_by.offset) for due in state.timers.take_due(NOW)] == [("people", 7)]
    denied = await decider(agent, engine=Says(Verdict.DENY)).decide(
        record_of(failed()), fresh_state(), calls=Asked()
    )
    assert denied.changelog == ()


@pytest.mark.parametrize(
    "broken",
    [Meanwhile(Kept(count=9), {"": NOW}), Meanwhile(Standing(set_by=timer_input(1), timers={"t": NOW}), {})],
    ids=["timers", "state"],
)
async def test_a_meanwhile_that_cannot_hold_rejects_and_nobody_is_asked(broken: Meanwhile) -> None:
    agent = replace(WAITING, meanwhile=lambda _situation, _action: broken)
    result, record, state = await ended(decider(agent, engine=Says(Verdict.ESCALATE)))
    assert (record.outcome, result.asked) == (Outcome.REJECTED, None)
    assert (len(state.waiting), len(state.timers), state.documents.get(KEY)) == (0, 0, None)


@pytest.mark.parametrize(
    "timers",
    [
        {f"t{n}": NOW for n in range(MAX_TIMERS + 1)},
        {"\u00e9": NOW},
        {"": NOW},
        {"x" * 101: NOW},
        {"t": datetime(2026, 1, 1)},  # noqa: DTZ001 - without a zone
        {"t": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
        {"t": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14)))},
    ],
)
async def test_timers_that_cannot_stand_reject_and_leave_state_and_timers_alone(
    timers: dict[str, datetime],
) -> None:
    broken = replace(WAITING, timers=lambda _situation, _action: timers)
    _result, _record, state = await ended(decider(broken, engine=Says(Verdict.ALLOW)))
    assert _record.outcome is Outcome.REJECTED
    assert (len(state.timers), state.documents.get(KEY)) == (0, None)


async def test_a_timer_that_fired_is_an_input_of_its_key_with_its_state() -> None:
    one, state = decider(WAITING, engine=Says(Verdict.ALLOW)), fresh_state()
    state.documents.put(KEY, Kept(count=7))
    result = await one.decide(timer_record(), state, calls=Asked())
    record = parse(result.draft.finish(ChainHead())).predicate
    assert record.outcome is Outcome.DECIDED
    assert [read.name for read in record.context] == ["state"]
    assert record.inputs[0].uri == f"kafka://cluster/timers.payment-retrier/{PARTITION}/3"
    assert [key for key, _ in result.changelog] == [
        f"state/commerce.payments/{KEY}",
        f"timer/commerce.payments/{KEY}",
    ]


async def test_a_timer_of_another_agent_and_one_of_an_agent_without_timers_are_skipped() -> None:
    for one, record in (
        (decider(WAITING), timer_record(agent="somebody-else")),
        (decider(STATEFUL), timer_record()),
    ):
        assert (await one.decide(record, fresh_state(), calls=Asked())).outcome is Outcome.SKIPPED


async def test_a_repeat_ends_as_a_duplicate_that_names_the_first_and_has_no_effect() -> None:
    state = fresh_state()
    one, asked = decider(engine=Says(Verdict.ALLOW)), Asked()
    first = await one.decide(record_of(failed()), state, calls=asked)
    count = state.documents.get(KEY)
    again = await one.decide(replace(record_of(failed()), offset=9), state, calls=asked)
    assert again.outcome is Outcome.DUPLICATE
    assert (again.decision, again.changelog, state.documents.get(KEY)) == (None, (), count)
    record = parse(again.draft.finish(ChainHead())).predicate
    (read,) = record.context
    assert (read.name, read.key) == (FIRST, first.draft.decision_id)
    assert read.uri == f"kafka://cluster/commerce.payments/{PARTITION}/7"
    assert read.sha256 == hashlib.sha256(record_of(failed()).value or b"").hexdigest()
    assert len(asked.calls) == 1, "nobody is asked about a repeat"


async def test_a_repeat_is_known_by_source_and_id_within_the_window_only() -> None:
    state, one = fresh_state(), decider(engine=Says(Verdict.ALLOW))
    base = record_of(failed())
    await one.decide(base, state, calls=Asked())
    other_id = tuple(headers_for(failed(), event_id="e-2", source="/test"))
    other_source = tuple(headers_for(failed(), event_id="e-1", source="/other"))
    late = int(WINDOW_S * 1000) + 1
    for record in (
        replace(base, offset=8, headers=other_id),
        replace(base, offset=9, headers=other_source),
        replace(base, offset=10, timestamp_ms=late),
    ):
        assert (await one.decide(record, state, calls=Asked())).outcome is Outcome.DECIDED
    repeat = replace(base, offset=11, timestamp_ms=late)
    assert (await one.decide(repeat, state, calls=Asked())).outcome is Outcome.DUPLICATE


async def test_the_same_input_after_a_crash_is_no_repeat_of_itself() -> None:
    """Ids may be written with the transaction before the one of their own input."""
    state, one = fresh_state(), decider(engine=Says(Verdict.ALLOW))
    await one.decide(record_of(failed()), state, calls=Asked())
    assert (await one.decide(record_of(failed()), state, calls=Asked())).outcome is Outcome.DECIDED


async def test_what_was_rejected_is_not_remembered_so_that_it_can_be_replayed() -> None:
    state = fresh_state()
    broken = decider(replace(STATEFUL, candidates=raising(KeyError("x"))), engine=Says(Verdict.ALLOW))
    assert (await broken.decide(record_of(failed()), state, calls=Asked())).outcome is Outcome.REJECTED
    broken.given_up(record_of(failed()), ReasonerUnavailable("down"), fresh_state(), attempts=3)
    again = replace(record_of(failed()), offset=9)
    assert (
        await decider(engine=Says(Verdict.ALLOW)).decide(again, state, calls=Asked())
    ).outcome is Outcome.DECIDED


async def test_an_input_that_failed_and_may_pass_is_not_remembered_either() -> None:
    state = fresh_state()
    with pytest.raises(Retryable):
        await decider(WITHOUT_FALLBACK, reasoner=Down()).decide(record_of(failed()), state, calls=Asked())
    again = replace(record_of(failed()), offset=9)
    assert (
        await decider(engine=Says(Verdict.ALLOW)).decide(again, state, calls=Asked())
    ).outcome is Outcome.DECIDED


async def test_a_skipped_input_is_remembered() -> None:
    captured = PaymentCaptured.model_validate(
        failed().model_dump(exclude={"failure_code", "attempt", "fraud_score"})
    )
    state, one = fresh_state(), decider()
    assert (await one.decide(record_of(captured), state, calls=Asked())).outcome is Outcome.SKIPPED
    again = replace(record_of(captured), offset=9)
    assert (await one.decide(again, state, calls=Asked())).outcome is Outcome.DUPLICATE


@pytest.mark.parametrize(
    ("age", "outcome"), [(59, Outcome.DECIDED), (60, Outcome.DECIDED), (61, Outcome.EXPIRED)]
)
async def test_an_input_that_is_too_old_expires_without_asking_anybody(age: int, outcome: Outcome) -> None:
    one = decider(replace(STATEFUL, expires_after=timedelta(seconds=60)), engine=Says(Verdict.ALLOW))
    headers = headers_for(failed(), event_id="e-1", source="/test", time=NOW - timedelta(seconds=age))
    asked = Asked()
    result = await one.decide(
        replace(record_of(failed()), headers=tuple(headers)), fresh_state(), calls=asked
    )
    assert result.outcome is outcome
    assert bool(asked.calls) == (outcome is Outcome.DECIDED)
    assert (result.decision is None) == (outcome is Outcome.EXPIRED)


async def test_giving_up_says_how_often_and_what_at_last() -> None:
    result = decider().given_up(
        record_of(failed()), ReasonerUnavailable("got no answer"), fresh_state(), attempts=10
    )
    assert result.rejection is not None
    assert result.rejection.error == "ReasonerUnavailable"
    assert result.rejection.message == "tried 10 times; at last: got no answer"
    record = parse(result.draft.finish(ChainHead())).predicate
    assert record.outcome is Outcome.REJECTED
    never = decider().given_up(
        record_of(failed()), RecordTooLarge("got a large one"), fresh_state(), attempts=0
    )
    assert never.rejection is not None
    assert never.rejection.message == "got a large one"
    long = decider().given_up(
        record_of(failed()), ReasonerUnavailable("x" * 9_000), fresh_state(), attempts=10
    )
    parse(long.draft.finish(ChainHead()))
    decider().given_up(
        replace(record_of(failed()), value=b"{", headers=()),
        ReasonerUnavailable("x"),
        fresh_state(),
        attempts=1,
    )


async def test_every_question_is_put_with_its_number_the_try_and_the_decisions_id() -> None:
    asked = Asked()
    result = await decider(engine=Says(Verdict.DENY)).decide(
        record_of(failed()), fresh_state(), calls=asked, attempt=4
    )
    assert [ask for *_rest, ask in asked.calls] == list(range(len(asked.calls)))
    assert len(asked.calls) > 1
    assert {call[:3] for call in asked.calls} == {(timer_input(7), result.draft.decision_id, 4)}
